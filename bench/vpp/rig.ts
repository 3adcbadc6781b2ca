// One VPP with two ways from an input to an output: the plugin's, and a peer's. Each has a FIB of
// its own, so that no packet meets the other's nodes.
//
//   pg0 ► bench-flows ► ip4-input ► margay ► ip4-lookup, table 1 ► ip4-rewrite ► margay ► pg2
//   pg1 ► bench-flows ► ip4-input ► peer ► ip4-lookup, table 0 ► ip4-rewrite ► peer ► pg3
//
// With two cores or more, packets pass on a worker thread pinned to core 1, with the best priority
// that we may give it; VPP's main thread and this process have core 0. Buffers lie on 2 MiB pages.
//
// Limits: UDP and ICMP errors; the packet generator repeats hot buffers, so that what a NIC adds is
// missing from both sides.

import { readFileSync, writeFileSync } from "node:fs";
import { cpus, setPriority } from "node:os";
import { dirname } from "node:path";
import { Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import type { Push } from "../../host/dataplane/dataplane.ts";
import { readCapture } from "../../host/input/pcap.ts";
import type { Program } from "../../host/model/program.ts";
import { VppProcess } from "../../host/vpp/process.ts";
import { type Bed, budgetsOf, pagesOf, programOf } from "./bed.ts";
import { type Family, FLOWS_MAX, type Traffic } from "./packets.ts";
import { type Peer, PEERS } from "./peers.ts";
import { type NodeCost, packetsIn, parseRuntime } from "./runtime.ts";

export type Side = "margay" | "peer";
export const SIDES: Side[] = ["margay", "peer"];
const PORTS: Record<Side, { input: string; output: string }> = {
  margay: { input: "pg0", output: "pg2" },
  peer: { input: "pg1", output: "pg3" },
};
const MARGAY_NODES = /^margay-/;
const ENDLESS = 1e15;
const BURST_SECONDS_MAX = 90;
/** All that a bench loads itself: what is no part of a row is no part of its VPP. */
export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export interface Install {
  prefix: string;
  /** margay_plugin.so. */
  plugin: string;
  /** benchflows_plugin.so. */
  flows: string;
  /** The packet program, build/margay.wasm. */
  core: string;
}
/** Which flows a stream's packets are of. */
export interface Flows { count: number; from?: number; random?: boolean }

export class Rig {
  readonly compiler: Compiler;
  readonly program: Program;
  generation = 0;
  /** What VPP grew by when the core was opened and configured. */
  coreKilobytes = 0;
  private files = 0;

  private constructor(
    readonly vpp: VppProcess, readonly bed: Bed, readonly version: string,
    readonly pinning: string, readonly workers: number,
  ) {
    this.program = programOf(bed);
    this.compiler = new Compiler(budgetsOf(bed, this.program, workers));
  }

  get peer(): Peer {
    return PEERS[this.bed.peer];
  }
  nodesOf(side: Side): RegExp {
    return side === "margay" ? MARGAY_NODES : this.peer.nodes;
  }

  static async start(install: Install, bed: Bed): Promise<Rig> {
    const worker = cpus().length > 1;
    const peer = PEERS[bed.peer];
    const vpp = await VppProcess.start({
      prefix: install.prefix, plugin: install.plugin,
      otherPlugins: [...peer.plugins, "benchflows_plugin.so"], pollSleepMicroseconds: 0,
      sections: {
        // The peer's interfaces are none of the plugin's; pushes shall not meet the pinned worker.
        margay: worker ? "manual cores 0" : "manual",
        buffers: "buffers-per-numa 14336",
        // acl-plugin's table and nat44-ed's sessions come out of the heap before the first packet.
        memory: `main-heap-size ${3 + Math.ceil(bed.sessions / 1_000_000)}G`,
        cpu: worker ? "main-core 0 corelist-workers 1" : "main-core 0",
        plugins: `add-path ${dirname(install.plugin)}:${dirname(install.flows)} `
          + "plugin default { disable } "
          + ["margay_plugin.so", "benchflows_plugin.so", ...peer.plugins]
            .map((name) => `plugin ${name} { enable }`).join(" "),
        ...peer.sections(bed),
      },
    });
    try {
      const version = (await vpp.command("show version")).split(" built ")[0]!.trim();
      const rig = new Rig(vpp, bed, version, await pin(vpp, worker), worker ? 2 : 1);
      await rig.lay();
      await rig.open(install.core);
      await rig.peer.lay(vpp, bed);
      return rig;
    } catch (error) {
      await vpp.close();
      throw error;
    }
  }

  private async lay(): Promise<void> {
    const { vpp, bed: { family } } = this;
    const any = family === 4 ? "0.0.0.0/0" : "::/0";
    const mode = `ip${family}`;
    for (const name of ["pg0", "pg1"]) {
      await vpp.command(`create packet-generator interface ${name}`);
    }
    for (const name of ["pg2", "pg3"]) {
      await vpp.command(`create packet-generator interface ${name} mode ${mode}`);
    }
    await vpp.quietly(family === 4 ? "ip table add 1" : "ip6 table add 1");
    const ip = family === 4 ? "ip" : "ip6";
    for (const name of ["pg0", "pg2"]) await vpp.quietly(`set interface ${ip} table ${name} 1`);
    for (const name of ["pg0", "pg1", "pg2", "pg3"]) {
      await vpp.quietly(`set interface state ${name} up`, `enable ${mode} interface ${name}`);
    }
    await vpp.quietly(`ip route add ${any} table 1 via pg2`, `ip route add ${any} via pg3`);
  }

  private async open(core: string): Promise<void> {
    const { vpp, bed, program } = this;
    const budgets = budgetsOf(bed, program, this.workers);
    const before = this.residentKilobytes();
    await vpp.expect(`margay core ${core} pages ${pagesOf(program, budgets)}`, "core loaded");
    await this.stage(configureRecord(budgets));
    this.coreKilobytes = this.residentKilobytes() - before;
    await this.push(program);
    // As with the peer's features, the way out counts: packets pass its node by their mark.
    for (const [endpoint, name] of ["pg0", "pg2"].entries()) {
      await vpp.expect(`margay bind ${name} ${endpoint}`, "interface bound");
      await vpp.expect(`set margay input ${name}`, "input enabled");
    }
  }

  file(bytes: Uint8Array): string {
    // A few names in turn: a soak writes thousands.
    const path = this.vpp.path(`part${this.files++ % 64}`);
    writeFileSync(path, bytes);
    return path;
  }
  async stage(records: Uint8Array): Promise<void> {
    await this.vpp.expect(`margay records ${this.file(records)}`, "records staged");
  }
  /** Compiles a program and makes it the next generation. */
  async push(program: Program): Promise<Push> {
    const push = await this.compiler.compile(program, this.generation + 1);
    await this.give(push);
    return push;
  }
  /** Gives the plugin what was compiled. */
  async give(push: Push): Promise<void> {
    for (const { slot, kind, wasm } of push.modules) {
      const user = kind === "user" ? "user " : "";
      await this.vpp.expect(`margay module ${slot} ${user}${this.file(wasm)}`, "module admitted");
    }
    await this.stage(push.records);
    await this.vpp.expect(`margay publish ${push.generation}`, "generation published");
    this.generation = push.generation;
  }

  // ---- Streams ----------------------------------------------------------------------------------

  /** A stream of a side, not yet running; `limit` packets each time it is enabled. */
  async stream(name: string, side: Side, traffic: Traffic, limit = ENDLESS): Promise<void> {
    const { length } = traffic.bytes;
    const hex = Buffer.from(traffic.bytes).toString("hex");
    await this.vpp.quietly(
      `packet-generator new { name ${name}-${side} limit ${limit} size ${length}-${length} `
        + `worker 0 interface ${PORTS[side].input} node bench-flows data { hex 0x${hex} } }`,
    );
  }
  async drop(name: string, side: Side): Promise<void> {
    await this.vpp.command(`packet-generator delete ${name}-${side}`);
  }
  enable(name: string, side: Side): Promise<void> {
    return this.vpp.quietly(`packet-generator enable-stream ${name}-${side}`);
  }
  disable(name: string, side: Side): Promise<void> {
    return this.vpp.quietly(`packet-generator disable-stream ${name}-${side}`);
  }

  /** Which flows the packets of a side are of, from the next one on. */
  async flows(side: Side, traffic: Traffic, { count, from = 0, random }: Flows): Promise<void> {
    if (from + count > FLOWS_MAX) throw new Error(`flows ${from} + ${count}: at most ${FLOWS_MAX}`);
    const fields = traffic.fields.map(({ offset, base, modulo, checksums }) =>
      [`field ${offset} ${base}`, ...(modulo ? [`modulo ${modulo}`] : []),
        ...checksums.map((at) => `checksum ${at}`)].join(" "));
    await this.vpp.quietly(`bench flows ${PORTS[side].input} count ${count} from ${from} `
      + `${random ? "random " : ""}${fields.join(" ")}`);
  }

  /** Sends so many packets at full rate and waits for the last. What the nodes cost meanwhile. */
  async burst(side: Side, traffic: Traffic, packets: number): Promise<NodeCost[]> {
    const name = `burst${this.files++}`;
    await this.stream(name, side, traffic, packets);
    await this.vpp.command("clear runtime");
    await this.enable(name, side);
    const deadline = Date.now() + BURST_SECONDS_MAX * 1000;
    let nodes: NodeCost[] = [];
    while (packetsIn(nodes) < packets) {
      if (Date.now() > deadline) {
        throw new Error(`${packetsIn(nodes)} of ${packets} packets in ${BURST_SECONDS_MAX} s`);
      }
      await pause(20);
      nodes = parseRuntime(await this.vpp.command("show runtime"));
    }
    await this.drop(name, side);
    return nodes;
  }

  /** What the nodes cost while a stream runs alone for so long. */
  async measure(name: string, side: Side, ms: number): Promise<NodeCost[]> {
    await this.enable(name, side);
    await pause(150);
    await this.vpp.command("clear runtime");
    await pause(ms);
    const text = await this.vpp.command("show runtime");
    await this.disable(name, side);
    return parseRuntime(text);
  }

  /** The packets of n flows through a side: as they left. */
  async capture(side: Side, traffic: Traffic, flows: Flows): Promise<Uint8Array[]> {
    const { output } = PORTS[side];
    const file = this.vpp.path(`out-${side}-${this.files++}.pcap`);
    await this.flows(side, traffic, flows);
    await this.vpp.command(
      `packet-generator capture ${output} pcap ${file} count ${flows.count}`);
    await this.burst(side, traffic, flows.count);
    await pause(50);
    await this.vpp.command(`packet-generator capture ${output} disable`);
    try {
      return readCapture(readFileSync(file), file).packets.map((packet) => packet.bytes);
    } catch (error) {
      // Where nothing came out there is no file.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    }
  }

  // ---- Counters ---------------------------------------------------------------------------------

  /** Packets that came in and went out on a side since the last clearCounters(). */
  async carried(side: Side): Promise<{ in: number; out: number }> {
    const read = async (name: string, which: string): Promise<number> => {
      const text = await this.vpp.command(`show interface ${name}`);
      return Number(new RegExp(`${which} packets\\s+(\\d+)`).exec(text)?.[1] ?? 0);
    };
    const { input, output } = PORTS[side];
    return { in: await read(input, "rx"), out: await read(output, "tx") };
  }
  async clearCounters(): Promise<void> {
    await this.vpp.command("clear interfaces");
  }

  async sessions(side: Side): Promise<number> {
    if (side === "peer") return this.peer.sessions(this.vpp);
    const count = new RegExp(`^sessions${this.bed.family} live=(\\d+)`, "m");
    return Number(count.exec(await this.vpp.command("show margay"))?.[1] ?? Number.NaN);
  }

  /** Kilobytes that VPP holds in memory. */
  residentKilobytes(): number {
    const status = readFileSync(`/proc/${this.vpp.pid}/status`, "utf8");
    return ["VmRSS", "HugetlbPages"].reduce((sum, name) =>
      sum + Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0), 0);
  }

  close(): Promise<void> {
    return this.vpp.close();
  }
}

export const familyText = (family: Family): string => (family === 6 ? ", IPv6" : "");

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
