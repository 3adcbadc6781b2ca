// One VPP with two ways from an input to an output: the plugin's and that of cnat, the NAT plugin
// that comes with VPP. Each has a FIB of its own, so that no packet meets the other's nodes.
//
//   pg0 ─► ip4-input ─► margay-ip4-input ─► ip4-lookup (table 1) ─► ip4-rewrite ─► pg2
//   pg1 ─► ip4-input ─► cnat-lookup, cnat-input ─► ip4-lookup (table 0) ─► ip4-rewrite
//                                              ─► cnat-output, cnat-writeback ─► pg3
//
// With two cores or more, packets pass on a worker thread pinned to core 1, with the best priority
// that we may give it; VPP's main thread and this process have core 0. Buffers lie on 2 MiB pages.
//
// Limits: one service, two backends, UDP over IPv4; no policy on either side.

import { readFileSync, writeFileSync } from "node:fs";
import { cpus, setPriority } from "node:os";
import {
  beginRecord, configureRecord, endpointRecords, serviceRecords,
} from "../host/compile/records.ts";
import { concat } from "../host/dataplane/record.ts";
import { VppProcess } from "../host/vpp/process.ts";
import { readCapture } from "../host/input/pcap.ts";
import { BACKEND_PORT, BACKENDS, checksumsHold, inOrder, VIP, VIP_PORT } from "./vpp-flows.ts";
import { type NodeCost, parseRuntime } from "./vpp-runtime.ts";

export type Peer = "margay" | "cnat";
const PEERS: Record<Peer, { input: string; output: string }> = {
  margay: { input: "pg0", output: "pg2" },
  cnat: { input: "pg1", output: "pg3" },
};
const HOUR_MS = 3_600_000;
const WARM_SECONDS_MAX = 120;
const ENDLESS = 1e15;
const PAGE_BYTES = 65_536;
/** An established UDP session is made by its first packet: two index entries, one record. */
const SESSION_BYTES = 200;
/** Budget of records for each flow: below, some find both of their buckets full. */
const SESSIONS_PER_FLOW = 2;

export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export interface PeersOptions {
  prefix: string;
  plugin: string;
  /** The packet program, build/margay.wasm. */
  core: string;
  flows: number;
}

export class Peers {
  private constructor(
    readonly vpp: VppProcess, readonly version: string, readonly pinning: string,
    private readonly flows: number,
  ) {}

  static async start(options: PeersOptions): Promise<Peers> {
    const worker = cpus().length > 1;
    const vpp = await VppProcess.start({
      prefix: options.prefix, plugin: options.plugin, otherPlugins: ["cnat_plugin.so"],
      pollSleepMicroseconds: 0,
      sections: {
        margay: "manual",
        buffers: "buffers-per-numa 16384",
        memory: `main-heap-size ${1 + Math.ceil(options.flows / 400_000)}G`,
        cpu: worker ? "main-core 0 corelist-workers 1" : "main-core 0",
        // Two entries a session; half full at the most, as the peer likes it.
        cnat: `session-max ${Math.max(1 << 20, options.flows * 4)} session-max-age 3600`,
      },
    });
    try {
      const version = (await vpp.command("show version")).split(" built ")[0]!.trim();
      const peers = new Peers(vpp, version, await pin(vpp, worker), options.flows);
      await peers.lay(options.core, worker ? 2 : 1);
      return peers;
    } catch (error) {
      await vpp.close();
      throw error;
    }
  }

