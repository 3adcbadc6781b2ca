// TypeScript declarations of an installed VPP's messages.
//
//   Schema ─► text of a .d.ts: vl_api_*_t, an interface per message, and VppApi {calls, dumps,
//             events} for VppClient<VppApi> (types.ts)
//
// What is sent and what comes differ: `_in` types take numbers for u64 and let fields of structs be
// left out. Of a request's own fields those without a default are demanded; counts of arrays and
// discriminators of unions are the client's to set.
// Limits: the same type name with two definitions in two files gets a number behind it.

import { isText } from "./natural.ts";
import type { ApiFile, Field, Message, Schema, Service, TypeDefinition } from "./schema.ts";

type Side = "in" | "out";

const OWN = new Set(["client_index", "context"]);
const BIG = /^[ui]64$/;
const SMALL = /^([ui](8|16|32)|f64)$/;
/** Of what is text: these may be given as bytes too. */
const BYTES = new Set(["mac_address", "ip4_address", "ip6_address"]);

export function declarationsOf(schema: Schema): string {
  return new Declarations(schema).print();
}

class Declarations {
  /** Declaration text by name, in the order in which they were needed. */
  private readonly declared = new Map<string, string>();
  private readonly names = new Map<string, string>();
  private readonly signatures = new Map<string, string>();

  constructor(private readonly schema: Schema) {}

  print(): string {
    const calls: string[] = [];
    const dumps: string[] = [];
    const events: string[] = [];
    for (const service of [...this.schema.services.values()].sort(byRequest)) {
      const request = this.schema.messages.get(service.request);
      if (!request) continue;
      const sent = this.message(request, "in", service.events.length > 0);
      if (service.stream) {
        const [details, reply] = service.details === undefined
          ? [this.named(service.reply), "{}"]
          : [this.named(service.details), this.named(service.reply)];
        const fields = `request: ${sent}; details: ${details}; reply: ${reply}`;
        dumps.push(`    ${service.request}: { ${fields} };`);
        continue;
      }
      const reply = service.reply === "null" ? "{}" : this.named(service.reply);
      calls.push(`    ${service.request}: { request: ${sent}; reply: ${reply} };`);
      if (service.events.length > 0) events.push(this.events(service, sent));
    }
    return [
      "// Declarations of VPP's messages, printed from its .api.json files: docs of vpp:types.\n",
      ...this.declared.values(),
      "export interface VppApi {",
      "  calls: {", ...calls, "  };",
      "  dumps: {", ...dumps, "  };",
      "  events: {", ...events, "  };",
      "}\n",
    ].join("\n");
  }

  private events(service: Service, sent: string): string {
    const each = service.events
      .map((name) => `({ _name: ${JSON.stringify(name)} } & ${this.named(name)})`);
    return `    ${service.request}: { request: ${sent}; event: ${each.join(" | ")} };`;
  }

  private named(name: string): string {
    const message = this.schema.messages.get(name);
    return message ? this.message(message, "out", false) : "Record<string, unknown>";
  }

  private message(message: Message, side: Side, isRegistration: boolean): string {
    if (!this.declared.has(message.name)) {
      this.declared.set(message.name, "");
      const fields = message.fields.filter((field) => !OWN.has(field.name));
      const own = new Set([
        ...fields.flatMap((field) => [field.count, field.options.discriminator]),
      ]);
      const lines = fields.map((field) => {
        const mayLack = side === "in"
          && (isRegistration || own.has(field.name) || field.options.default !== undefined);
        return `  ${field.name}${mayLack ? "?" : ""}: ${this.field(message.file, field, side)};\n`;
      });
      this.declared.set(message.name, `export interface ${message.name} {\n${lines.join("")}}\n`);
    }
    return message.name;
  }

  private field(file: ApiFile, field: Field, side: Side): string {
    if (field.shape === "one") return this.type(file, field.type, side);
    if (field.type === "string" && field.shape === "fixed") return "string";
    if (field.type === "u8" || field.type === "string") {
      return side === "in" ? "Uint8Array | readonly number[]" : "Uint8Array";
    }
    const element = this.type(file, field.type, side);
    return side === "in" ? `readonly (${element})[]` : `(${element})[]`;
  }

  private type(file: ApiFile, type: string, side: Side): string {
    if (type === "string") return "string";
    if (type === "bool") return "boolean";
    if (SMALL.test(type)) return "number";
    if (BIG.test(type)) return side === "in" ? "bigint | number" : "bigint";
    if (isText(type)) return side === "in" && BYTES.has(type) ? "string | Uint8Array" : "string";
    const definition = file.types.get(type);
    return definition ? this.defined(file, definition, side) : "unknown";
  }

  private defined(file: ApiFile, definition: TypeDefinition, side: Side): string {
    if (definition.kind === "alias") {
      const { type, length } = definition;
      return this.field(file, {
        name: definition.name, type, length, shape: length > 0 ? "fixed" : "one", options: {},
      }, side);
    }
    const name = this.nameOf(definition);
    if ("members" in definition) {
      const members = definition.members.map(([member]) => `\n  | ${JSON.stringify(member)}`);
      this.declare(name, () => `export type ${name} =${members.join("")};\n`);
      if (definition.kind === "enum") return `${name} | number`;
      return side === "in"
        ? `${name} | number | readonly (${name} | number)[]` : `(${name} | number)[]`;
    }
    const sided = side === "in" ? `${name}_in` : name;
    const { kind, fields } = definition;
    this.declare(sided, () => {
      const isLax = side === "in" || kind === "union";
      const lines = fields.map((field) =>
        `  ${field.name}${isLax ? "?" : ""}: ${this.field(file, field, side)};\n`);
      return `export interface ${sided} {\n${lines.join("")}}\n`;
    });
    return sided;
  }

  private declare(name: string, text: () => string): void {
    if (this.declared.has(name)) return;
    this.declared.set(name, "");
    this.declared.set(name, text());
  }

  private nameOf(definition: TypeDefinition): string {
    const signature = JSON.stringify(definition);
    const known = this.names.get(signature);
    if (known) return known;
    let name = `vl_api_${definition.name}_t`;
    for (let n = 2; this.signatures.has(name); n++) name = `vl_api_${definition.name}_${n}_t`;
    this.signatures.set(name, signature);
    this.names.set(signature, name);
    return name;
  }
}

const byRequest = (a: Service, b: Service): number => (a.request < b.request ? -1 : 1);
