// kube-proxy's cases of which endpoints a Service port has for clients of a node: read, and judged
// by host/calc. kube-proxy's feature gate PreferSameTrafficDistribution off means that it reads no
// hints of nodes.
import { existsSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { categorize } from "../../host/calc/topology.ts";

export const topologyFile = "../shared/conformance/services/topology.jsonl";

interface Case {
  name: string;
  nodeName: string;
  nodeLabels: Record<string, string> | null;
  preferSameTrafficDistribution: boolean;
  service: { usesCluster: boolean; usesLocal: boolean };
  endpoints: {
    endpoint: string; local: boolean; nodeHints: string[]; zoneHints: string[];
    ready: boolean; serving: boolean; terminating: boolean;
  }[];
  /** null = not used. */
  expect: {
    all: string[] | null; cluster: string[] | null; local: string[] | null; hasAny: boolean;
  };
}

const names = (all: { endpoint: string }[]): string[] =>
  all.map(({ endpoint }) => endpoint).sort();

/** How many agree, of how many (0: the folder is not there), and the others. */
export function judgeTopology(): { right: number; all: number; wrong: unknown[] } {
  if (!existsSync(topologyFile)) return { right: 0, all: 0, wrong: [] };
  const cases = readFileSync(topologyFile, "utf8").trim().split("\n")
    .map((line): Case => JSON.parse(line));
  const wrong = cases.flatMap((each) => {
    const is = found(each), { all, cluster, local, hasAny } = each.expect;
    const shall = { all: all ?? [], cluster: cluster ?? [], local: local ?? [], hasAny };
    return isDeepStrictEqual(is, shall) ? [] : [{ name: each.name, is, shall }];
  });
  return { right: cases.length - wrong.length, all: cases.length, wrong };
}

function found({ nodeName, nodeLabels, service, preferSameTrafficDistribution, ...of }: Case) {
  // Cases without a name for the node say which endpoints are local all the same.
  const node = nodeName || "this-node";
  const endpoints = of.endpoints.map(({ local, nodeHints, ...each }) => ({
    ...each, node: local ? node : "another-node",
    nodeHints: preferSameTrafficDistribution ? nodeHints : [],
  }));
  const uses = { cluster: service.usesCluster, local: service.usesLocal };
  const zone = nodeLabels?.["topology.kubernetes.io/zone"] ?? "";
  const { cluster, local, reachable, any } =
    categorize(endpoints, uses, { node, zone });
  return { all: names(reachable), cluster: names(cluster), local: names(local), hasAny: any };
}
