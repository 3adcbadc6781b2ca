// Pods of the live sample: network namespaces with a veth each, whose other end is VPP's.
//
//   namespace: eth0, 10.65.0.x/32, default via 169.254.1.1 ─ veth ─ <name> ◄─ af_packet ─ VPP
//
// The gateway's MAC stands as a permanent neighbour, and offloads are off: what a veth carries with
// a checksum that nobody has made yet, af_packet would hand on so. VPP's MAC is not the veth's own,
// so that Linux takes no packet for itself. Root and Linux are needed; remove() takes all away.
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";

export const GATEWAY = "169.254.1.1";

export interface PodNet {
  name: string;
  namespace: string;
  /** The end on the host. */
  veth: string;
  address: string;
}

const PODS = [
  { name: "client", address: "10.65.0.10" }, { name: "stranger", address: "10.65.0.20" },
  { name: "web-1", address: "10.65.0.11" }, { name: "web-2", address: "10.65.0.12" },
];
/** macs[0] is VPP's, macs[1] the pod's: as margay.yaml has them. */
const macs = (i: number): [string, string] =>
  [`02:fe:00:00:00:0${i + 1}`, `02:fe:00:00:01:0${i + 1}`];

/** Why there can be no pods here, in a sentence; undefined where there can. */
export function podsAbsent(): string | undefined {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "root on Linux is needed";
  for (const tool of ["ip", "ethtool", "curl"]) {
    if (spawnSync(tool, ["--version"]).error) return `${tool} is not installed`;
  }
  const probe = `mgp${process.pid}`;
  const made = spawnSync("ip", ["link", "add", probe, "type", "veth", "peer", "name", `${probe}p`]);
  spawnSync("ip", ["link", "del", probe]);
  if (made.status !== 0) return "veths can't be made here (no permission, or not in this kernel)";
  const space = spawnSync("ip", ["netns", "add", probe]);
  spawnSync("ip", ["netns", "del", probe]);
  return space.status === 0 ? undefined : "network namespaces can't be made here";
}

const run = (command: string, ...args: string[]): void => {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
};

export class Pods {
  readonly nets: PodNet[] = [];

  /** All of them, or none. */
  static make(): Pods {
    const pods = new Pods();
    try {
      PODS.forEach((pod, i) => pods.add(pod, i));
    } catch (error) {
      pods.remove();
      throw error;
    }
    return pods;
  }

  get(name: string): PodNet {
    return this.nets.find((net) => net.name === name)!;
  }

  private add({ name, address }: { name: string; address: string }, i: number): void {
    const id = `mg${process.pid}`;
    const net = { name, address, namespace: `${id}-${name}`, veth: `${id}v${i}` };
    const [gatewayMac, mac] = macs(i);
    const { namespace, veth } = net;
    run("ip", "netns", "add", namespace);
    this.nets.push(net);
    run("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", namespace);
    quiet(veth);
    run("ethtool", "-K", veth, "tx", "off", "gro", "off");
    run("ip", "link", "set", veth, "up");
    const inside = (...args: string[]): void => run("ip", "-n", namespace, ...args);
    run("ip", "netns", "exec", namespace, "ethtool", "-K", "eth0",
      "tx", "off", "tso", "off", "gso", "off", "gro", "off");
    inside("link", "set", "lo", "up");
    inside("link", "set", "eth0", "address", mac, "up");
    inside("addr", "add", `${address}/32`, "dev", "eth0");
    inside("route", "add", GATEWAY, "dev", "eth0", "scope", "link");
    inside("route", "add", "default", "via", GATEWAY, "dev", "eth0");
    inside("neigh", "replace", GATEWAY, "lladdr", gatewayMac, "dev", "eth0", "nud", "permanent");
  }

  remove(): void {
    for (const { veth, namespace } of this.nets.splice(0)) {
      spawnSync("ip", ["link", "del", veth]);
      spawnSync("ip", ["netns", "del", namespace]);
    }
  }
}

/** The host's own IPv6 says nothing there. */
function quiet(veth: string): void {
  try {
    writeFileSync(`/proc/sys/net/ipv6/conf/${veth}/disable_ipv6`, "1");
  } catch {
    // A kernel without IPv6 is quiet.
  }
}
