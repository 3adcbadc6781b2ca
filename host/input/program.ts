// A program file: the program of one node as JSON, for replays and tests without a cluster.
//
//   { "endpoints": [{ "name", "interfaces": ["eth0"], "addresses",
//                     "egress"?, "ingress"?, "kind"?, "active"?, "allowedSources"?,
//                     "snatAddresses"?, "peer"? }],
//     "policies":  [{ "name", "rules": [{ "name", "action", "protocol"?, "source"?, ... }] }],
//     "services", "sets", "routes", "settings", "peers": see programservice.ts }
//
// Interfaces have names, numbered from 1 in the order of the file. Rules are those of
// host/model/program.ts.
//
// Limits: all or nothing: every problem found is listed with its path, and then nothing is loaded.

import { INTERFACES_MAX } from "../../assembly/layout.ts";
import { PROTOCOL_NUMBERS } from "../model/program.ts";
import type { Endpoint, Policy, Program, Protocol, ProgramRule } from "../model/program.ts";
import { FieldReader, type Problem } from "./fieldreader.ts";
import {
  readRoute, readService, readSet, readSettings, readSnatAddresses, setId, type Named,
} from "./programservice.ts";

export type { Problem } from "./fieldreader.ts";

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

const ACTIONS = ["allow", "deny", "pass"] as const;
const KINDS = ["workload", "uplink", "host"] as const;
const ENDPOINT_FIELDS = [
  "name", "kind", "interfaces", "addresses", "egress", "ingress", "active", "allowedSources",
  "snatAddresses", "peer",
];

class Reader extends FieldReader {
  private readonly interfaces = new Map<string, number>();
  private sets: Program["sets"] = [];

  snapshot(json: unknown): Snapshot {
    const file = this.fields(json, "file", [
      "endpoints", "services", "policies", "sets", "routes", "settings", "peers",
    ]);
    const policies = this.list(file["policies"] ?? [], "policies", this.policy);
    const sets = this.list(file["sets"] ?? [], "sets", (one, path) => readSet(this, one, path));
    this.sets = sets;
    const endpoints = this.list(file["endpoints"], "endpoints", this.endpoint);
    for (const [kind, all] of [["policies", policies], ["endpoints", endpoints]] as const) {
      this.unique(kind, all.map(({ name }) => name));
    }
    this.unique("sets", sets.map(({ id }) => id), "id");
    endpoints.forEach((endpoint, index) => {
      for (const side of ["egress", "ingress"] as const) {
        const name = endpoint[side];
        if (name === undefined || policies.some((policy) => policy.name === name)) continue;
        this.problem(`endpoints[${index}].${side}`, `no policy is named "${name}"`);
      }
    });
    const peers = this.list(file["peers"] ?? [], "peers", this.text);
    const named: Named = { endpoints, sets, peers };
    const services = this.list(file["services"] ?? [], "services", (one, path) =>
      readService(this, one, path, named)).flat();
    const program: Program = { endpoints, services, policies };
    if (file["sets"] !== undefined) program.sets = sets;
    if (file["peers"] !== undefined) program.peers = peers;
    this.some(file, "", ["routes"], (one) => {
      program.routes = this.list(one, "routes", (each, path) => readRoute(this, each, path, named));
    });
    this.some(file, "", ["settings"], (one) => {
      program.settings = readSettings(this, one, "settings", named);
    });
    return { program, interfaces: this.interfaces };
  }

  private readonly endpoint = (json: unknown, path: string): Endpoint => {
    const fields = this.fields(json, path, ENDPOINT_FIELDS);
    const names = this.list(fields["interfaces"], `${path}.interfaces`, this.text);
    const endpoint: Endpoint = {
      name: this.text(fields["name"], `${path}.name`),
      kind: this.choice(fields["kind"] ?? "workload", `${path}.kind`, KINDS),
      interfaces: names.map((name) => this.interfaceNumber(name, `${path}.interfaces`)),
      addresses: this.list(fields["addresses"], `${path}.addresses`, this.address),
    };
    this.some(fields, path, ["egress", "ingress"], (one, at, side) => {
      endpoint[side] = this.text(one, at);
    });
    this.some(fields, path, ["active"], (one, at) => {
      endpoint.active = this.flag(one, at);
    });
    this.some(fields, path, ["allowedSources"], (one, at) => {
      const named = { endpoints: [], sets: this.sets ?? [], peers: [] };
      endpoint.allowedSources = setId(this, one, at, named);
    });
    this.some(fields, path, ["snatAddresses"], (one, at) => {
      endpoint.snatAddresses = readSnatAddresses(this, one, at);
    });
    this.some(fields, path, ["peer"], (one, at) => {
      endpoint.peer = this.flag(one, at);
    });
    if (endpoint.kind !== "uplink") {
      this.some(fields, path, ["snatAddresses", "peer"], (_, at) =>
        this.problem(at, "an uplink's alone"));
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
}
