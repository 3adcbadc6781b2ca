// A snapshot: the program of one node as a JSON file, for replays and tests without a cluster.
//
//   { "endpoints": [{ "name", "interfaces": ["eth0"], "addresses",
//                     "egress"?, "ingress"?, "kind"? }],
//     "services":  [{ "name", "addresses", "port", "protocol",
//                     "backends": [{ "endpoint", "port", "weight"? }] }],
//     "policies":  [{ "name", "rules": [{ "name", "action", "protocol"?, "source"?, ... }] }] }
//
// Interfaces have names, numbered from 1 in the order of the file. A Service has an address of each
// family it serves, and its backends are endpoints: each VIP gets those with an address of its
// family. Rules are those of host/model/program.ts.
//
// Limits: all or nothing: every problem found is listed with its path, and then nothing is loaded.

import { isIP } from "node:net";
import { INTERFACES_MAX } from "../../assembly/layout.ts";
import { familyOf, parsePrefix } from "../model/address.ts";
import { PROTOCOL_NUMBERS } from "../model/program.ts";
import type { Backend, Endpoint, Policy, Program, Protocol, ProgramRule, Service } from
  "../model/program.ts";

export interface Problem {
  /** Where in the file: "services[1].backends[0].endpoint". */
  path: string;
  message: string;
}

export class SnapshotError extends Error {
  constructor(readonly file: string, readonly problems: Problem[]) {
    super(problems.map(({ path, message }) => `${file}: ${path}: ${message}`).join("\n"));
    this.name = "SnapshotError";
  }
}

export interface Snapshot {
  program: Program;
  /** Number of an interface by its name. */
  interfaces: ReadonlyMap<string, number>;
}

/** Throws a SnapshotError with all that is wrong. */
export function readSnapshot(text: string, file: string): Snapshot {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new SnapshotError(file, [{ path: "JSON", message: (error as Error).message }]);
  }
  const problems: Problem[] = [];
  const snapshot = new Reader(problems).snapshot(json);
  if (problems.length > 0) throw new SnapshotError(file, problems);
  return snapshot;
}

type Fields = Record<string, unknown>;

const ACTIONS = ["allow", "deny", "pass"] as const;
const KINDS = ["workload", "uplink"] as const;
const PORT_MAX = 65_535;

/** Goes on after a problem, with a stand-in, so that all of them are found. */
class Reader {
  private readonly interfaces = new Map<string, number>();

  constructor(private readonly problems: Problem[]) {}

  snapshot(json: unknown): Snapshot {
    const file = this.fields(json, "file", ["endpoints", "services", "policies"]);
    const policies = this.list(file["policies"] ?? [], "policies", this.policy);
    const endpoints = this.list(file["endpoints"], "endpoints", this.endpoint);
    for (const [kind, all] of [["policies", policies], ["endpoints", endpoints]] as const) {
      this.unique(kind, all.map(({ name }) => name));
    }
    endpoints.forEach((endpoint, index) => {
      for (const side of ["egress", "ingress"] as const) {
        const name = endpoint[side];
        if (name === undefined || policies.some((policy) => policy.name === name)) continue;
        this.problem(`endpoints[${index}].${side}`, `no policy is named "${name}"`);
      }
    });
    const services = this.list(file["services"] ?? [], "services", (json, path) =>
      this.service(json, path, endpoints)).flat();
    return { program: { endpoints, services, policies }, interfaces: this.interfaces };
  }

  private readonly endpoint = (json: unknown, path: string): Endpoint => {
    const known = ["name", "kind", "interfaces", "addresses", "egress", "ingress"];
    const fields = this.fields(json, path, known);
    const names = this.list(fields["interfaces"], `${path}.interfaces`, this.text);
    const endpoint: Endpoint = {
      name: this.text(fields["name"], `${path}.name`),
      kind: this.choice(fields["kind"] ?? "workload", `${path}.kind`, KINDS),
      interfaces: names.map((name) => this.interfaceNumber(name, `${path}.interfaces`)),
      addresses: this.list(fields["addresses"], `${path}.addresses`, this.address),
    };
    for (const side of ["egress", "ingress"] as const) {
      const name = fields[side];
      if (name !== undefined) endpoint[side] = this.text(name, `${path}.${side}`);
    }
    return endpoint;
  };

  private interfaceNumber(name: string, path: string): number {
    if (this.interfaces.has(name)) this.problem(path, `"${name}" belongs to another endpoint`);
    const number = this.interfaces.size + 1;
    // The last number is kept free, for what comes in at no interface of the program.
    if (number === INTERFACES_MAX - 1) this.problem(path, `more than ${number - 1} interfaces`);
    this.interfaces.set(name, number);
    return number;
  }

  /** A Service for each of its addresses. */
  private service(json: unknown, path: string, endpoints: Endpoint[]): Service[] {
    const known = ["name", "addresses", "port", "protocol", "backends"];
    const fields = this.fields(json, path, known);
    const name = this.text(fields["name"], `${path}.name`);
    const port = this.port(fields["port"], `${path}.port`);
    const protocol = this.choice(fields["protocol"], `${path}.protocol`, ["tcp", "udp"] as const);
    const addresses = this.list(fields["addresses"], `${path}.addresses`, this.address);
    const backends = this.list(fields["backends"], `${path}.backends`, (one, path) =>
      this.backend(one, path, endpoints));
    return addresses.map((address) => {
      const own = backends.flatMap(({ endpoint, port, weight }): Backend[] => {
        const at = endpoint?.addresses.find((one) => familyOf(one) === familyOf(address));
        return at === undefined ? [] : [{ name: endpoint!.name, address: at, port, weight }];
      });
      return { name, address, port, protocol, backends: own };
    });
  }

