// Maglev tables: what one costs to build, how even it is, what a backend more or less moves; the
// core's own beside the classic ones (Eisenbud et al., NSDI 2016), in the same run. The classic
// table is the core's second kind for the build, C (classic.c) where a compiler is there, and an
// array here for balance and moves.
import { readFileSync } from "node:fs";
import {
  GROUP_BACKEND, BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_OFFSET, BACKEND_PORT,
  BACKEND_SKIP, GROUP_COUNT, GROUP_FLAGS, GROUP_ID, GROUP_SLOTS, GroupFlag, RecordKind, SERVICES,
  SERVICES_GROUPS,
} from "../../assembly/layout.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { putBytes, record } from "../../host/dataplane/record.ts";
import { place } from "./frames.ts";
import type { Figure } from "./figures.ts";
import { median } from "./rows.ts";
import { classicNanoseconds, twinMissing } from "./twin.ts";

/** assembly/group.ts: where a group's header has them. */
const AT_SLOTS = 4, AT_TABLE = 8, AT_WIDTH = 12, HEADER = 32, EACH = 32, AT_ID = 20;

/** splitmix64's finalizer, halves apart. */
function scrambled(n: number): [number, number] {
  let x = BigInt(n + 1) * 0x9e3779b97f4a7c15n & 0xffff_ffff_ffff_ffffn;
  x = (x ^ x >> 30n) * 0xbf58476d1ce4e5b9n & 0xffff_ffff_ffff_ffffn;
  x = (x ^ x >> 27n) * 0x94d049bb133111ebn & 0xffff_ffff_ffff_ffffn;
  x ^= x >> 31n;
  return [Number(x >> 32n), Number(x & 0xffff_ffffn)];
}

/** A group of pods, by number; a pod's permutation depends on nothing but its number. */
function groupRecord(id: number, pods: readonly number[], slots: number, isClassic: boolean) {
  return record(RecordKind.Group, GROUP_BACKEND + pods.length * BACKEND_BYTES, (body) => {
    body.setUint32(GROUP_ID, id, true);
    body.setUint32(GROUP_SLOTS, slots, true);
    body.setUint32(GROUP_COUNT, pods.length, true);
    body.setUint32(GROUP_FLAGS, isClassic ? GroupFlag.Classic : 0, true);
    pods.forEach((pod, i) => {
      const at = GROUP_BACKEND + i * BACKEND_BYTES;
      const [high, low] = scrambled(pod);
      putBytes(body, at + BACKEND_ADDRESS, place(`10.${pod >> 16}.${pod >> 8 & 255}.${pod & 255}`));
      body.setUint16(at + BACKEND_PORT, 8080, true);
      body.setUint32(at + BACKEND_ID, pod, true);
      if (!isClassic) return;
      body.setUint32(at + BACKEND_OFFSET, high % slots, true);
      body.setUint32(at + BACKEND_SKIP, low % (slots - 1) + 1, true);
    });
  });
}

/** Builds groups in a core, and reads which pod each slot has. */
export class Builder {
  private readonly dataplane: NodeDataplane;
  private next = 1;
  constructor(core: Uint8Array) {
    this.dataplane = new NodeDataplane(core, { memoryPages: 8192 });
    this.dataplane.stage(configureRecord({
      workers: 1, sessions4Max: 16, sessions6Max: 16, endpointsMax: 16, servicesMax: 16,
      groupsMax: 4096,
    }));
  }
  /** Milliseconds, and the pod of each slot. */
  table(pods: readonly number[], slots: number, isClassic = false): [number, Uint32Array] {
    const stream = groupRecord(this.next, pods, slots, isClassic);
    const from = performance.now();
    this.dataplane.stage(stream);
    const spent = performance.now() - from;
    const { view } = this.dataplane.memory;
    const word = (at: number): number => view.getUint32(at, true);
    const group = word(word(SERVICES + SERVICES_GROUPS) + 4 * this.next++);
    const width = word(group + AT_WIDTH), table = word(group + AT_TABLE);
    const chosen = Uint32Array.from({ length: word(group + AT_SLOTS) }, (_, i) => {
      const at = width === 1 ? view.getUint8(table + i) : view.getUint16(table + i * 2, true);
      return word(group + HEADER + at * EACH + AT_ID);
    });
    return [spent, chosen];
  }
}

/** The classic table, in the order in which a classic caller sorts its pods. */
export function classicTable(pods: readonly number[], slots: number): Uint32Array {
  const next = pods.map((pod) => scrambled(pod)[0] % slots);
  const skip = pods.map((pod) => scrambled(pod)[1] % (slots - 1) + 1);
  const table = new Uint32Array(slots).fill(0xffff_ffff);
  for (let filled = 0; ;) {
    for (let i = 0; i < pods.length; i++) {
      let at = next[i]!;
      while (table[at] !== 0xffff_ffff) at = (at + skip[i]!) % slots;
      table[at] = pods[i]!;
      next[i] = at;
      if (++filled === slots) return table;
    }
  }
}

