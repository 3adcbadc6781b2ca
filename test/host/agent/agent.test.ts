// The agent against a stand-in for VPP (fakevpp.ts) that runs the real core: what it tells VPP, in
// which order, what it leaves alone, and what comes back after either of them has ended.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Verdict } from "../../../assembly/layout.ts";
import { Agent } from "../../../host/agent/agent.ts";
import { readConfig } from "../../../host/agent/config.ts";
import { AgentLog } from "../../../host/agent/log.ts";
import { ACK, buildPacket, SYN } from "../../../host/cluster/packet.ts";
import { FakeVpp } from "./fakevpp.ts";

let folder: string;
let lines: string[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "margay-agent-"));
  lines = [];
  cpSync("examples/vpp-live/manifests", join(folder, "manifests"), { recursive: true });
  writeFileSync(join(folder, "margay.yaml"), CONFIG);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const CONFIG = `
node: live
state: state
manifests: [manifests]
vpp: { socket: api.sock }
interfaces:
  - { name: gateway, loopback: {}, mac: "02:fe:00:00:00:fe", addresses: [169.254.1.1/32] }
  - { name: client, afPacket: { host: m-client }, pod: shop/client, mac: "02:fe:00:00:00:01",
      unnumbered: gateway, neighbours: [{ mac: "02:fe:00:00:01:01" }] }
  - { name: web-1, afPacket: { host: m-web-1 }, pod: shop/web-1, mac: "02:fe:00:00:00:02",
      unnumbered: gateway, neighbours: [{ mac: "02:fe:00:00:01:02" }] }
  - { name: web-2, afPacket: { host: m-web-2 }, pod: shop/web-2, mac: "02:fe:00:00:00:03",
      unnumbered: gateway, neighbours: [{ mac: "02:fe:00:00:01:03" }] }
`;

const log = (): AgentLog => new AgentLog((line) => lines.push(line), (line) => lines.push(line));
const agentOf = (): Agent => new Agent(readConfig(join(folder, "margay.yaml")), log());
const change = (file: string, edit: (text: string) => string): void => {
  const path = join(folder, "manifests", file);
  writeFileSync(path, edit(readFileSync(path, "utf8")));
};

/** A TCP packet to the Service, as it comes in at an interface; flags and source port. */
function send(vpp: FakeVpp, name: string, flags: number, sourcePort = 40_000) {
  const bytes = buildPacket({
    source: CLIENT, destination: VIP, protocol: 6, sourcePort, port: 80, flags,
  });
  const { sw_if_index: index } = vpp.byTag(name)!;
  vpp.nowMs += 10;
  return vpp.running!.dataplane.process(0, [{ interface: index, bytes }],
    { nowMs: vpp.nowMs, nowSeconds: 1 })[0]!;
}
const CLIENT = "10.65.0.10", VIP = "10.96.0.80";
/** To the pod of that number, in both families. */
const routesTo = (n: number): string[] => [`0 10.65.0.${n}/32`, `0 fd00:65::${n}/128`];

