// The client against a server of our own that speaks VPP's protocol: streams, cursors, events,
// versions that differ, and connections that end.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  VppCallError, VppClient, VppConnectionError, VppSchemaError, VppTimeoutError,
} from "../../../host/vpp/api/index.ts";
import type { VppClientOptions } from "../../../host/vpp/api/index.ts";
import { FakeVpp, garden } from "./garden.ts";

let vpp: FakeVpp;
const clients: VppClient[] = [];
const connect = async (options: VppClientOptions = {}) => {
  const client = await VppClient.connect({ socket: vpp.path, schema: garden(), ...options });
  clients.push(client);
  return client;
};
const all = async <T>(values: AsyncIterable<T>) => {
  const list: T[] = [];
  for await (const value of values) list.push(value);
  return list;
};
const until = async (is: () => boolean) => {
  for (let i = 0; i < 500 && !is(); i++) await new Promise((done) => { setTimeout(done, 10); });
  expect(is()).toBe(true);
};

beforeEach(async () => {
  vpp = await new FakeVpp(garden()).start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await vpp.close();
});

describe("requests", () => {
  test("a reply goes to its own request, in whatever order they come", async () => {
    const waiting: (() => void)[] = [];
    vpp.answers["plant_set"] = ({ petals }, send) => {
      waiting.unshift(() => send("plant_set_reply", { retval: petals }));
      if (waiting.length === 3) for (const answer of waiting) answer();
    };
    const client = await connect();
    expect(client.pid).toBe(4711);
    const replies = await Promise.all([1, 2, 3].map((petals) =>
      client.call("plant_set", { petals })));
    expect(replies).toEqual([{ retval: 1 }, { retval: 2 }, { retval: 3 }]);
    expect(vpp.asked[0]!.values["client_index"]).toBe(77);
  });

  test("a negative retval is an error with its number's name", async () => {
    vpp.answers["plant_set"] = (_, send) => send("plant_set_reply", { retval: -6 });
    const error = await (await connect()).call("plant_set", {}).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(VppCallError);
    expect(error).toMatchObject({
      message: "plant_set: no such entry (NO_SUCH_ENTRY, -6)", retval: -6,
      error: { name: "NO_SUCH_ENTRY" }, reply: { retval: -6 },
    });
  });

  test("a bad value is refused before anything is sent, and disturbs nothing", async () => {
    vpp.answers["plant_set"] = (_, send) => send("plant_set_reply", { retval: 0 });
    const client = await connect();
    await expect(client.call("plant_set", { petals: -1 })).rejects.toThrow(/plant_set\.petals: -1/);
    expect(vpp.asked).toEqual([]);
    expect(await client.call("plant_set", {})).toEqual({ retval: 0 });
  });

  test("no answer in time is an error; a late one is no harm", async () => {
    let late = () => {};
    vpp.answers["plant_set"] = (_, send) => {
      late = () => send("plant_set_reply", { retval: 0 });
    };
    const client = await connect({ replySecondsMax: 0.05 });
    await expect(client.call("plant_set", {})).rejects.toThrow(VppTimeoutError);
    late();
    expect(await client.call("control_ping")).toMatchObject({ vpe_pid: 4711 });
  });

  test("what is no call says what it is", async () => {
    const client = await connect();
    await expect(client.call("plant_dump", {})).rejects.toThrow(/stream: use dump\(\)/);
    await expect(all(client.dump("plant_set", {}))).rejects.toThrow(/one reply: use call\(\)/);
    await expect(client.call("plant_details", {})).rejects.toThrow(/is no request/);
    await expect(client.call("weed_set", {})).rejects.toThrow(/weed_set: no \.api\.json/);
    await expect(client.events("plant_set", {}).ready).rejects.toThrow(/registers for no events/);
  });
});

describe("versions", () => {
  test("vpp-api-crc: another version's message is refused by name, CRCs and file", async () => {
    await vpp.close();
    vpp = await new FakeVpp(garden(), { plant_set: "11112222" }).start();
    const client = await connect();
    await expect(client.call("plant_set", {})).rejects.toThrow(new VppSchemaError(
      "plant_set: the running VPP has CRC 11112222, garden.api.json has 0a0b0c0d: "
      + "this file is of another version",
    ));
    expect(await client.has("plant_set")).toBe(false);
    expect(await client.has("plant_dump")).toBe(true);
  });

  test("a reply of another version is not read", async () => {
    await vpp.close();
    vpp = await new FakeVpp(garden(), { plant_set_reply: "11112222" }).start();
    vpp.answers["plant_set"] = (_, send) => send("plant_set_reply", { retval: 0 });
    await expect((await connect()).call("plant_set", {})).rejects.toThrow(/plant_set_reply: .*CRC/);
  });

  test("what runs without get_api_json asks for files; another socket is told apart", async () => {
    const { schema: _, ...rest } = { schema: 0, socket: vpp.path };
    await expect(VppClient.connect(rest)).rejects.toThrow(/no get_api_json: name the directories/);
    await expect(VppClient.connect({ socket: "/nowhere/api.sock", schema: garden() }))
      .rejects.toThrow(VppConnectionError);
  });
});