  private backend(json: unknown, path: string, endpoints: Endpoint[]):
    { endpoint: Endpoint | undefined; port: number; weight: number } {
    const fields = this.fields(json, path, ["endpoint", "port", "weight"]);
    const name = this.text(fields["endpoint"], `${path}.endpoint`);
    const endpoint = endpoints.find((one) => one.name === name);
    if (endpoint === undefined) this.problem(`${path}.endpoint`, `no endpoint is named "${name}"`);
    const weight = this.number(fields["weight"] ?? 1, `${path}.weight`, 1, PORT_MAX);
    return { endpoint, port: this.port(fields["port"], `${path}.port`), weight };
  }

  private readonly policy = (json: unknown, path: string): Policy => {
    const fields = this.fields(json, path, ["name", "rules"]);
    return {
      name: this.text(fields["name"], `${path}.name`),
      rules: this.list(fields["rules"], `${path}.rules`, this.rule),
    };
  };

  private readonly rule = (json: unknown, path: string): ProgramRule => {
    const fields = this.fields(json, path, ["name", "action", "protocol", "source", "destination",
      "sourcePorts", "destinationPorts"]);
    const rule: ProgramRule = {
      name: this.text(fields["name"], `${path}.name`),
      action: this.choice(fields["action"], `${path}.action`, ACTIONS),
    };
    const protocol = fields["protocol"];
    if (protocol !== undefined) rule.protocol = this.protocol(protocol, `${path}.protocol`);
    for (const side of ["source", "destination"] as const) {
      const prefixes = fields[side], ports = fields[`${side}Ports`];
      if (prefixes !== undefined) rule[side] = this.list(prefixes, `${path}.${side}`, this.prefix);
      if (ports !== undefined) {
        rule[`${side}Ports`] = this.list(ports, `${path}.${side}Ports`, this.portRange);
      }
    }
    return rule;
  };

  private protocol(json: unknown, path: string): Protocol {
    if (typeof json === "number") return this.number(json, path, 0, 255);
    return this.choice(json, path, Object.keys(PROTOCOL_NUMBERS)) as Protocol;
  }

  private readonly prefix = (json: unknown, path: string): string => {
    const text = this.text(json, path);
    try {
      parsePrefix(text);
    } catch (error) {
      this.problem(path, (error as Error).message);
    }
    return text;
  };

  private readonly portRange = (json: unknown, path: string): number | string => {
    if (typeof json === "number") return this.port(json, path);
    const [first, last] = String(json).split("-").map(Number) as [number, number?];
    const right = /^\d+-\d+$/.test(String(json)) && first <= last! && last! <= PORT_MAX;
    if (!right) this.problem(path, `expected a port or "first-last", not ${JSON.stringify(json)}`);
    return String(json);
  };

  private readonly address = (json: unknown, path: string): string => {
    const text = this.text(json, path);
    if (isIP(text) !== 0) return text;
    this.problem(path, `"${text}" is no IP address`);
    return "0.0.0.0";
  };

  private port(json: unknown, path: string): number {
    return this.number(json, path, 1, PORT_MAX);
  }

  private number(json: unknown, path: string, least: number, most: number): number {
    const number = Number.isInteger(json) ? Number(json) : NaN;
    if (number >= least && number <= most) return number;
    this.problem(path, `expected a number from ${least} to ${most}, not ${JSON.stringify(json)}`);
    return least;
  }

  private readonly text = (json: unknown, path: string): string => {
    if (typeof json === "string" && json !== "") return json;
    this.problem(path, `expected a text, not ${JSON.stringify(json) ?? "nothing"}`);
    return "";
  };

  private choice<T extends string>(json: unknown, path: string, all: readonly T[]): T {
    if (all.includes(json as T)) return json as T;
    this.problem(path, `expected ${all.join(", ")}, not ${JSON.stringify(json) ?? "nothing"}`);
    return all[0]!;
  }

  private list<T>(json: unknown, path: string, read: (one: unknown, path: string) => T): T[] {
    if (Array.isArray(json)) return json.map((one, index) => read(one, `${path}[${index}]`));
    this.problem(path, `expected a list, not ${JSON.stringify(json) ?? "nothing"}`);
    return [];
  }

  private fields(json: unknown, path: string, known: string[]): Fields {
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      this.problem(path, `expected an object, not ${JSON.stringify(json) ?? "nothing"}`);
      return {};
    }
    for (const name of Object.keys(json)) {
      if (known.includes(name)) continue;
      this.problem(`${path}.${name}`, `unknown field; known are ${known.join(", ")}`);
    }
    return json as Fields;
  }

  private unique(path: string, names: string[]): void {
    names.forEach((name, index) => {
      if (names.indexOf(name) === index || name === "") return;
      this.problem(`${path}[${index}].name`, `"${name}" stands there twice`);
    });
  }

  private problem(path: string, message: string): void {
    this.problems.push({ path, message });
  }
}