/** The largest share of slots against the even one. */
function imbalance(table: Uint32Array, pods: number): number {
  const shares = new Map<number, number>();
  for (const pod of table) shares.set(pod, (shares.get(pod) ?? 0) + 1);
  return Math.max(...shares.values()) / (table.length / pods);
}
/** Share of the slots of pods that stay which another pod has now. */
function moved(before: Uint32Array, after: Uint32Array, gone: number | undefined): number {
  let stay = 0, others = 0;
  before.forEach((pod, i) => {
    if (pod === gone) return;
    stay++;
    others += Number(after[i] !== pod);
  });
  return others / stay;
}

/** Sizes of the performance reference's table, then one of each of the core's classes. */
const CASES = [
  [1009, 10], [1009, 100], [1999, 10], [16_381, 100], [16_381, 1000], [65_537, 10], [65_537, 100],
  [65_537, 1000], [655_373, 100], [655_373, 1000],
] as const;
const name = (n: number): string => n.toLocaleString("en");

interface Reference {
  slots: number;
  backends: number;
  build: number;
  share: number;
  goes: number;
}
function references(): Reference[] {
  const targets = JSON.parse(readFileSync("bench/targets.json", "utf8")) as {
    maglev: { classic: Reference[] };
  };
  return targets.maglev.classic;
}

export function maglevFigures(core: Uint8Array, rounds: number, slotsMax: number): Figure[] {
  const builder = new Builder(core);
  const inC = twinMissing() === undefined;
  const all = references();
  return CASES.filter(([slots]) => slots <= slotsMax).flatMap(([slots, count]): Figure[] => {
    const pods = Array.from({ length: count }, (_, i) => i);
    const times = { own: [] as number[], classic: [] as number[], c: [] as number[] };
    for (let i = 0; i < rounds; i++) {
      // Another set each time: a processor learns the branches of one that comes again.
      const others = pods.map((pod) => 1000 * (i + 1) + pod);
      times.own.push(builder.table(others, slots)[0]);
      times.classic.push(builder.table(others, slots, true)[0]);
      if (inC) times.c.push(classicNanoseconds(slots, count) / 1e6);
    }
    const own = (set: number[]): Uint32Array => builder.table(set, slots)[1];
    const classic = (set: number[]): Uint32Array => classicTable(set, slots);
    const what = `${name(slots)} slots, ${name(count)} backends`;
    const known = all.find((each) => each.slots === slots && each.backends === count);
    const beside = (key: "build" | "share" | "goes"): { reference?: number } =>
      known ? { reference: known[key] } : {};
    const time = (kind: string, all: number[]): Figure[] => all.length
      ? [{ name: `${what}: built, ${kind}`, value: median(all) * 1000, unit: "µs",
        ...beside("build") }]
      : [];
    return [
      ...time("own", times.own), ...time("classic, in the core", times.classic),
      ...time("classic, in C", times.c),
      ...[["own", own], ["classic", classic]].flatMap(([kind, make]): Figure[] => {
        const build = make as (set: number[]) => Uint32Array;
        const whole = build(pods);
        const samples = Math.min(count, 8);
        const fewer: number[] = [], more: number[] = [];
        for (let i = 0; i < samples; i++) {
          const gone = Math.floor(i * count / samples);
          fewer.push(moved(whole, build(pods.filter((pod) => pod !== gone)), gone));
          more.push(moved(whole, build([...pods, 60_000 + i]), undefined));
        }
        const bound = kind === "own" && isOwnClass(slots, count);
        return [
          { name: `${what}: most / even share, ${kind}`, value: imbalance(whole, count), unit: "x",
            ...beside("share") },
          { name: `${what}: one goes, others' flows moved, ${kind}`,
            value: Math.max(...fewer) * 100, unit: "%", ...(bound ? { target: 4 } : {}),
            ...beside("goes") },
          { name: `${what}: one comes, flows moved, ${kind}`, value: Math.max(...more) * 100,
            unit: "%", ...(bound ? { target: 100 / (count + 1) + 4 } : {}) },
        ];
      }),
    ];
  });
}
/** The size that the core gives so many backends, before and behind the change. */
function isOwnClass(slots: number, count: number): boolean {
  return (slots === 1999 && count < 20) || (slots === 16_381 && count > 21 && count < 160) ||
    (slots === 65_537 && count > 161);
}