describe("streams", () => {
  test("a dump is its details until the ping behind it", async () => {
    vpp.answers["plant_dump"] = ({ from }, send) => {
      expect(from).toBe(2 ** 32 - 1);
      for (let petals = 0; petals < 300; petals++) send("plant_details", { petals: petals & 255 });
    };
    const client = await connect();
    const plants = await all(client.dump("plant_dump"));
    expect(plants.map(({ petals }) => petals as number).slice(250, 260))
      .toEqual([250, 251, 252, 253, 254, 255, 0, 1, 2, 3]);
    for await (const { petals } of client.dump("plant_dump")) if (petals === 3) break;
    expect(await client.call("control_ping")).toMatchObject({ retval: 0 });
  });

  test("vpp-api-cursor: a get goes on from the cursor until there is no more", async () => {
    vpp.answers["bee_get"] = ({ cursor }, send) => {
      const from = cursor as number;
      for (let bee = from; bee < Math.min(from + 3, 7); bee++) send("bee_details", { bee });
      const isLast = from + 3 >= 7;
      send("bee_get_reply", { retval: isLast ? 0 : -165, cursor: isLast ? 2 ** 32 - 1 : from + 3 });
    };
    const client = await connect();
    const bees = await all(client.dump("bee_get", {}));
    expect(bees.map(({ bee }) => bee as number)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(vpp.asked.map(({ values }) => values["cursor"])).toEqual([0, 3, 6]);
    expect(await client.get("bee_get", { cursor: 5 })).toEqual({
      details: [{ bee: 5 }, { bee: 6 }], reply: { retval: 0, cursor: 2 ** 32 - 1 },
    });
    await expect(client.get("plant_dump", {})).rejects.toThrow(/without a cursor: use dump/);
    vpp.answers["bee_get"] = (_, send) => send("bee_get_reply", { retval: -9 });
    await expect(all(client.dump("bee_get", {}))).rejects.toThrow(/bee_get: .*UNIMPLEMENTED/);
  });

  test("vpp-api-events: streams share a registration, which ends with the last", async () => {
    let tell = (_: number) => {};
    vpp.answers["want_bee_events"] = (_, send) => {
      send("want_bee_events_reply", { retval: 0 });
      tell = (bee) => send("bee_event", { bee, pid: 5 });
    };
    const client = await connect();
    const heard: unknown[] = [];
    client.on("event", (name, fields) => heard.push([name, fields["bee"]]));
    const [one, two] = [client.events("want_bee_events"), client.events("want_bee_events")];
    await Promise.all([one.ready, two.ready]);
    tell(1);
    tell(2);
    expect((await one.next()).value).toEqual({ _name: "bee_event", pid: 5, bee: 1 });
    expect((await one.next()).value).toMatchObject({ bee: 2 });
    expect((await two.next()).value).toMatchObject({ bee: 1 });
    one.close();
    expect(await one.next()).toEqual({ done: true, value: undefined });
    expect(vpp.asked.map(({ values }) => values["enable"])).toEqual([true]);
    two.close();
    await until(() => vpp.asked.length === 2);
    expect(vpp.asked[1]!.values).toMatchObject({ enable: false, pid: process.pid });
    expect(heard).toEqual([["bee_event", 1], ["bee_event", 2]]);
  });
});

describe("connections that end", () => {
  test("what was awaited fails, and says so; without reconnect all later calls do", async () => {
    const client = await connect();
    const closed = new Promise<Error>((done) => { client.on("close", done); });
    const call = client.call("plant_set", {});
    const events = client.events("want_bee_events");
    const first = events.next();
    events.ready.catch(() => {});
    await until(() => vpp.asked.length === 2);
    await vpp.stop();
    await expect(call).rejects.toThrow(VppConnectionError);
    await expect(first).rejects.toThrow(/VPP closed the connection/);
    expect((await closed).message).toMatch(/VPP closed the connection/);
    expect(client.connected).toBe(false);
    await expect(client.call("control_ping")).rejects.toThrow(/VPP closed the connection/);
    await vpp.start();
  });

  test("vpp-api-reconnect: calls wait for the next connection, events come again", async () => {
    let tell = (_: number) => {};
    vpp.answers["want_bee_events"] = (_, send) => {
      send("want_bee_events_reply", { retval: 0 });
      tell = (bee) => send("bee_event", { bee });
    };
    const client = await connect({ reconnect: true });
    let connects = 0;
    client.on("connect", () => { connects++; });
    const events = client.events("want_bee_events");
    await events.ready;
    tell(1);
    expect((await events.next()).value).toMatchObject({ bee: 1 });
    await vpp.stop();
    await until(() => !client.connected);
    const call = client.call("control_ping");
    // Other numbers for the same names: the table is read anew.
    await vpp.start(500);
    expect(await call).toMatchObject({ vpe_pid: 4711 });
    expect(connects).toBe(1);
    await until(() => vpp.asked.length === 2);
    tell(2);
    expect((await events.next()).value).toMatchObject({ bee: 2 });
    client.close();
    expect(await events.next()).toMatchObject({ done: true });
    await expect(client.call("control_ping")).rejects.toThrow(/the client was closed/);
  });
});
