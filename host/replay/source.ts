// What a replay judges by: one node's program, from manifests or from a program file, and what its
// endpoints, addresses and rules are called.
//
//   --state PATHS   manifests ─► snapshot ─► calc: the node's state ─► compile: its program
//   --program FILE  a program as JSON (host/input/program.ts)
//
// A captured packet's interface tells its endpoint by name: a workload's is the name that the CNI
// plugin gives it on the host ("cali" and 11 digits of the SHA-1 of "namespace.pod"), a node's
// uplink is the HostEndpoint's ("eth0").
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { calculate } from "../calc/calculate.ts";
import { CommandError } from "../command-error.ts";
import { HOST_INTERFACE, NodeMemory, nodeProgram } from "../compile/node.ts";
import { noManifests } from "../input/manifest.ts";
import { readSnapshot as readProgramFile, SnapshotError } from "../input/program.ts";
import { readSnapshot } from "../input/snapshot.ts";
import type { Program, ProgramRule } from "../model/program.ts";
import type { Finding, NodeObject, Snapshot } from "../model/snapshot.ts";
import type { NodeDevices, NodeState } from "../model/state.ts";
import { moduleSource } from "../module/source.ts";

export interface Source {
  program: Program;
  /** Number of an interface by its name. */
  interfaces: ReadonlyMap<string, number>;
  /** What was read, for messages. */
  from: string;
  /** Where manifests are the source. */
  manifests?: {
    /** Who has an address: "shop/web", "shop/svc/web". */
    owners: ReadonlyMap<string, string>;
    state: NodeState;
  };
}

export function programSource(file: string): Source {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
  try {
    return { ...readProgramFile(text, file), from: file };
  } catch (error) {
    if (error instanceof SnapshotError) throw new CommandError(error.message);
    throw error;
  }
}

/** Throws a CommandError with all that is wrong in the manifests. */
export async function stateSource(
  paths: string[], nodeName: string | undefined,
): Promise<Source> {
  const { snapshot, findings, documents } = readSnapshot(paths);
  refuse(findings);
  if (documents.manifests.length === 0) {
    throw new CommandError(noManifests(paths, documents, "replay"));
  }
  const node = nodeOf(snapshot, nodeName);
  const module = await moduleSource(snapshot.policies);
  const faults: Finding[] = [];
  const state = calculate(snapshot, node.name, { module, findings: faults });
  refuse(faults);
  const devices = devicesOf(node);
  const memory = new NodeMemory();
  const program = nodeProgram(state, devices, memory);
  return {
    program, interfaces: interfacesOf(memory, state, devices),
    from: `${paths.join(" ")} (node ${node.name})`,
    manifests: { owners: ownersOf(snapshot), state },
  };
}

function refuse(findings: Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new CommandError(errors.map(findingText).join("\n"));
}

function findingText({ file, line, column, object, field, message }: Finding): string {
  return `${file}:${line}:${column} ${[object, field].filter((one) => one !== "").join(" ")}: ` +
    message;
}

function nodeOf({ nodes }: Snapshot, name: string | undefined): NodeObject {
  const names = nodes.map((node) => node.name).join(", ");
  if (name === undefined && nodes.length > 1) {
    throw new CommandError(`--node: say whose program judges: ${names}`);
  }
  const found = name === undefined ? nodes[0] : nodes.find((node) => node.name === name);
  if (found === undefined) throw new CommandError(`--node ${name}: no such node; known: ${names}`);
  return found;
}

/** A node of manifests has one uplink, and everything that is nobody's leaves there. */
function devicesOf(node: NodeObject): NodeDevices {
  const routes = ["0.0.0.0/0", "::/0"];
  return { uplinks: [{ name: node.interface, addresses: node.addresses, routes }] };
}

/** Numbers by name, of workloads, uplinks and the node itself ("(host)"). */
function interfacesOf(
  memory: NodeMemory, state: NodeState, { uplinks }: NodeDevices,
): ReadonlyMap<string, number> {
  return memory.interfacesOf([
    HOST_INTERFACE, ...uplinks.map(({ name }) => name),
    ...[...state.workloads.values()].map((workload) => workload.interface),
  ]);
}

function ownersOf(snapshot: Snapshot): Map<string, string> {
  const owners = new Map<string, string>();
  for (const { name, addresses } of snapshot.nodes) {
    for (const address of addresses) owners.set(address, `node:${name}`);
  }
  for (const { namespace, name, owner, addresses, hostNetwork } of snapshot.pods) {
    if (hostNetwork) continue;
    for (const address of addresses) owners.set(address, `${namespace}/${owner?.name ?? name}`);
  }
  for (const { namespace, name, value } of snapshot.services) {
    const { clusterIP, clusterIPs, externalIPs = [] } = (value["spec"] ?? {}) as {
      clusterIP?: string; clusterIPs?: string[]; externalIPs?: string[];
    };
    const { loadBalancer } = (value["status"] ?? {}) as {
      loadBalancer?: { ingress?: { ip?: string }[] };
    };
    const balancers = (loadBalancer?.ingress ?? []).map(({ ip = "None" }) => ip);
    for (const address of [...clusterIPs ?? [clusterIP ?? "None"], ...externalIPs, ...balancers]) {
      if (isIP(address) !== 0) owners.set(address, `${namespace}/svc/${name}`);
    }
  }
  return owners;
}

/** Where its author finds a rule: "web.yaml:38  NetworkPolicy shop/web egress[0].to[0]". */
export function ruleText({ name, policy, origin }: ProgramRule): string {
  if (policy === undefined) return name;
  const place = origin?.file === undefined ? "" : `${origin.file}:${origin.line ?? 1}  `;
  const path = [origin?.path, origin?.peer].filter((one) => one !== undefined).join(".");
  return `${place}${policy} ${path}`.trimEnd();
}

/** The policies of a tier that select the workload with this address, for one side. */
export function isolating(
  state: NodeState, address: string, tier: string, side: "ingress" | "egress",
): string[] {
  const workload = [...state.workloads.values()].find(({ addresses }) =>
    addresses.some((each) => each.split("/")[0] === address));
  return workload?.tiers.find(({ name }) => name === tier)?.[side] ?? [];
}