describe("a new VPP", () => {
  test("agent-order: an interface comes up when program, bind and sessions are there", async () => {
    const vpp = new FakeVpp();
    await agentOf().reconcile(vpp);
    const changes = vpp.changes();
    const first = (message: string): number => changes.indexOf(message);
    const last = (message: string): number => changes.lastIndexOf(message);
    expect(last("af_packet_create_v3")).toBeLessThan(first("margay_open"));
    expect(last("margay_publish")).toBeLessThan(first("margay_bind"));
    expect(last("margay_bind")).toBeLessThan(first("sw_interface_set_flags"));
    expect(last("ip_route_add_del")).toBeLessThan(first("sw_interface_set_flags"));
    expect(send(vpp, "client", SYN).verdict).toBe(Verdict.Pass);
    expect([...vpp.routes.keys()].sort()).toEqual([10, 11, 12].flatMap(routesTo).sort());
    expect(vpp.byTag("client")!.neighbours).toMatchObject([
      { ip_address: CLIENT, mac_address: "02:fe:00:00:01:01" },
      { ip_address: "fd00:65::10", mac_address: "02:fe:00:00:01:01" },
    ]);
  });

  test("agent-idempotent: what is there is kept, others' objects are left alone", async () => {
    const vpp = new FakeVpp();
    await agentOf().reconcile(vpp);
    await vpp.call("af_packet_create_v3", { host_if_name: "other", hw_addr: "02:00:00:00:00:09" });
    const other = vpp.interfaces.at(-1)!;
    await vpp.call("ip_route_add_del", { is_add: true, route: {
      table_id: 0, prefix: "192.0.2.0/24",
      paths: [{ sw_if_index: other.sw_if_index, type: "FIB_API_PATH_TYPE_NORMAL",
        nh: { address: { ip4: "0.0.0.0" } } }],
    } });
    vpp.changes();
    await agentOf().reconcile(vpp);
    expect(vpp.changes()).toEqual([]);
    expect(lines.join("\n")).toContain("state of before fits: generation 1");
    expect(vpp.interfaces).toContain(other);
  });

  test("agent-removes: what is ours and not configured any more goes", async () => {
    const vpp = new FakeVpp();
    await agentOf().reconcile(vpp);
    vpp.changes();
    const without = CONFIG.slice(0, CONFIG.indexOf("  - { name: web-2"));
    writeFileSync(join(folder, "margay.yaml"), without);
    await agentOf().reconcile(vpp);
    expect(vpp.byTag("web-2")).toBeUndefined();
    expect([...vpp.routes.keys()].sort()).toEqual([10, 11].flatMap(routesTo).sort());
    expect(vpp.changes()).toEqual([
      "ip_route_add_del", "ip_route_add_del", "margay_bind", "sw_interface_set_flags",
      "af_packet_delete",
    ]);
  });
});

describe("changes", () => {
  test("agent-in-place: a backend more acts in place, without a generation", async () => {
    const vpp = new FakeVpp();
    const agent = agentOf();
    await agent.reconcile(vpp);
    vpp.changes();
    change("service.yaml", (text) => text.replace(/- addresses: \[10\.65\.0\.12\][^\n]*\n/, ""));
    await agent.update(vpp);
    expect(vpp.changes()).toEqual(["margay_stage"]);
    expect(vpp.running!.dataplane.generation).toBe(1);
  });

  test("agent-policy: a change of policy is a generation; open connections live on", async () => {
    const vpp = new FakeVpp();
    const agent = agentOf();
    await agent.reconcile(vpp);
    expect(send(vpp, "client", SYN).verdict).toBe(Verdict.Pass);
    change("policy.yaml", (text) => text.replace("app: client", "app: nobody"));
    await agent.update(vpp);
    expect(vpp.running!.dataplane.generation).toBe(2);
    expect(send(vpp, "client", ACK).verdict).toBe(Verdict.Pass);
    expect(send(vpp, "client", SYN, 41_000).verdict).not.toBe(Verdict.Pass);
  });

  test("agent-refused: a refused push leaves the generation; the next brings it", async () => {
    const vpp = new FakeVpp();
    const agent = agentOf();
    await agent.reconcile(vpp);
    change("policy.yaml", (text) => text.replace("app: client", "app: nobody"));
    vpp.refuseNext = "no room today";
    await expect(agent.update(vpp)).rejects.toThrow();
    expect(vpp.running!.dataplane.generation).toBe(1);
    expect(send(vpp, "client", SYN).verdict).toBe(Verdict.Pass);
    await agent.update(vpp);
    expect(send(vpp, "client", SYN, 41_000).verdict).not.toBe(Verdict.Pass);
  });

  test("agent-manifest-error: what is wrong in a manifest is told; all runs on", async () => {
    const vpp = new FakeVpp();
    const agent = agentOf();
    await agent.reconcile(vpp);
    vpp.changes();
    change("policy.yaml", (text) => text.replace("podSelector:", "podSelektor:"));
    await expect(agent.update(vpp)).rejects.toThrow(/policy\.yaml:\d+:\d+ .*podSelektor/);
    expect(vpp.changes()).toEqual([]);
  });
});