  private async lay(core: string, workers: number): Promise<void> {
    const { vpp, flows } = this;
    const pages = Math.max(1024, Math.ceil((flows * SESSION_BYTES) / PAGE_BYTES) + 200);
    await vpp.expect(`margay core ${core} pages ${pages}`, "core loaded");
    for (const [i, records] of this.records(workers).entries()) {
      writeFileSync(vpp.path(`records${i}`), records);
      await vpp.expect(`margay records ${vpp.path(`records${i}`)}`, "records staged");
    }
    await vpp.expect("margay publish 1", "generation published");
    for (const name of ["pg0", "pg1"]) {
      await vpp.command(`create packet-generator interface ${name}`);
    }
    for (const name of ["pg2", "pg3"]) {
      await vpp.command(`create packet-generator interface ${name} mode ip4`);
    }
    await vpp.quietly("ip table add 1");
    for (const name of ["pg0", "pg2"]) await vpp.quietly(`set interface ip table ${name} 1`);
    for (const name of ["pg0", "pg1", "pg2", "pg3"]) {
      await vpp.quietly(`set interface state ${name} up`, `enable ip4 interface ${name}`);
    }
    await vpp.quietly("ip route add 0.0.0.0/0 table 1 via pg2", "ip route add 0.0.0.0/0 via pg3");
    await vpp.expect("margay bind pg0 0", "interface bound");
    await vpp.expect("set margay input pg0", "input enabled");
    const paths = BACKENDS.map((address) => `to 0.0.0.0->${address} ${BACKEND_PORT}`).join(" ");
    await vpp.quietly(
      "set cnat feature pg1 enable", "set cnat feature pg3 enable",
      `cnat translation add proto UDP vip ${VIP} ${VIP_PORT} ${paths}`,
    );
  }

  private records(workers: number): Uint8Array[] {
    const budgets = {
      workers, sessions4Max: Math.ceil(this.flows * SESSIONS_PER_FLOW) + 1000,
      sessions6Max: 1000, endpointsMax: 16, servicesMax: 16, timeoutsMs: [HOUR_MS, 0, 0, 0, 0, 0],
    };
    const backends = BACKENDS.map((address, i) => ({
      name: `backend-${i}`, address, port: BACKEND_PORT,
    }));
    return [configureRecord(budgets), concat([
      beginRecord(1),
      ...endpointRecords([
        { name: "uplink", kind: "uplink", interfaces: [], addresses: [] },
        { name: "server", kind: "workload", interfaces: [], addresses: BACKENDS },
      ], new Map()),
      ...serviceRecords([
        { name: "service", address: VIP, port: VIP_PORT, protocol: "udp", backends },
      ]),
    ])];
  }

  /** One packet of each of the first n flows through a peer: the packets as they left. */
  async rewritten(peer: Peer, n: number): Promise<Uint8Array[]> {
    const { vpp } = this;
    const { input, output } = PEERS[peer];
    const file = vpp.path(`${peer}.pcap`);
    await vpp.command(`packet-generator capture ${output} pcap ${file} count ${n}`);
    await vpp.quietly(
      `packet-generator new { name try-${peer} limit ${n} size 64-64 interface ${input} `
        + `node ip4-input ${inOrder(n)} }`,
      `packet-generator enable-stream try-${peer}`,
    );
    await pause(500);
    await vpp.command(`packet-generator capture ${output} disable`);
    await vpp.command(`packet-generator delete try-${peer}`);
    return readCapture(readFileSync(file), file).packets.map((packet) => packet.bytes);
  }

  /** An endless stream of the flows for each peer, not yet running. `source`: see vpp-flows.ts. */
  async streams(name: string, source: string): Promise<void> {
    for (const [peer, { input }] of Object.entries(PEERS)) {
      // Limit 0 would be endless for made packets, but once through for a capture.
      await this.vpp.quietly(
        `packet-generator new { name ${name}-${peer} limit ${ENDLESS} size 64-64 worker 0 `
          + `interface ${input} node ip4-input ${source} }`,
      );
    }
  }

  /** Runs a peer's stream until it has a session for each flow. Returns the number of sessions. */
  async establish(name: string, peer: Peer): Promise<number> {
    await this.vpp.quietly(`packet-generator enable-stream ${name}-${peer}`);
    let sessions = 0;
    const deadline = Date.now() + WARM_SECONDS_MAX * 1000;
    while (sessions < this.flows && Date.now() < deadline) {
      await pause(500);
      sessions = await this.sessions(peer);
    }
    await pause(1000);
    await this.vpp.quietly(`packet-generator disable-stream ${name}-${peer}`);
    if (sessions >= this.flows) return sessions;
    throw new Error(`${peer}: ${sessions} sessions of ${this.flows} after ${WARM_SECONDS_MAX} s`);
  }

