// A VPP under `margay run`, as the command itself: the manifests of the live sample, interfaces as
// a test writes them; and on the other side of memif a second VPP, without the plugin, where pods
// are ports that a test sends from and looks at.
//
//   peer: a VPP of its own                     node: VPP, plugin, agent
//   client   pg0 ═ L2 ═ memif, slave   ─────── master
//   stranger pg1 ═ L2 ═ memif, slave   ─────── master       agent ─► margay.yaml, manifests
//   web-1    pg2 ═ L2 ═ memif, master  ─────── slave
//   web-2    pg3 ─ IP ─ memif, master  ─────── slave, mode ip (no Ethernet on it)
import { spawn, type ChildProcess } from "node:child_process";
import {
  cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VppProcess } from "../host/vpp/process.ts";
import { Graph, install, macOf } from "./vpp-graph.ts";

const COMMAND = "dist/margay.js";
const WAIT_MS = 20_000;
/** How long a checkpoint of some sessions takes at most. */
const SAVING_MS = 200;

export const PODS = ["client", "stranger", "web-1", "web-2"] as const;
export type Pod = (typeof PODS)[number];
export const ADDRESSES = {
  4: {
    client: "10.65.0.10", stranger: "10.65.0.20", "web-1": "10.65.0.11", "web-2": "10.65.0.12",
    vip: "10.96.0.80",
  },
  6: {
    client: "fd00:65::10", stranger: "fd00:65::20", "web-1": "fd00:65::11", "web-2": "fd00:65::12",
    vip: "fd00:96::80",
  },
} as const;
export const FAMILIES = [4, 6] as const;

export const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Polls until it is so; throws where it is not in time. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + WAIT_MS; !await isSo(); await pause(50)) {
    if (Date.now() > end) throw new Error(`${what}: not in ${WAIT_MS / 1000} s`);
  }
}

/** Where peer and node meet, from the agent's folder. */
export const SOCKETS = { pods: "run/pods.sock", pages: "run/pages.sock" };

/** The node's memif interfaces, as margay.yaml has them. */
export function memifInterfaces(pods: readonly Pod[] = PODS): string {
  const kinds: Record<Pod, string> = {
    client: `socket: ${SOCKETS.pods}, id: 0`,
    stranger: `socket: ${SOCKETS.pods}, id: 1`,
    "web-1": `socket: ${SOCKETS.pages}, id: 0, role: slave`,
    "web-2": `socket: ${SOCKETS.pages}, id: 1, role: slave, mode: ip`,
  };
  return pods.map((pod) => {
    const n = PODS.indexOf(pod);
    const link = pod === "web-2" ? ""
      : `\n    mac: "${macOf(n)}"\n    neighbours: [{ mac: "${macOf(n, 1)}" }]`;
    return `  - name: ${pod}\n    memif: { ${kinds[pod]} }\n    pod: shop/${pod}\n` +
      `    unnumbered: gateway${link}\n`;
  }).join("");
}

export class AgentNode {
  readonly folder = mkdtempSync(join(tmpdir(), "margay-node-"));
  readonly lines: string[] = [];
  vpp!: VppProcess;
  private agent: ChildProcess | undefined;

  constructor(private readonly sections: Record<string, string> = {}) {
    cpSync("examples/vpp-live/manifests", join(this.folder, "manifests"), { recursive: true });
    mkdirSync(join(this.folder, "run"));
  }

  /** What of margay.yaml is a test's own. */
  configure(interfaces: string): void {
    writeFileSync(join(this.folder, "margay.yaml"), `
node: live
state: state
manifests: [manifests]
vpp: { socket: run/api.sock }
checkpointSeconds: 0.5
interfaces:
  - name: gateway
    loopback: {}
    mac: "02:fe:00:00:00:aa"
    addresses: [169.254.1.1/32, "fd00:65::fe/128"]
${interfaces}`);
  }

  async startVpp(): Promise<void> {
    rmSync(join(this.folder, "run/api.sock"), { force: true });
    this.vpp = await VppProcess.start({
      ...install, otherPlugins: ["memif_plugin.so"],
      sections: { socksvr: `socket-name ${join(this.folder, "run/api.sock")}`, ...this.sections },
    });
  }

