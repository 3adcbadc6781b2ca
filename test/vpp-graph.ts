// VPP as a node, seen from outside: packets in at its interfaces, what leaves, what is counted.
//
//   send("client", [packets]) ─► pcap ─► packet generator ─► VPP ─► capture of each interface
//                                                             └──► show errors, show trace
//   Sent { left: what went out, by which interface;  errors: counts since; trace }
//
// Nothing here knows how the plugin does it: what a test asserts can be seen on the wire, or stands
// in VPP's own counters. Interfaces are Ethernet; neighbours are static.
//
// Limits: one send at a time. What VPP's own IPv6 says unasked (router and neighbour discovery,
// multicast listener reports) is left out of `left`.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFailed } from "vitest";
import { bindRecords, Compiler } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { readCapture, writeCapture } from "../host/input/pcap.ts";
import { familyOf } from "../host/model/address.ts";
import type { Budgets, Program } from "../host/model/program.ts";
import { vppInstall, type VppInstall } from "../host/vpp/install.ts";
import { VppProcess, type VppOptions } from "../host/vpp/process.ts";
import { packet, type Spec } from "./packets.ts";

const found = vppInstall();
export const skipped = typeof found === "string";
if (skipped) console.log(`VPP tests: skipped (${found})`);
export const install = found as VppInstall;

const LINKTYPE_ETHERNET = 1;
export const BUDGETS: Budgets = {
  workers: 2, sessions4Max: 4096, sessions6Max: 4096, endpointsMax: 16, servicesMax: 64,
};

export interface GraphOptions extends Partial<VppOptions> {
  /** VPP beside others only where its arcs are enabled by hand. */
  manual?: boolean;
  budgets?: Partial<Budgets>;
}
export interface PortOptions {
  /** Its own, with prefix lengths. */
  addresses?: string[];
  /** Who is there, at a made-up address of Ethernet. */
  neighbors?: string[];
  /** Number of the endpoint that it is bound to; none when absent. */
  endpoint?: number;
  /** Words of "create packet-generator interface". */
  flags?: string;
  mtu?: number;
}
export interface SendOptions {
  /** Words of "packet-generator new". */
  stream?: string;
  /** Where VPP takes them in, without an Ethernet header; "ethernet-input", with one, if absent. */
  node?: string;
  /** Of the frames; the interface's own when absent. */
  destinationMac?: string;
  /** The node whose packets are traced; pg-input when absent. */
  traced?: string;
  /** VLAN tag. */
  vlan?: number;
  /** How many packets are waited for, some seconds at most: where another thread works on them. */
  awaited?: number;
  /** How long behind the last packet results are waited for. */
  settleMs?: number;
  /** Repeats of the whole. */
  limit?: number;
}
export interface Left {
  by: string;
  /** From the L3 header on. */
  bytes: Uint8Array;
  frame: Uint8Array;
}
export interface Sent {
  left: Left[];
  /** "node reason" to packets. */
  errors: Map<string, number>;
  trace: string;
}
interface Port { number: number; file: string; taken: number }

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));
const hex = (number: number) => number.toString(16).padStart(2, "0");
export const macOf = (port: number, who = 0xfe): string => `02:fe:00:00:${hex(port)}:${hex(who)}`;
const macBytes = (text: string) => Buffer.from(text.replaceAll(":", ""), "hex");

export class Graph {
  readonly ports = new Map<string, Port>();
  private files = 0;
  private generation = 0;
  private compiler: Compiler | undefined;

  private constructor(readonly vpp: VppProcess, private readonly budgets: Budgets) {}

  static async start(options: GraphOptions = {}): Promise<Graph> {
    const { manual, budgets, ...rest } = options;
    const sections = { ...(manual ? { margay: "manual" } : {}), ...rest.sections };
    const vpp = await VppProcess.start({ ...install, ...rest, sections });
    return new Graph(vpp, { ...BUDGETS, ...budgets });
  }

  close(): Promise<void> {
    return this.vpp.close();
  }

  /** The core, configured. */
  async open(): Promise<void> {
    const core = join(process.cwd(), "build/margay.wasm");
    await this.vpp.expect(`margay core ${core} pages 512`, "core loaded");
    const file = this.write(configureRecord(this.budgets));
    await this.vpp.expect(`margay records ${file}`, "records staged");
  }

