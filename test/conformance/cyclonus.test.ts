// cyclonus' cases from manifests: every probe a packet through process(), against cyclonus' own
// matcher. As they are, re-addressed into fd00::/64, and as dual stack, both families at once.
//
//   namespaces, pods, policies ─ snapshot ─ calculate ─ compile ─► a living cluster, step by step
//
//   egress, ingress: that side's policies alone;  combined: both, as on a real path
//
// IPv4 runs on one node; in IPv6 the pods stand on two, so that packets go through both programs.
// Cases: ../shared/conformance/cyclonus (its README tells the format); where that folder is not
// there, this says so.
import { existsSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { Cluster } from "../../host/cluster/cluster.ts";
import type { Flow, FlowEnd } from "../../host/cluster/types.ts";
import { snapshotOf } from "../../host/input/snapshot.ts";
import { PROTOCOL_NUMBERS } from "../../host/model/rule.ts";
import { v6Address } from "./readdress.ts";

const folder = "../shared/conformance/cyclonus";
const there = existsSync(`${folder}/cyclonus-v4.jsonl`);
if (!there) console.log(`cyclonus: skipped, there is no ${folder}`);

const SIDES = ["egress", "ingress", "combined"] as const;
type Kind = (typeof SIDES)[number];

interface Pod {
  namespace: string;
  name: string;
  labels: Record<string, string>;
  ip: string;
  ports: { name: string; port: number; protocol: string }[];
}
interface Step {
  namespaces: Record<string, Record<string, string>>;
  pods: Pod[];
  policies: object[];
  podOrder: string[];
  /** By "TCP/80". */
  expect: Record<string, Record<Kind, string[]>>;
}
interface Case { id: number; description: string; steps: Step[] }
/** An address as the families of a run bear it. */
type Form = { addresses: ((ip: string) => string)[]; nodes: string[] };

const same = (ip: string): string => ip;
const cases: Case[] = there ? readFileSync(`${folder}/cyclonus-v4.jsonl`, "utf8").trim()
  .split("\n").map((line) => JSON.parse(line)) : [];
const VERDICTS: Record<string, string> = { ".": "allow", X: "deny" };

/** The step's objects as an API server shows them. */
function objects(step: Step, { addresses, nodes }: Form): object[] {
  const node = (name: string, i: number): object => ({
    apiVersion: "v1", kind: "Node", metadata: { name },
    status: { addresses: addresses.map((form) => ({
      type: "InternalIP", address: form(`172.16.0.${i + 1}`),
    })) },
  });
  const pod = ({ namespace, name, labels, ip, ports }: Pod, i: number): object => {
    const ips = addresses.map((form) => ({ ip: form(ip) }));
    return {
      apiVersion: "v1", kind: "Pod", metadata: { namespace, name, labels },
      spec: { nodeName: nodes[i % nodes.length], containers: [{ name: "serve", image: "serve",
        ports: ports.map((port) => ({
          name: port.name, containerPort: port.port, protocol: port.protocol,
        })) }] },
      status: { phase: "Running", podIP: ips[0]!.ip, podIPs: ips,
        conditions: [{ type: "Ready", status: "True" }] },
    };
  };
  return [
    ...nodes.map(node),
    ...Object.entries(step.namespaces).map(([name, labels]) => ({
      apiVersion: "v1", kind: "Namespace", metadata: { name, labels },
    })),
    ...step.pods.map(pod),
    ...step.policies.map((policy) => readdress(policy, addresses)),
  ];
}

/** ipBlocks in the run's families: a peer becomes one for each. */
function readdress(value: unknown, addresses: Form["addresses"]): object {
  if (Array.isArray(value)) {
    return value.flatMap((one) => {
      const block = (one as { ipBlock?: { cidr: string; except?: string[] } } | null)?.ipBlock;
      if (!block) return [readdress(one, addresses)];
      return addresses.map((form) => ({ ipBlock: {
        cidr: form(block.cidr), ...(block.except ? { except: block.except.map(form) } : {}),
      } }));
    });
  }
  if (typeof value !== "object" || value === null) return value as object;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) =>
    [name, readdress(inner, addresses)]));
}

interface Probe { flow: Flow; kind: Kind; shall: string; what: string }

function probes(step: Step, cluster: Cluster, form: (ip: string) => string): Probe[] {
  const ends = step.podOrder.map((name): FlowEnd => {
    const pod = cluster.world.pods.get(name)!;
    const { ip } = step.pods.find((one) => `${one.namespace}/${one.name}` === name)!;
    return { kind: "pod", pod, address: form(ip) };
  });
  return Object.entries(step.expect).flatMap(([where, tables]) => {
    const [name, port] = where.split("/") as [string, string];
    const protocol = PROTOCOL_NUMBERS[name.toLowerCase()]!;
    return SIDES.flatMap((kind) => tables[kind].flatMap((row, i) =>
      [...row].flatMap((letter, j): Probe[] => {
        const shall = VERDICTS[letter];
        if (shall === undefined) return [];
        const flow: Flow = { from: ends[i]!, to: ends[j]!, protocol, port: Number(port) };
        if (kind !== "combined") flow.side = kind;
        return [{ flow, kind, shall, what: `${step.podOrder[i]} -> ${step.podOrder[j]}:${where}` }];
      })));
  });
}

describe.skipIf(!there)("cyclonus, from manifests", () => {
  const lines: string[] = [];

  async function run(title: string, form: Form): Promise<void> {
    const wrong: string[] = [];
    const counts = { egress: [0, 0], ingress: [0, 0], combined: [0, 0] };
    let cluster: Cluster | undefined;
    for (const { id, description, steps } of cases) {
      for (const [index, step] of steps.entries()) {
        const { snapshot, findings } = snapshotOf(objects(step, form));
        expect(findings.filter(({ severity }) => severity === "error")).toEqual([]);
        if (cluster) await cluster.apply(snapshot);
        else cluster = await Cluster.fromSnapshot(snapshot, { sides: true });
        for (const address of form.addresses) {
          const all = probes(step, cluster, address);
          const results = cluster.run(all.map(({ flow }) => flow));
          results.forEach(({ verdict, reason }, i) => {
            const { kind, shall, what } = all[i]!;
            counts[kind][1]!++;
            if (verdict === shall) counts[kind][0]!++;
            else wrong.push(`case ${id} (${description}) step ${index} ${kind} ${what}: ` +
              `${verdict} (${reason}), not ${shall}`);
          });
        }
      }
    }
    const [right, all] = counts.combined as [number, number];
    lines.push(`${title} ${right}/${all} (egress ${counts.egress.join("/")}, ` +
      `ingress ${counts.ingress.join("/")})`);
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(all).toBeGreaterThan(0);
  }

  test("cyclonus-manifests: every probe is judged as cyclonus judges it", async () => {
    await run("cyclonus", { addresses: [same], nodes: ["node1"] });
  }, 300_000);

  test("cyclonus-v6: the same in fd00::/64, over two nodes", async () => {
    await run("cyclonus-v6", { addresses: [v6Address], nodes: ["node1", "node2"] });
  }, 300_000);

  test("cyclonus-dual: and with both families at once", async () => {
    await run("cyclonus-dual", { addresses: [same, v6Address], nodes: ["node1"] });
  }, 600_000);

  afterAll(() => console.log(lines.join("\n")));
});
