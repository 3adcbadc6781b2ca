// The pods' network of the capture, for real: a namespace for each pod and for the world, one for
// the node between them, and a capture of what each of them sends.
//
//  ┌─ shop/web ─┐           ┌───────────── node ──────────────┐           ┌─ world ─┐
//  │       eth0 │── veth ──►│ cali1b2…   routes, DNAT    eth0 │◄── veth ──│ eth0    │
//  └────────────┘   capture:└─────────────────────────────────┘:capture   └─────────┘
//
// The node answers for 169.254.1.1 and fe80::1, as Calico's pods have it, so pods share no link. A
// capture point sees inbound packets only, before the node's DNAT: requests as the client sent
// them, replies as the server sent them. Offloads are off: what is captured has whole checksums.
//
// Limits: Linux, root, nftables and the tools of TOOLS. Everything made is removed by close().

import { execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";

/** Command and the Debian package that has it. */
const TOOLS: readonly [string, string][] = [
  ["ip", "iproute2"], ["sysctl", "procps"], ["ethtool", "ethtool"], ["nft", "nftables"],
  ["tcpdump", "tcpdump"],
  ["curl", "curl"], ["dnsmasq", "dnsmasq-base"], ["dig", "bind9-dnsutils"],
  ["ping", "iputils-ping"],
];
const OFFLOADS = ["rx", "tx", "tso", "gso", "gro"];
/** Neighbour discovery and multicast reports are the link's own: they are no traffic of a pod. */
const CAPTURED = "ip or (ip6 and ip6[6] != 0 and not (ip6[6] = 58 and ip6[40] > 129))";

export interface Pod {
  name: string;
  /** Its interface on the node. */
  interface: string;
  addresses: string[];
}

/** The first packet of a connection, as its client sends it. */
export interface Opening {
  protocol: "tcp" | "udp";
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
}

/** Where the node sends a connection. */
export interface Carriage extends Opening {
  /** Undefined: the node drops it. Equal to the destination: it goes on as it came. */
  to: { address: string; port: number } | undefined;
  /** The source that its receiver sees. */
  from: { address: string; port: number } | undefined;
}

/** What is missing here, one sentence each; empty when a network can be made. */
export function missing(): string[] {
  const problems: string[] = [];
  if (process.platform !== "linux") problems.push("needs Linux: network namespaces");
  else if (process.getuid?.() !== 0) problems.push("needs root: network namespaces");
  for (const [command, debianPackage] of TOOLS) {
    if (spawnSync(command, ["--version"]).error !== undefined) {
      problems.push(`needs ${command} (Debian's package ${debianPackage})`);
    }
  }
  return problems;
}

export class Network {
  private readonly prefix = `margay-${process.pid}-`;
  private readonly node = `${this.prefix}node`;
  private readonly made: string[] = [];
  private readonly running: ChildProcess[] = [];

  private constructor(private readonly pods: Pod[]) {}

  static async make(pods: Pod[], nodeAddresses: string[]): Promise<Network> {
    const network = new Network(pods);
    try {
      await network.addNode(nodeAddresses);
      await Promise.all(pods.map((pod) => network.addPod(pod)));
      return network;
    } catch (error) {
      network.close();
      throw error;
    }
  }

  private async addNode(addresses: string[]): Promise<void> {
    await this.addNamespace(this.node);
    await batch(this.node, addresses.map((address) =>
      `addr add ${address}/${isIPv6(address) ? "128 dev lo nodad" : "32 dev lo"}`));
    // Before the veths: new interfaces inherit these.
    await run("ip", "netns", "exec", this.node, "sysctl", "-qw", "net.ipv4.ip_forward=1",
      "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.rp_filter=0",
      "net.ipv4.conf.default.rp_filter=0", "net.ipv6.conf.default.accept_dad=0");
  }

  private async addNamespace(name: string): Promise<void> {
    await run("ip", "netns", "add", name);
    this.made.push(name);
    await run("ip", "-n", name, "link", "set", "lo", "up");
  }

  /** A namespace's name holds no slash. */
  private placeOf(name: string): string {
    return this.prefix + this.pods.findIndex((pod) => pod.name === name);
  }

  private async addPod({ name: podName, interface: name, addresses }: Pod): Promise<void> {
    const pod = this.placeOf(podName);
    await this.addNamespace(pod);
    await run("ip", "netns", "exec", pod, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0");
    await run("ip", "-n", this.node, "link", "add", name, "type", "veth", "peer", "name", "eth0",
      "netns", pod);
    for (const [namespace, device] of [[this.node, name], [pod, "eth0"]] as const) {
      const off = OFFLOADS.flatMap((offload) => [offload, "off"]);
      await run("ip", "netns", "exec", namespace, "ethtool", "-K", device, ...off);
    }
    const hosts = addresses.map((address) => `${address}/${isIPv6(address) ? 128 : 32}`);
    await batch(this.node, [
      `link set ${name} up`, `addr add 169.254.1.1/32 dev ${name}`,
      `addr add fe80::1/64 dev ${name} nodad`,
      ...hosts.map((host) => `route add ${host} dev ${name}`),
    ]);
    await batch(pod, [
      "link set eth0 up",
      ...hosts.map((host) => `addr add ${host} dev eth0${host.includes(":") ? " nodad" : ""}`),
      "route add 169.254.1.1 dev eth0", "route add default via 169.254.1.1",
      "route add default via fe80::1 dev eth0",
    ]);
  }

  /** An address that a pod has no right to: it can send from it, nothing comes back. */
  async addForeignAddress(pod: string, address: string): Promise<void> {
    await run("ip", "-n", this.placeOf(pod), "addr", "add", `${address}/32`, "dev", "eth0");
  }

  /** Tells the node where each connection goes, by its source port. */
  carry(carriages: Carriage[]): void {
    const rules = nftRules(carriages);
    execFileSync("ip", ["netns", "exec", this.node, "nft", "-f", "-"], { input: rules });
  }

  /** Captures what each pod sends, from now on; one file for each in the folder. */
  async capture(folder: string): Promise<Recorder> {
    const recorder = new Recorder();
    await Promise.all(this.pods.map(({ interface: name }) => {
      const file = join(folder, `${name}.pcap`);
      const child = this.start(this.node, "tcpdump", "-n", "-i", name, "-Q", "in",
        "--immediate-mode", "--time-stamp-precision", "nano", "-Z", "root", "-w", file, CAPTURED);
      return recorder.add(name, file, child);
    }));
    return recorder;
  }

  /** A program inside a pod, until close(). */
  startIn(pod: string, command: string, ...args: string[]): ChildProcess {
    return this.start(this.placeOf(pod), command, ...args);
  }

  /** Runs a program inside a pod to its end; its exit code and its output. */
  async runIn(pod: string, command: string[]): Promise<{ code: number; output: string }> {
    const child = this.start(this.placeOf(pod), ...(command as [string, ...string[]]));
    let output = "";
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    }
    const [code] = await once(child, "close");
    return { code: Number(code), output };
  }

  private start(namespace: string, command: string, ...args: string[]): ChildProcess {
    const child = spawn("ip", ["netns", "exec", namespace, command, ...args],
      { stdio: ["ignore", "pipe", "pipe"] });
    this.running.push(child);
    child.once("exit", () => this.running.splice(this.running.indexOf(child), 1));
    return child;
  }

  /** Ends every program started here and removes every namespace made here. */
  close(): void {
    for (const child of this.running) child.kill("SIGKILL");
    for (const name of this.made.splice(0)) spawnSync("ip", ["netns", "delete", name]);
  }
}

/** One tcpdump for each pod. */
export class Recorder {
  private readonly all: { name: string; file: string; child: ChildProcess; said: string[] }[] = [];

  /** Answers when that one listens. */
  async add(name: string, file: string, child: ChildProcess): Promise<void> {
    const said: string[] = [];
    this.all.push({ name, file, child, said });
    child.stderr!.setEncoding("utf8");
    await new Promise<void>((resolve, reject) => {
      child.stderr!.on("data", (text: string) => {
        said.push(text);
        if (said.join("").includes("listening on")) resolve();
      });
      child.once("exit", () => reject(new Error(`tcpdump at ${name}: ${said.join("").trim()}`)));
    });
  }

  /** Ends the capture; throws where the kernel had to drop packets. */
  async stop(): Promise<{ name: string; file: string }[]> {
    await Promise.all(this.all.map(async ({ child }) => {
      const closed = once(child, "close");
      child.kill("SIGINT");
      await closed;
    }));
    for (const { name, said } of this.all) {
      const summary = said.join("").trim();
      if (!/^0 packets dropped by kernel/m.test(summary)) {
        throw new Error(`tcpdump at ${name} lost packets: ${summary}`);
      }
    }
    return this.all.map(({ name, file }) => ({ name, file }));
  }
}

const execute = promisify(execFile);

async function run(command: string, ...args: string[]): Promise<void> {
  await execute(command, args);
}

/** Lines of ip's, in one run. */
async function batch(namespace: string, lines: string[]): Promise<void> {
  const child = spawn("ip", ["-n", namespace, "-batch", "-"],
    { stdio: ["pipe", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  child.stdin.end(lines.map((line) => `${line}\n`).join(""));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`ip in ${namespace}: ${said.trim()}`);
}

/**
 * Two maps for each family and protocol: (source, port, destination, port) to (backend, port), and
 * behind that to (source, port) where the source is hidden.
 */
function nftRules(carriages: Carriage[]): string {
  const lines = ["table inet margay {"];
  const nat: string[] = [], hide: string[] = [], drop: string[] = [];
  for (const [family, type] of [["ip", "ipv4_addr"], ["ip6", "ipv6_addr"]] as const) {
    for (const protocol of ["tcp", "udp"] as const) {
      const here = carriages.filter((one) =>
        one.protocol === protocol && isIPv6(one.source) === (family === "ip6"));
      const key = `${type} . inet_service . ${type} . inet_service`;
      const match = `${family} saddr . ${protocol} sport . ${family} daddr . ${protocol} dport`;
      const name = `${family}_${protocol}`;
      const to = here.flatMap((one) => one.to === undefined ? []
        : [`${tuple(one)} : ${one.to.address} . ${one.to.port}`]);
      const hidden = here.flatMap(({ source, sourcePort, to, from }) => {
        if (!to || !from || (from.address === source && from.port === sourcePort)) return [];
        return [`${source} . ${sourcePort} . ${to.address} . ${to.port} : ` +
          `${from.address} . ${from.port}`];
      });
      const dropped = here.filter((one) => one.to === undefined).map(tuple);
      lines.push(`map to_${name} { type ${key} : ${type} . inet_service; ${elements(to)} }`);
      lines.push(`map from_${name} { type ${key} : ${type} . inet_service; ${elements(hidden)} }`);
      lines.push(`set drop_${name} { type ${key}; ${elements(dropped)} }`);
      nat.push(`dnat ${family} to ${match} map @to_${name}`);
      hide.push(`snat ${family} to ${match} map @from_${name}`);
      drop.push(`${match} @drop_${name} drop`);
    }
  }
  lines.push("chain judge { type filter hook prerouting priority raw;", ...drop, "}");
  lines.push("chain carry { type nat hook prerouting priority dstnat;", ...nat, "}");
  lines.push("chain hide { type nat hook postrouting priority srcnat;", ...hide, "}", "}");
  return lines.join("\n") + "\n";
}

function tuple(one: Carriage): string {
  return `${one.source} . ${one.sourcePort} . ${one.destination} . ${one.destinationPort}`;
}

function elements(all: string[]): string {
  return all.length === 0 ? "" : `elements = { ${all.join(", ")} }`;
}
