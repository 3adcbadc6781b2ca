// Egress that forgets DNS: pods that may send somewhere, but not ask kube-dns. Each is judged as a
// packet, pod → kube-dns 53/udp, by the cluster's programs.
//
// Where the manifests hold no kube-dns (they seldom do), one stands in: a pod of kube-system with
// the label that it has everywhere, k8s-app=kube-dns. A pod that may send nowhere at all is taken
// to be meant so, unless all of its namespace are.
import type { Calculator, Converted } from "../calc/calculate.ts";
import type { ModuleSource } from "../calc/module.ts";
import type { PolicySpec } from "../calc/policy.ts";
import { tiersOf } from "../calc/tier.ts";
import type { FlowResult } from "../cluster/types.ts";
import { familyOf } from "../model/address.ts";
import { fieldFinding } from "../input/schema-issue.ts";
import { withPods } from "../input/snapshot.ts";
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import type { Finding, PodObject, Snapshot } from "../model/snapshot.ts";

const NAMESPACE = "kube-system";
const LABEL = { key: "k8s-app", value: "kube-dns" };
const DNS = "kube-system/svc/kube-dns:53/udp";
const PORT = 53;

interface Isolation {
  policy: PolicySpec;
  converted: Converted;
}

export async function forgottenDns(
  snapshot: Snapshot, calculator: Calculator, module?: ModuleSource,
): Promise<Finding[]> {
  const isolated = isolatedPods(calculator);
  if (isolated.size === 0) return [];
  const { world, servers, standIn } = withDns(snapshot);
  const asking = world.pods.filter((pod) => {
    return isolated.has(keyOf(pod)) && !servers.includes(pod) && !pod.hostNetwork;
  });
  if (asking.length === 0) return [];
  let denied: Map<PodObject, FlowResult>;
  try {
    denied = await deniedPods(world, asking, servers, module);
  } catch (error) {
    // A program that no node can carry is another finding than DNS.
    return [{
      severity: "warning", file: "", line: 1, column: 1, object: "", field: "",
      message: `whether pods may ask DNS could not be judged: ${(error as Error).message}`,
    }];
  }
  const byPolicy = new Map<Isolation, PodObject[]>();
  for (const [pod, result] of denied) {
    const by = responsible(isolated.get(keyOf(pod))!, result);
    if (by !== undefined) byPolicy.set(by, [...byPolicy.get(by) ?? [], pod]);
  }
  const where = standIn ? `${DNS}, taken to be pods with ${LABEL.key}=${LABEL.value}` : DNS;
  return [...byPolicy].flatMap(([{ policy }, pods]) => {
    return wordings(pods, denied, world, isolated).map((who) => {
      return fieldFinding(policy.manifest, [], `${who} may ask DNS (${where})`,
        { severity: "warning" });
    });
  });
}

function keyOf({ namespace, name }: PodObject): string {
  return `${namespace}/${name}`;
}

/** Pods that a policy selects for egress, and which do. */
function isolatedPods(calculator: Calculator): Map<string, Isolation[]> {
  const isolated = new Map<string, Isolation[]>();
  for (const [policy, converted] of calculator.converted) {
    if (!policy.egress || policy.staged || policy.untracked || policy.preDnat) continue;
    for (const { things } of converted.selects) {
      for (const thing of things) {
        if (thing.kind !== "pod") continue;
        const key = keyOf(thing.pod);
        isolated.set(key, [...isolated.get(key) ?? [], { policy, converted }]);
      }
    }
  }
  return isolated;
}

function withDns(snapshot: Snapshot) {
  const find = (pods: readonly PodObject[]): PodObject[] => pods.filter(({ namespace, labels }) => {
    return namespace === NAMESPACE && labels[LABEL.key] === LABEL.value;
  });
  const there = find(snapshot.pods);
  if (there.length > 0) return { world: snapshot, servers: there, standIn: false };
  const world = withPods(snapshot, [{
    namespace: NAMESPACE, name: "coredns", labels: { [LABEL.key]: LABEL.value },
    ports: [
      { name: "dns", port: PORT, protocol: "UDP" },
      { name: "dns-tcp", port: PORT, protocol: "TCP" },
    ],
  }]);
  return { world, servers: find(world.pods), standIn: true };
}

