// What passed, said as entries of `only`: as short as it can be, and never more than it was.
import { describe, expect, test } from "vitest";
import type { PodObject } from "../../../host/model/snapshot.ts";
import { addressClasses } from "../../../host/testing/addresses.ts";
import { TrafficCuts } from "../../../host/testing/cuts.ts";
import { entriesOf } from "../../../host/testing/entries.ts";
import type { Probe } from "../../../host/testing/only.ts";
import type { Source } from "../../../host/testing/sources.ts";

const cuts = new TrafficCuts();
cuts.addRule({ action: "allow", protocol: "tcp", destinationPorts: [80, "81-90"] });
cuts.addRule({ action: "allow", protocol: "icmp", icmp: { type: 8, code: 0 } });
const TRAFFIC = cuts.classes(4);

function pod(namespace: string, name: string, owner: string): Source {
  const object = {
    namespace, name, labels: {}, annotations: {}, serviceAccount: "default", node: "n",
    addresses: ["10.0.0.1"], hostNetwork: false, ready: true, ports: [],
    owner: { kind: "Deployment", name: owner },
  } satisfies PodObject;
  return { end: { kind: "pod", pod: object, address: "10.0.0.1" }, label: `${namespace}/${owner}` };
}
const A0 = pod("shop", "a-0", "a"), A1 = pod("shop", "a-1", "a"), B0 = pod("shop", "b-0", "b");
const C0 = pod("ops", "c-0", "c");
const [PUBLIC, PRIVATE, INNER] = addressClasses(4,
  [{ prefix: "203.0.113.0/24", label: "net" }], []).map((found): Source => (
  { end: { kind: "address", address: found.address }, class: found, label: "" })) as
  [Source, Source, Source];

/** Entries where `open` says which sources may what ("tcp", "80", "icmp", "all"). */
function entries(open: [Source, string[]][], others: Source[] = []): string[] | undefined {
  const to = C0.end;
  const sources = [...open.map(([source]) => source), ...others];
  const probes = sources.flatMap((source) => TRAFFIC.map((traffic): Probe => (
    { source, traffic, flow: { from: source.end, to, protocol: 6 }, expected: "deny" })));
  const may = new Map(open);
  const passed = probes.filter(({ source, traffic }) => (may.get(source) ?? []).some((what) =>
    what === "all" || (what === "tcp" && traffic.protocol === 6) ||
    (what === "80" && traffic.port?.first === 80) ||
    (what === "81" && traffic.port?.first === 81) ||
    (what === "icmp" && traffic.icmp?.first === 8 << 8) ||
    (what === "others" && traffic.unnamed === true)));
  return entriesOf(probes, new Set(passed));
}

describe("what passed, as entries", () => {
  test("nobody, everybody", () => {
    expect(entries([], [A0, C0])).toEqual([]);
    expect(entries([[A0, ["all"]], [C0, ["all"]]])).toEqual(["*"]);
    expect(entries([[A0, ["80"]], [C0, ["80"]]])).toEqual(["* -> 80/tcp"]);
  });

  test("all and nothing are not the same", () => {
    expect(entries([[A0, ["all"]]], [C0])).toEqual(["shop/a"]);
  });

  test("ranges that touch are one, protocols whole go by their name", () => {
    expect(entries([[A0, ["80", "81"]]], [C0])).toEqual(["shop/a -> 80-90/tcp"]);
    expect(entries([[A0, ["tcp", "icmp"]]], [C0])).toEqual(["shop/a -> tcp", "shop/a -> icmp:8/0"]);
  });

  test("a namespace, a workload, one pod of it", () => {
    expect(entries([[A0, ["80"]], [A1, ["80"]], [B0, ["80"]]], [C0])).toEqual(["shop/* -> 80/tcp"]);
    expect(entries([[A0, ["80"]], [A1, ["80"]]], [B0, C0])).toEqual(["shop/a -> 80/tcp"]);
    expect(entries([[A0, ["80"]]], [A1, B0, C0])).toEqual(["shop/a-0 -> 80/tcp"]);
  });

  test("outside: all, the internet, a prefix, what is private", () => {
    const all: [Source, string[]][] = [[PUBLIC, ["80"]], [PRIVATE, ["80"]], [INNER, ["80"]]];
    expect(entries(all, [C0])).toEqual(["0.0.0.0/0 -> 80/tcp"]);
    expect(entries([[INNER, ["80"]]], [PUBLIC, PRIVATE])).toEqual(["203.0.113.0/24 -> 80/tcp"]);
    expect(entries([[PUBLIC, ["80"]]], [INNER, PRIVATE])).toEqual(["internet -> 80/tcp"]);
    expect(entries([[PRIVATE, ["80"]]], [INNER, PUBLIC])).toEqual([
      "10.0.0.0/8 -> 80/tcp", "172.16.0.0/12 -> 80/tcp", "192.168.0.0/16 -> 80/tcp",
      "100.64.0.0/10 -> 80/tcp", "169.254.0.0/16 -> 80/tcp"]);
  });

  test("what no entry can say", () => {
    expect(entries([[A0, ["others"]]], [C0])).toBeUndefined();
  });
});