  startAgent(): void {
    const child = spawn(process.execPath,
      [COMMAND, "run", "--config", join(this.folder, "margay.yaml")],
      { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => this.lines.push(...String(data).split("\n").filter(Boolean)));
    }
    this.agent = child;
  }
  async killAgent(): Promise<void> {
    const child = this.agent;
    this.agent = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const end = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await end;
  }

  /** Waits until the agent has said it since the line of that number. */
  async said(what: RegExp, from = 0): Promise<void> {
    await until(`the agent's "${what.source}"`, () =>
      this.lines.slice(from).some((line) => what.test(line))).catch((error: Error) => {
      throw new Error(`${error.message}\n${this.lines.join("\n")}`);
    });
  }

  /** Waits until a checkpoint is there that was begun from now on. */
  async saved(): Promise<void> {
    const file = join(this.folder, "state/sessions.checkpoint");
    const from = Date.now() + SAVING_MS;
    await until("a checkpoint", () => existsSync(file) && statSync(file).mtimeMs > from);
  }

  /** What the agent keeps is lost. */
  forget(): void {
    rmSync(join(this.folder, "state"), { recursive: true, force: true });
  }

  edit(manifest: string, from: string, to: string): void {
    const file = join(this.folder, "manifests", manifest);
    const text = readFileSync(file, "utf8");
    if (!text.includes(from)) throw new Error(`${manifest} has no "${from}"`);
    writeFileSync(file, text.replace(from, to));
  }

  async close(): Promise<void> {
    await this.killAgent();
    await this.vpp?.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** The VPP on the other side; `graph` has a port of each pod's name. */
export class Peer {
  private constructor(readonly graph: Graph) {}

  static async start(folder: string): Promise<Peer> {
    const graph = await Graph.start({
      sections: { plugins: "plugin default { disable } plugin memif_plugin.so { enable }" },
    });
    const peer = new Peer(graph);
    try {
      for (const [n, pod] of PODS.entries()) {
        const isRouted = pod === "web-2";
        await graph.port(pod, n, {
          addresses: isRouted ? ["192.0.2.254/24", "2001:db8::ff/64"] : [],
          neighbors: isRouted ? BEHIND : [],
        });
      }
      const { vpp } = graph;
      await vpp.command(`create memif socket id 1 filename ${join(folder, SOCKETS.pods)}`);
      await vpp.command(`create memif socket id 2 filename ${join(folder, SOCKETS.pages)}`);
      await vpp.command("create interface memif id 0 socket-id 1 slave");
      await vpp.command("create interface memif id 1 socket-id 1 slave");
      await vpp.command("create interface memif id 0 socket-id 2 master");
      await vpp.command("create interface memif id 1 socket-id 2 master mode ip");
      for (const [pg, memif] of [["pg0", "memif1/0"], ["pg1", "memif1/1"], ["pg2", "memif2/0"]]) {
        await vpp.quietly(`set interface l2 xconnect ${pg} ${memif}`,
          `set interface l2 xconnect ${memif} ${pg}`);
      }
      for (const memif of MEMIFS) await vpp.quietly(`set interface state ${memif} up`);
      await vpp.quietly("enable ip4 interface memif2/1", "enable ip6 interface memif2/1",
        "ip route add 0.0.0.0/0 via memif2/1", "ip route add ::/0 via memif2/1",
        `ip route add ${ADDRESSES[4]["web-2"]}/32 via ${BEHIND[0]} pg3`,
        `ip route add ${ADDRESSES[6]["web-2"]}/128 via ${BEHIND[1]} pg3`);
    } catch (error) {
      await graph.close();
      throw error;
    }
    return peer;
  }

  /** All of these have found their other end. */
  async connected(memifs: readonly string[] = MEMIFS): Promise<void> {
    const left = new Set(memifs);
    await until(`memif ${memifs.join(", ")}: connected`, async () => {
      for (const memif of left) {
        const shown = await this.graph.vpp.command(`show memif ${memif}`);
        if (/flags .*\bconnected\b/.test(shown)) left.delete(memif);
      }
      return left.size === 0;
    });
  }

  close(): Promise<void> {
    return this.graph.close();
  }
}
/** By which the peer reaches web-2. */
const BEHIND = ["192.0.2.1", "2001:db8::1"];
const MEMIFS = ["memif1/0", "memif1/1", "memif2/0", "memif2/1"] as const;
