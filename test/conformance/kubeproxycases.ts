// kube-proxy's packet flows: ../shared/conformance/services/iptables-flows.jsonl, whose README
// tells the format. Where that folder is not there, a line says which suite skips.
import { existsSync, readFileSync } from "node:fs";

const file = "../shared/conformance/services/iptables-flows.jsonl";

export type Fields = Record<string, unknown>;
export interface KubeProxyFlow {
  name: string;
  sourceIP: string;
  protocol: "TCP" | "UDP" | "SCTP";
  destIP: string;
  destPort: number;
  expectOutput: string;
  expectMasq: boolean;
}
export interface SetUp {
  test: string;
  line: string;
  config: {
    nodeName: string; nodeIPs: string[]; nodePortAddresses: string; podCIDR: string;
    masqueradeAll: boolean; localDetectorImplemented: boolean;
  };
  services: Fields[];
  endpointSlices: Fields[];
  flows: KubeProxyFlow[];
}

/** The set-ups; none where the folder is absent. */
export function readSetUps(suite: string): { there: boolean; setUps: SetUp[] } {
  const there = existsSync(file);
  if (!there) console.log(`${suite}: skipped, there is no ${file}`);
  const lines = there ? readFileSync(file, "utf8").trim().split("\n") : [];
  return { there, setUps: lines.map((line) => JSON.parse(line) as SetUp) };
}