  async push(program: Program): Promise<void> {
    this.compiler ??= new Compiler(this.budgets);
    const push = await this.compiler.compile(program, ++this.generation);
    for (const { slot, kind, wasm } of push.modules) {
      const user = kind === "user" ? "user " : "";
      await this.vpp.expect(`margay module ${slot} ${user}${this.write(wasm)}`, "module admitted");
    }
    await this.vpp.expect(`margay records ${this.write(push.records)}`, "records staged");
    await this.vpp.expect(`margay publish ${push.generation}`, "generation published");
    if (bindRecords(program).length) throw new Error("ports are bound by name: interfaces: []");
  }

  /** A packet generator's interface, captured. */
  async port(name: string, number: number, options: PortOptions = {}): Promise<void> {
    const { addresses = [], neighbors = [], endpoint, flags = "", mtu } = options;
    const pg = `pg${number}`;
    await this.vpp.command(
      `create packet-generator interface ${pg} hw-addr ${macOf(number)} ${flags}`);
    const file = this.vpp.path(`${name}-${this.files++}.pcap`);
    await this.vpp.quietly(
      `set interface state ${pg} up`,
      `enable ip4 interface ${pg}`,
      `enable ip6 interface ${pg}`,
      ...addresses.map((address) => `set interface ip address ${pg} ${address}`),
      ...mtu === undefined ? [] : [`set interface mtu packet ${mtu} ${pg}`],
      `packet-generator capture ${pg} pcap ${file}`,
    );
    for (const [who, each] of neighbors.entries()) {
      await this.vpp.quietly(`set ip neighbor ${pg} ${each} ${macOf(number, who + 1)}`);
    }
    this.ports.set(name, { number, file, taken: 0 });
    if (endpoint !== undefined) await this.bind(pg, endpoint);
  }

  bind(interfaceName: string, endpoint: number): Promise<string> {
    return this.vpp.expect(`margay bind ${interfaceName} ${endpoint}`, "interface bound");
  }

  /**
   * Sends packets in at an interface, in one go, and waits for what becomes of them. A test that
   * fails afterwards shows trace and counters.
   */
  send(from: string, packets: Uint8Array[], options: SendOptions = {}): Promise<Sent> {
    return this.sendAll([{ from, packets, options }], options);
  }

  /** Sends one lot right behind the other: VPP keeps what it reassembles for 100 ms only. */
  async sendAll(
    lots: { from: string; packets: Uint8Array[]; options?: SendOptions }[],
    options: SendOptions = {},
  ): Promise<Sent> {
    this.left();
    await this.vpp.command("clear errors");
    await this.vpp.command("clear trace");
    await this.vpp.quietly(`trace add ${options.traced ?? "pg-input"} 300`);
    for (const [n, lot] of lots.entries()) {
      await this.define(`run${n}`, lot.from, lot.packets, lot.options);
    }
    const names = lots.map((_, n) => `run${n}`);
    for (const name of names) await this.vpp.quietly(`packet-generator enable-stream ${name}`);
    const deadline = Date.now() + 20_000;
    while (/^run\d\s+Yes/m.test(await this.vpp.command("show packet-generator"))) {
      if (Date.now() > deadline) throw new Error("VPP's packet generator does not end");
      await pause(2);
    }
    for (const name of names) await this.vpp.quietly(`packet-generator delete ${name}`);
    await pause(options.settleMs ?? 10);
    const left = this.left();
    while (left.length < (options.awaited ?? 0) && Date.now() < deadline - 15_000) {
      await pause(5);
      left.push(...this.left());
    }
    const errors = await this.errors();
    const trace = await this.vpp.command("show trace max 300");
    left.push(...this.left());
    onTestFailed(() => console.log(trace, [...errors]));
    return { left, errors, trace };
  }

  /** Starts a stream, and does not wait for it. */
  async stream(
    from: string, packets: Uint8Array[], options: SendOptions = {}, name = "run",
  ): Promise<void> {
    await this.define(name, from, packets, options);
    await this.vpp.quietly(`packet-generator enable-stream ${name}`);
  }
  /** Ends one; how many packets it has sent. */
  async endStream(name = "run"): Promise<number> {
    await this.vpp.quietly(`packet-generator disable-stream ${name}`);
    const shown = await this.vpp.command("show packet-generator");
    await this.vpp.quietly(`packet-generator delete ${name}`);
    return Number(new RegExp(`^${name}\\s+No\\s+(\\d+)`, "m").exec(shown)![1]);
  }