/** Pods that none of the servers can be asked by, for their own egress denies it. */
async function deniedPods(
  world: Snapshot, asking: readonly PodObject[], servers: readonly PodObject[],
  module: ModuleSource | undefined,
): Promise<Map<PodObject, FlowResult>> {
  const { Cluster } = await import("../cluster/cluster.ts");
  const cluster = await Cluster.fromSnapshot(
    world, { findings: [], ...(module === undefined ? {} : { module }) },
  );
  try {
    const flows = asking.flatMap((pod) => servers.flatMap((server) => {
      return pod.addresses.flatMap((from) => server.addresses
        .filter((to) => familyOf(to) === familyOf(from))
        .map((to) => ({
          from: { kind: "pod" as const, pod, address: from },
          to: { kind: "pod" as const, pod: server, address: to },
          protocol: PROTOCOL_NUMBERS["udp"]!, port: PORT,
        })));
    }));
    const denied = new Map<PodObject, FlowResult>();
    const fine = new Set<PodObject>();
    cluster.run(flows).forEach((result, i) => {
      const { pod } = flows[i]!.from;
      if (result.verdict === "deny" && result.at === "egress") denied.set(pod, result);
      else fine.add(pod);
    });
    for (const pod of fine) denied.delete(pod);
    return denied;
  } finally {
    cluster.close();
  }
}

/** The policy that says no; where a tier's end did, the one that allows nothing, else the first. */
function responsible(isolations: readonly Isolation[], result: FlowResult): Isolation | undefined {
  const tier = isolations.filter(({ policy }) => policy.tier === result.egress?.tier);
  return speaker(isolations, result) ?? tier.find(({ policy }) => policy.outbound.length === 0) ??
    tier[0] ?? isolations[0];
}

/** The policy whose own rule denied. */
function speaker(isolations: readonly Isolation[], result: FlowResult): Isolation | undefined {
  return isolations.find(({ converted }) => converted.key === result.egress?.policy);
}

/** "no pod in shop", or the names of those that may not: "neither shop/web nor shop/api". */
function wordings(
  pods: readonly PodObject[], denied: ReadonlyMap<PodObject, FlowResult>, world: Snapshot,
  isolated: ReadonlyMap<string, Isolation[]>,
): string[] {
  const tiers = tiersOf(world.tiers).map(({ name }) => name);
  return [...new Set(pods.map(({ namespace }) => namespace))].flatMap((namespace) => {
    const all = world.pods.filter((pod) => pod.namespace === namespace && !pod.hostNetwork);
    if (all.every((pod) => denied.has(pod))) return [`no pod in ${namespace}`];
    const sending = pods.filter((pod) => pod.namespace === namespace &&
      sends(isolated.get(keyOf(pod))!, denied.get(pod)!, tiers));
    const names = [...new Set(sending.map(({ name, owner }) => {
      return `${namespace}/${owner?.name ?? name}`;
    }))];
    if (names.length === 0) return [];
    return [names.length === 1 ? `no pod of ${names[0]}`
      : `none of ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`];
  });
}

/** Does any policy that stands before the denial let it send anything? */
function sends(isolations: readonly Isolation[], result: FlowResult, tiers: string[]): boolean {
  const said = speaker(isolations, result)?.policy;
  const last = tiers.indexOf(result.egress?.tier ?? "");
  return isolations.some(({ policy }) => {
    const tier = tiers.indexOf(policy.tier);
    const before = tier < last ||
      (tier === last && (said === undefined || policy.order <= said.order));
    return before && policy.outbound.some(({ action }) => action === "allow");
  });
}