describe("the end of either", () => {
  test("agent-vpp-restart: a new VPP gets everything, and the checkpoint's sessions", async () => {
    const vpp = new FakeVpp();
    const agent = agentOf();
    await agent.reconcile(vpp);
    const first = send(vpp, "client", SYN);
    expect(await agent.checkpoint(vpp)).toBe(1);
    agent.disconnected();
    const next = new FakeVpp();
    await agent.reconcile(next);
    expect(lines.join("\n")).toContain("1 session came back");
    const again = send(next, "client", ACK);
    expect(again.verdict).toBe(Verdict.Pass);
    expect([again.backend, again.bytes!.subarray(16, 20)])
      .toEqual([first.backend, first.bytes!.subarray(16, 20)]);
  });

  test("agent-owed: sessions of the checkpoint come even where the first try fails", async () => {
    const vpp = new FakeVpp();
    const agent = agentOf();
    await agent.reconcile(vpp);
    send(vpp, "client", SYN);
    await agent.checkpoint(vpp);
    agent.disconnected();
    const next = new FakeVpp();
    const bind = next["on_margay_bind"];
    next["on_margay_bind"] = () => { throw new Error("not now"); };
    await expect(agent.reconcile(next)).rejects.toThrow(/bind client: not now/);
    expect(await agent.checkpoint(next)).toBeUndefined();
    next["on_margay_bind"] = bind;
    await agent.reconcile(next);
    expect(send(next, "client", ACK).verdict).toBe(Verdict.Pass);
    expect(await agent.checkpoint(next)).toBe(1);
  });

  test("agent-restart: a new agent goes on with differences", async () => {
    const vpp = new FakeVpp();
    await agentOf().reconcile(vpp);
    send(vpp, "client", SYN);
    vpp.changes();
    change("policy.yaml", (text) => text.replace("app: client", "app: nobody"));
    const agent = agentOf();
    await agent.reconcile(vpp);
    expect(vpp.changes()).not.toContain("margay_open");
    expect(vpp.running!.dataplane.generation).toBe(2);
    expect(send(vpp, "client", ACK).verdict).toBe(Verdict.Pass);
    expect(send(vpp, "client", SYN, 41_000).verdict).not.toBe(Verdict.Pass);
    change("policy.yaml", (text) => text.replace("app: nobody", "app: client"));
    await agent.update(vpp);
    expect(send(vpp, "client", SYN, 42_000).verdict).toBe(Verdict.Pass);
  });

  test("agent-beside: without its state, a core beside takes over with the sessions", async () => {
    const vpp = new FakeVpp();
    await agentOf().reconcile(vpp);
    const first = send(vpp, "client", SYN);
    const before = vpp.running;
    rmSync(join(folder, "state", "agent.state"));
    vpp.changes();
    await agentOf().reconcile(vpp);
    expect(vpp.running).not.toBe(before);
    expect(vpp.changes()).toEqual(expect.arrayContaining(["margay_open", "margay_swap"]));
    expect(lines.join("\n")).toContain("1 session came back");
    const again = send(vpp, "client", ACK);
    expect([again.verdict, again.bytes!.subarray(16, 20)])
      .toEqual([Verdict.Pass, first.bytes!.subarray(16, 20)]);
  });

  test("agent-damaged: a state file that is cut is not used", async () => {
    const vpp = new FakeVpp();
    await agentOf().reconcile(vpp);
    const file = join(folder, "state", "agent.state");
    writeFileSync(file, readFileSync(file).subarray(0, -3));
    await agentOf().reconcile(vpp);
    expect(lines.join("\n")).toContain("agent.state: damaged");
    expect(send(vpp, "client", SYN).verdict).toBe(Verdict.Pass);
  });
});
