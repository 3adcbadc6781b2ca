// A pod alone on a node, one of whose hooks is a policy slot: for tests of what slots may hold. All
// IPv4 addresses are in sets 0 to 7. And a classifier block that uses every part of the format.
import {
  ENDPOINT_ADDRESS4, ENDPOINT_ADDRESS6, ENDPOINT_BYTES, ENDPOINT_HOOKS, ENDPOINT_KIND,
  ENDPOINTS_ADDRESSES, ENDPOINTS_BYTES, ENDPOINTS_CAPACITY, EndpointKind, Hook, MEMBER4_BYTES,
  MEMBERS_FIRST, RecordKind,
} from "../assembly/layout.ts";
import { Compiler } from "../host/compile/program.ts";
import { beginRecord, bindRecord, configureRecord } from "../host/compile/records.ts";
import { PushRefused, type PolicyModule, type Result } from "../host/dataplane/dataplane.ts";
import { NodeDataplane } from "../host/dataplane/node.ts";
import { concat, putBytes, record } from "../host/dataplane/record.ts";
import { addressBytes } from "../host/model/address.ts";
import type { ProgramRule } from "../host/model/program.ts";
import { packet, type Spec } from "./packets.ts";
import { BUDGETS, core } from "./shop.ts";

export const clock = { nowMs: 1_000_000, nowSeconds: 1_700_000_000 };
export const POD = "10.0.0.1", FAR = "198.51.100.7", POD6 = "fd00::1", FAR6 = "2001:db8::7";

export class Pod {
  readonly dataplane = new NodeDataplane(core, { workers: 1, memoryPages: 256 });
  private generation = 0;
  private port = 1024;

  constructor() {
    this.dataplane.stage(configureRecord({ ...BUDGETS, workers: 1, setsMax: 256 }));
    // Everybody is in sets 0 to 7, so that blocks meet theirs.
    this.dataplane.stage(record(RecordKind.Class, 8 + 16, (b) => {
      b.setUint32(0, 1, true);
      b.setUint32(4, 8, true);
      for (let i = 0; i < 8; i++) b.setUint16(8 + i * 2, i, true);
    }));
    this.dataplane.stage(record(RecordKind.Members, MEMBERS_FIRST + MEMBER4_BYTES, (b) => {
      b.setUint32(0, 4, true);
      b.setUint32(4, 1, true);
      b.setUint32(MEMBERS_FIRST + 8, 1, true);
    }));
    this.dataplane.stage(bindRecord(1, 0));
  }

  /** The next generation: the slot at the hook, behind what the records and modules bring. */
  push(
    slot: number, records: Uint8Array[] = [], modules: PolicyModule[] = [], hook = Hook.Egress,
  ): void {
    const generation = ++this.generation;
    const table = record(RecordKind.Endpoints, ENDPOINTS_BYTES, (b) => {
      b.setUint32(ENDPOINTS_CAPACITY, 1, true);
      b.setUint32(ENDPOINTS_ADDRESSES, 2, true);
    });
    const pod = record(RecordKind.Endpoint, ENDPOINT_BYTES, (b) => {
      b.setUint8(ENDPOINT_KIND, EndpointKind.Workload);
      b.setUint16(ENDPOINT_HOOKS + hook * 2, slot, true);
      putBytes(b, ENDPOINT_ADDRESS4, addressBytes(POD).subarray(12));
      putBytes(b, ENDPOINT_ADDRESS6, addressBytes(POD6));
    });
    try {
      this.dataplane.push({
        generation, modules, records: concat([...records, beginRecord(generation), table, pod]),
      });
    } catch (cause) {
      this.generation--;
      throw cause;
    }
  }

  /** Sends a packet of a flow of its own. */
  send(more: Partial<Spec> = {}): Result {
    this.port = 1024 + ((this.port + 1) & 0x3fff);
    const bytes = packet({ from: POD, to: FAR, sourcePort: this.port, ...more });
    const [result] = this.dataplane.process(0, [{ interface: 1, bytes }], clock);
    return result!;
  }
}

/** Why staging was refused. */
export function refusal(run: () => void): string {
  try {
    run();
  } catch (cause) {
    if (cause instanceof PushRefused) return cause.reason;
    throw cause;
  }
  return "accepted";
}

/** A block that uses every part: sets of all sides, ports of both, a verify list, a pass. */
export const RULES: ProgramRule[] = [
  { name: "a", action: "deny", protocol: "tcp", destinationPorts: [22, "8000-8100"] },
  { name: "b", action: "pass", protocol: "tcp", sourceSets: ["a", "b"], next: 3 },
  { name: "c", action: "deny", notSourceSets: ["b"], destinationSets: ["a", "b"] },
  {
    name: "d", action: "allow", protocol: "udp", sourcePorts: ["1-1023"], notDestinationSets: ["a"],
  },
  { name: "e", action: "allow", protocol: "tcp", destinationPortSets: ["p"] },
  { name: "f", action: "allow", protocol: "icmp", icmp: { type: 8 } },
  { name: "g", action: "pass" },
];
export async function blockOf(rules: ProgramRule[]): Promise<Uint8Array> {
  const push = await new Compiler({}, "block").compile({
    endpoints: [], services: [], policies: [{ name: "all", rules }],
    sets: [
      { id: "a", type: "net", members: ["10.0.0.0/8"] },
      { id: "b", type: "ip", members: ["10.0.0.1"] },
      { id: "p", type: "ip-port", members: ["10.0.0.1,tcp:80"] },
    ],
  }, 1);
  const view = new DataView(push.records.buffer, push.records.byteOffset);
  const parts: Uint8Array[] = [];
  for (let at = 0; at < push.records.length;) {
    const bytes = view.getUint32(at + 4, true);
    if (view.getUint16(at, true) === RecordKind.ClassifierPart) {
      parts.push(push.records.slice(at + 8 + 8, at + 8 + bytes));
    }
    at += 8 + Math.ceil(bytes / 8) * 8;
  }
  return concat(parts);
}