  private async sessions(peer: Peer): Promise<number> {
    const [command, count] = peer === "margay"
      ? ["show margay", /^sessions4 live=(\d+)/m] as const
      : ["show cnat timestamp", /^Total timestamps (\d+)/m] as const;
    return Number(count.exec(await this.vpp.command(command))?.[1] ?? Number.NaN);
  }

  /** What the nodes cost while a peer's stream runs alone for so long. */
  async measure(name: string, peer: Peer, ms: number): Promise<NodeCost[]> {
    await this.vpp.quietly(`packet-generator enable-stream ${name}-${peer}`);
    await pause(200);
    await this.vpp.command("clear runtime");
    await pause(ms);
    const text = await this.vpp.command("show runtime");
    await this.vpp.quietly(`packet-generator disable-stream ${name}-${peer}`);
    return parseRuntime(text);
  }

  /** Packets that the plugin dropped: none may be. */
  async dropped(): Promise<string> {
    const lines = (await this.vpp.command("show margay counters")).trim().split("\n");
    return lines.filter((line) => !/^\s*(established|allowed) /.test(line)).join(", ");
  }

  close(): Promise<void> {
    return this.vpp.close();
  }
}

/** Gives VPP's packet thread the best priority that we may give, and says what it runs on. */
async function pin(vpp: VppProcess, worker: boolean): Promise<string> {
  const text = (await vpp.command("show threads")).replace(/\x1b\[\d*m/g, "");
  const thread = worker ? "vpp_wk_0" : "vpp_main";
  const id = Number(new RegExp(`${thread}\\s+(\\d+)`).exec(text)?.[1] ?? Number.NaN);
  const where = worker
    ? "a worker thread alone on core 1, VPP's main thread on core 0"
    : "VPP's main thread on core 0 (a machine of one core)";
  try {
    setPriority(id, -20);
    return `${where}; nice -20`;
  } catch {
    return `${where}; usual priority (a better one needs root)`;
  }
}

/** Compares what left both peers; throws where one did no DNAT to a backend. Returns a sentence. */
export function compareRewrites(margay: Uint8Array[], cnat: Uint8Array[]): string {
  const client = (packet: Uint8Array) => [...packet.subarray(12, 16), ...packet.subarray(20, 22)]
    .join(".");
  const backend = (packet: Uint8Array) => packet.subarray(16, 20).join(".");
  const portOf = (packet: Uint8Array) => (packet[22]! << 8) | packet[23]!;
  const check = (peer: Peer, packet: Uint8Array) => {
    const good = BACKENDS.includes(backend(packet)) && portOf(packet) === BACKEND_PORT
      && checksumsHold(packet);
    if (!good) throw new Error(`${peer}: not rewritten to a backend: ${packet.join(" ")}`);
  };
  const theirs = new Map(cnat.map((packet) => [client(packet), packet]));
  let same = 0;
  for (const packet of margay) {
    const other = theirs.get(client(packet));
    if (!other) throw new Error(`cnat: no packet from ${client(packet)} came out`);
    check("margay", packet);
    check("cnat", other);
    const rest = (each: Uint8Array) => [...each.subarray(0, 10), ...each.subarray(28)].join(".");
    if (rest(packet) !== rest(other)) throw new Error(`the rest of a packet differs: ${packet}`);
    if (backend(packet) === backend(other)) same++;
  }
  if (margay.length !== cnat.length || margay.length === 0) {
    throw new Error(`margay sent ${margay.length} packets, cnat ${cnat.length}`);
  }
  return `${margay.length} packets rewritten by both to one of the same ${BACKENDS.length} `
    + `backends, checksums right; the same backend for ${same} of them`;
}
