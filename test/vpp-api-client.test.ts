// The API client and the reader of statistics against a running VPP.

import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StatsSegment, VppClient, total } from "../host/vpp/api/index.ts";
import { encodeMessage, decodeMessage } from "../host/vpp/api/codec.ts";
import { Schema } from "../host/vpp/api/schema.ts";
import { vppInstall } from "../host/vpp/install.ts";
import type { VppInstall } from "../host/vpp/install.ts";
import { VppProcess } from "../host/vpp/process.ts";

const found = vppInstall();
const skipped = typeof found === "string";
const install = found as VppInstall;
const list = async <T>(values: AsyncIterable<T>) => {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
};

describe.skipIf(skipped)("a running VPP", () => {
  let vpp: VppProcess;
  let client: VppClient;
  beforeAll(async () => {
    vpp = await VppProcess.start(install);
    client = await VppClient.connect({ socket: vpp.path("api.sock") });
  });
  afterAll(async () => {
    client?.close();
    await vpp?.close();
  });

  test("vpp-api-live: it describes itself; what is set by calls is what it shows", async () => {
    expect(await client.has("sw_interface_dump")).toBe(true);
    expect((await client.call("show_version"))["program"]).toBe("vpe");
    const { sw_if_index } = await client.call("create_loopback", {
      mac_address: "02:fe:00:00:00:01",
    });
    const events = client.events("want_interface_events");
    await events.ready;
    await client.call("sw_interface_set_flags", {
      sw_if_index, flags: ["IF_STATUS_API_FLAG_ADMIN_UP"],
    });
    expect((await events.next()).value).toMatchObject({
      sw_if_index, flags: ["IF_STATUS_API_FLAG_ADMIN_UP", "IF_STATUS_API_FLAG_LINK_UP"],
    });
    events.close();
    for (const prefix of ["10.1.0.1/24", "fd01::1/64"]) {
      await client.call("sw_interface_add_del_address", { sw_if_index, is_add: true, prefix });
    }
    const [loop] = (await list(client.dump("sw_interface_dump")))
      .filter((each) => each["interface_name"] === "loop0");
    expect(loop).toMatchObject({ sw_if_index, l2_address: "02:fe:00:00:00:01" });
    expect(await vpp.command("show interface address")).toContain("10.1.0.1/24");
    const route = {
      table_id: 0, prefix: "192.0.2.0/24",
      paths: [{ sw_if_index, weight: 1, nh: { address: { ip4: "10.1.0.9" } } }],
    };
    await client.call("ip_route_add_del", { route });
    expect(await vpp.command("show ip fib 192.0.2.0/24")).toContain("via 10.1.0.9 loop0");
    const routes = await list(client.dump("ip_route_dump", { table: { table_id: 0 } }));
    const made = routes.map(({ route: each }) => each as typeof route)
      .find(({ prefix }) => prefix === route.prefix);
    expect(made!.paths[0]).toMatchObject({ sw_if_index, proto: "FIB_API_PATH_NH_PROTO_IP4" });
    expect(await client.get("ip_path_mtu_get", { cursor: 0 })).toMatchObject({ details: [] });
    await expect(client.call("sw_interface_set_flags", { sw_if_index: 999 }))
      .rejects.toThrow(/^sw_interface_set_flags: .*INVALID_SW_IF_INDEX, -2/);
    const one = await client.call("get_f64_increment_by_one", { f64_value: 41.25 });
    expect(one["f64_value"]).toBe(42.25);
  });

  test("its files say the same; every one of their messages is written and read", async () => {
    const directory = join(install.prefix, "share/vpp/api");
    const filed = await VppClient.connect({
      socket: vpp.path("api.sock"), apiDirectories: [directory],
    });
    await expect(filed.call("sw_interface_set_flags", { sw_if_index: 999 }))
      .rejects.toThrow(/Invalid sw_if_index \(INVALID_SW_IF_INDEX/);
    filed.close();
    const schema = Schema.readDirectories([directory]);
    for (const message of schema.messages.values()) {
      const bytes = encodeMessage(message, 7, {});
      expect(encodeMessage(message, 7, decodeMessage(message, bytes)), message.name).toEqual(bytes);
    }
    expect(schema.messages.size).toBeGreaterThan(500);
  });

  test("thousands of calls at once are answered in their order", async () => {
    const replies = await Promise.all(Array.from({ length: 5000 }, (_, i) =>
      client.call("get_f64_increment_by_one", { f64_value: i })));
    expect(replies.every((reply, i) => reply["f64_value"] === i + 1)).toBe(true);
  });

  test("vpp-api-stats: counters are those that VPP shows, links and names too", async () => {
    const stats = StatsSegment.open(client.pid);
    try {
      expect(total(stats.read("/sys/boottime"))).toBeGreaterThan(1_600_000_000n);
      expect(stats.read("/if/names")).toMatchObject({ kind: "names", names: ["local0", "loop0"] });
      // A thing that is there is read again when VPP adds others.
      const { sw_if_index } = await client.call("create_loopback");
      expect(stats.read("/if/names")).toMatchObject({ names: ["local0", "loop0", "loop1"] });
      await vpp.quietly(
        "packet-generator new { name s limit 10 size 64-64 interface loop0 node ethernet-input "
        + "data { IP4: 1.2.3 -> 02fe.0000.0001 UDP: 10.1.0.2 -> 10.1.0.1 UDP: 1 -> 2 "
        + "incrementing 8 } }",
        "packet-generator enable",
      );
      const drops = () => total(stats.read("/interfaces/loop0/ip4"));
      for (let i = 0; i < 100 && drops() < 10n; i++) {
        await new Promise((done) => { setTimeout(done, 20); });
      }
      expect(drops()).toBe(10n);
      expect(total(stats.read("/if/ip4"), 1)).toBe(10n);
      expect(total(stats.read("/if/ip4"), Number(sw_if_index))).toBe(0n);
      const shown = await vpp.command("show errors");
      const errors = stats.errors();
      expect(errors.size).toBeGreaterThan(0);
      for (const [name, packets] of errors) {
        const node = name.split("/")[2]!;
        expect(shown, name).toMatch(new RegExp(`\\b${packets}\\s+${node}\\b`));
      }
      expect(() => stats.read("/if/nothing")).toThrow(/\/if\/nothing: VPP has no such statistic/);
      expect(() => StatsSegment.open(process.ppid)).toThrow(/holds no statistics segment/);
    } finally {
      stats.close();
    }
  });

  test("VPP is killed and started again: the client comes back", async () => {
    const socket = vpp.path("api.sock");
    const again = await VppClient.connect({ socket, reconnect: true, replySecondsMax: 20 });
    const closed = new Promise((done) => { again.on("close", done); });
    process.kill(again.pid, "SIGKILL");
    await closed;
    const waiting = again.call("show_version");
    waiting.catch(() => {});
    await vpp.close();
    // The new one has a directory of its own: its socket is put where the old one was.
    const old = vpp.directory;
    vpp = await VppProcess.start(install);
    mkdirSync(old, { recursive: true });
    symlinkSync(vpp.path("api.sock"), socket);
    try {
      expect(await waiting).toMatchObject({ program: "vpe" });
      expect(again.connected).toBe(true);
    } finally {
      again.close();
      rmSync(old, { recursive: true });
    }
  });
});
