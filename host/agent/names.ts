// What the numbers in a running dataplane's sessions stand for, where the agent that gave them is
// gone and left nothing that fits: by whose interfaces are bound to them.
//
//   margay_interface_dump ─► endpoint ─ the interface's tag ─► its name ─► pod, uplink, host
//
// Which incarnation of an endpoint is meant, bindings do not say: the one that most sessions bear.
// What backends were called is lost: sessions of UDP to a Service end (checkpoint.ts says why). All
// that comes back is judged once more, so that a wrong guess opens nothing.
import {
  KEY4_ENDPOINT, KEY6_ENDPOINT, NO_ENDPOINT, SESSION4_KEY_STRIDE, SESSION6_KEY_STRIDE, SESSION_KEYS,
} from "../../assembly/layout.ts";
import type { Names } from "../dataplane/checkpoint.ts";
import { savedRecords } from "../dataplane/savedsessions.ts";
import type { Endpoint, Program } from "../model/program.ts";
import { TAG, type Desired } from "./desired.ts";
import { isLocal0, type Observed } from "./observed.ts";

const FIELDS = {
  4: { endpoint: KEY4_ENDPOINT, stride: SESSION4_KEY_STRIDE },
  6: { endpoint: KEY6_ENDPOINT, stride: SESSION6_KEY_STRIDE },
} as const;

export function namesByBindings(
  sessions: Uint8Array, desired: Desired, observed: Observed, program: Program,
): Names {
  const incarnations = incarnationsOf(sessions);
  const endpoints: Endpoint[] = [];
  const byName = new Map(desired.interfaces.map((each) => [each.name, each]));
  for (const each of observed.interfaces) {
    const { endpoint: index, tag } = each;
    if (index === undefined) continue;
    // "margay:<name>:<hash>"
    const name = tag.slice(TAG.length, tag.lastIndexOf(":"));
    const now = isLocal0(each) ? desired.host : byName.get(name)?.endpoint;
    if (now === undefined) continue;
    endpoints[index] = { ...program.endpoints[now]!, incarnation: incarnations.get(index) ?? 0 };
  }
  const nobody: Endpoint = { name: "", kind: "workload", interfaces: [], addresses: [] };
  return {
    endpoints: Array.from({ length: endpoints.length }, (_, i) => endpoints[i] ?? nobody),
    backendAt: () => undefined,
  };
}

function incarnationsOf(sessions: Uint8Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { family, view } of savedRecords(sessions)) {
    const { endpoint, stride } = FIELDS[family];
    for (const key of [SESSION_KEYS, SESSION_KEYS + stride]) {
      const identity = view.getUint32(Number(key) + Number(endpoint), true);
      if (identity !== NO_ENDPOINT) counts.set(identity, (counts.get(identity) ?? 0) + 1);
    }
  }
  const found = new Map<number, number>();
  const most = [...counts].sort((a, b) => a[1] - b[1]);
  for (const [identity] of most) found.set(identity & 0xffff, identity >>> 16);
  return found;
}