  private async define(
    name: string, from: string, packets: Uint8Array[], options: SendOptions = {},
  ): Promise<void> {
    const { number } = this.ports.get(from)!;
    const { stream = "", limit, node } = options;
    const frames = packets.map((bytes) => node ? bytes : Buffer.concat([
      macBytes(options.destinationMac ?? multicastMac(bytes) ?? macOf(number)),
      macBytes(macOf(number, 1)),
      Buffer.from(options.vlan === undefined ? [] : [0x81, 0, 0, options.vlan]),
      Buffer.from(bytes[0]! >> 4 === 6 ? [0x86, 0xdd] : [8, 0]), bytes,
    ]));
    const file = this.write(writeCapture(
      "pcap", [{ linkType: LINKTYPE_ETHERNET, snapLength: 0 }],
      frames.map((bytes) => ({
        timestampNs: 0n, interface: 0, linkType: LINKTYPE_ETHERNET,
        originalLength: bytes.length, bytes,
      })), { microseconds: true }));
    const ended = limit === undefined ? "" : ` limit ${limit}`;
    await this.vpp.quietly(
      `packet-generator new { name ${name} source pg${number} ${stream} `
        + `node ${node ?? "ethernet-input"} pcap ${file}${ended} }`);
  }

  /** What left since the last call. */
  left(): Left[] {
    const all: Left[] = [];
    for (const [by, port] of this.ports) {
      if (!existsSync(port.file)) continue;
      // A packet that VPP is just writing is read next time.
      const { packets } = readCapture(readFileSync(port.file), port.file);
      for (const { bytes: frame } of packets.slice(port.taken)) {
        const type = (frame[12]! << 8) | frame[13]!;
        const bytes = frame.slice(14);
        if (type === 0x0800 || (type === 0x86dd && !isChatter(bytes))) {
          all.push({ by, bytes, frame });
        }
      }
      port.taken = packets.length;
    }
    return all;
  }

  /** VPP's error counters since they were cleared. */
  async errors(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (const line of (await this.vpp.command("show errors")).split("\n")) {
      const [, count, node, reason] = /^\s*(\d+)\s+(\S+)\s+(.*?)\s+\S+\s*$/.exec(line) ?? [];
      if (!count) continue;
      const name = `${node} ${reason}`;
      counts.set(name, (counts.get(name) ?? 0) + Number(count));
    }
    return counts;
  }

  write(bytes: Uint8Array): string {
    const path = this.vpp.path(`file-${this.files++}`);
    writeFileSync(path, bytes);
    return path;
  }
}

/** The frame's address of a packet to a multicast group (RFC 1112, RFC 2464). */
function multicastMac(bytes: Uint8Array): string | undefined {
  if (bytes[0]! >> 4 === 6) {
    if (bytes[24] !== 0xff) return undefined;
    return ["33", "33", ...[...bytes.subarray(36, 40)].map(hex)].join(":");
  }
  if (bytes[16]! >> 4 !== 14) return undefined;
  return ["01", "00", "5e", hex(bytes[17]! & 0x7f), hex(bytes[18]!), hex(bytes[19]!)].join(":");
}

/** Router and neighbour discovery, listener reports. */
function isChatter(bytes: Uint8Array): boolean {
  const hopByHop = bytes[6] === 0;
  const type = hopByHop ? bytes[48]! : bytes[6] === 58 ? bytes[40]! : 0;
  return (type >= 133 && type <= 137) || type === 143;
}

/** By which port each packet left. */
export const by = ({ left }: Pick<Sent, "left">): string[] => left.map((each) => each.by);

/** Source port of the newest flow. */
export let lastPort = 20000;
/** One that no flow had before. */
export const fresh = (): number => ++lastPort;
/** A datagram of a new flow. */
export const udp = (spec: Omit<Spec, "protocol">): Uint8Array =>
  packet({ protocol: "udp", sourcePort: fresh(), ...spec });

/** How many packets a reason of the plugin's was counted for, whichever node it was. */
export function counted({ errors }: Pick<Sent, "errors">, reason: string): number {
  let sum = 0;
  for (const [name, count] of errors) {
    if (name.startsWith("margay-") && name.endsWith(` ${reason}`)) sum += count;
  }
  return sum;
}

export const isFour = (address: string): boolean => familyOf(address) === 4;
