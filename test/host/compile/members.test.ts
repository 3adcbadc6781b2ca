// Memberships: what the core is told, played into tables like the core's, against every set asked
// member by member; and what changes cost.
import { describe, expect, test } from "vitest";
import {
  CLASS_COUNT, CLASS_ID, CLASS_SETS, GENERATIONS, MEMBER4_BYTES, MEMBER6_BYTES, MEMBERS_COUNT,
  MEMBERS_FAMILY, MEMBERS_FIRST, MEMBER_PORT, RECORD_HEADER_BYTES, RecordKind, STAGING_BYTES,
} from "../../../assembly/layout.ts";
import { parseMember } from "../../../host/compile/member.ts";
import { Sets } from "../../../host/compile/sets.ts";
import { addressBytes, addressNumber, parsePrefix } from "../../../host/model/address.ts";
import type { AddressSet, Budgets } from "../../../host/model/program.ts";
import { random } from "./random.ts";

/** The core's tables, as far as membership goes; refuses what the core refuses. */
class Tables {
  readonly classes = new Map<number, number[]>();
  /** By family, address and tag: a class. */
  readonly entries = new Map<string, number>();
  records = 0;
  changes = 0;

  play(records: Uint8Array[]): void {
    for (const record of records) {
      expect(record.length).toBeLessThan(STAGING_BYTES);
      const view = new DataView(record.buffer, record.byteOffset + RECORD_HEADER_BYTES);
      const kind = new DataView(record.buffer, record.byteOffset).getUint16(0, true);
      this.records++;
      if (kind === RecordKind.Class) this.define(view);
      else if (kind === RecordKind.ClassRemove) this.undefine(view.getUint32(0, true));
      else if (kind === RecordKind.Members) {
        this.members(view, record.subarray(RECORD_HEADER_BYTES));
      } else throw new Error(`record of kind ${kind}`);
    }
  }
  private define(view: DataView): void {
    const sets = Array.from({ length: view.getUint32(CLASS_COUNT, true) }, (_, i) =>
      view.getUint16(CLASS_SETS + i * 2, true));
    expect(sets).toEqual([...new Set(sets)].sort((a, b) => a - b));
    const id = view.getUint32(CLASS_ID, true);
    expect(id).toBeGreaterThan(0);
    const known = this.classes.get(id);
    if (known) expect(known, `class ${id} again`).toEqual(sets);
    this.classes.set(id, sets);
  }
  private undefine(id: number): void {
    expect(this.classes.has(id), `class ${id} is there`).toBe(true);
    expect([...this.entries.values()], `class ${id} is in use`).not.toContain(id);
    this.classes.delete(id);
  }
  private members(view: DataView, body: Uint8Array): void {
    const family = view.getUint32(MEMBERS_FAMILY, true);
    const bytes = family === 4 ? MEMBER4_BYTES : MEMBER6_BYTES, address = bytes - 8;
    for (let i = 0; i < view.getUint32(MEMBERS_COUNT, true); i++) {
      const at = MEMBERS_FIRST + i * bytes;
      const tag = view.getUint32(at + address, true), id = view.getUint32(at + address + 4, true);
      const text = Buffer.from(body.subarray(at, at + address)).toString("hex");
      const key = `${family} ${text} ${tag}`;
      this.changes++;
      if (id === 0) {
        this.entries.delete(key);
        continue;
      }
      expect(this.classes.has(id), `class ${id} is not there`).toBe(true);
      this.entries.set(key, id);
    }
  }

  /** Set numbers of an address: the longest prefix alone answers. */
  ofAddress(family: 4 | 6, address: bigint): number[] {
    const bits = family === 4 ? 32 : 128, digits = bits / 4;
    const own = family === 4 ? address & 0xffffffffn : address;
    for (let length = bits; length >= 0; length--) {
      const low = BigInt(bits - length);
      const key = `${family} ${((own >> low) << low).toString(16).padStart(digits, "0")} ${length}`;
      const id = this.entries.get(key);
      if (id !== undefined) return this.classes.get(id)!;
    }
    return [];
  }
  ofPort(family: 4 | 6, address: bigint, protocol: number, port: number): number[] {
    const own = family === 4 ? address & 0xffffffffn : address;
    const tag = (MEMBER_PORT | (protocol << 16) | port) >>> 0;
    const id = this.entries.get(`${family} ${own.toString(16).padStart(family * 2, "0")
      .padStart(family === 6 ? 32 : 8, "0")} ${tag}`);
    return id === undefined ? [] : this.classes.get(id)!;
  }
}

const POOL = [
  "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/16", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25",
  "10.0.0.1", "10.0.0.1/32", "10.0.0.129", "10.128.0.0/9", "192.168.0.0/16", "10.0.0.0",
  "::/0", "fd00::/8", "fd00::/64", "fd00::", "fd00::1", "fd00::1/127", "fd00:0:0:1::/64",
  "fd80::/9", "::1",
];
const PORTS = ["10.0.0.1,tcp:80", "10.0.0.1,udp:80", "10.0.0.1,6:80", "fd00::1,tcp:80",
  "fd00::1,sctp:443", "10.0.0.2,tcp:0", "10.0.0.1,tcp:65535"];
const PROBES = ["10.0.0.1", "10.0.0.2", "10.0.0.129", "10.200.0.1", "11.0.0.1", "192.168.1.1",
  "255.255.255.255", "0.0.0.0", "fd00::", "fd00::1", "fd00::2", "fd00:0:0:1::5", "fd90::1", "::1",
  "2001:db8::1"];

function probe(tables: Tables, sets: readonly AddressSet[], numbers: Map<string, number>): void {
  const inSet = (set: AddressSet, family: number, address: bigint): boolean =>
    [...set.members].some((text) => {
      const prefix = parsePrefix(text);
      return prefix.family === family && (address & prefix.mask) === prefix.network;
    });
  const of = (chosen: AddressSet[]): number[] =>
    chosen.map(({ id }) => numbers.get(id)!).sort((a, b) => a - b);
  for (const text of PROBES) {
    const family = text.includes(":") ? 6 : 4, address = addressNumber(addressBytes(text));
    const expected = of(sets.filter((set) =>
      set.type === "net" && numbers.has(set.id) && inSet(set, family, address)));
    expect(tables.ofAddress(family, address), text).toEqual(expected);
  }
  for (const text of PORTS) {
    const [from, protocol, port] = [text.split(",")[0]!, ...text.split(",")[1]!.split(":")] as
      [string, string, string];
    const number = { tcp: 6, udp: 17, sctp: 132 }[protocol] ?? Number(protocol);
    const family = from.includes(":") ? 6 : 4;
    const same = (member: string): boolean =>
      member.replace(",tcp", ",6").replace(",udp", ",17").replace(",sctp", ",132") ===
        `${from},${number}:${port}`;
    const expected = of(sets.filter((set) =>
      set.type === "ip-port" && numbers.has(set.id) && [...set.members].some(same)));
    const found = tables.ofPort(family, addressNumber(addressBytes(from)), number, Number(port));
    expect(found, text).toEqual(expected);
  }
}

describe("members as text", () => {
  test("addresses are read as the slow way reads them, right or wrong", () => {
    const below = random(5);
    const pieces =
      ["0", "1", "ffff", "a", "::", ":", "1.2.3.4", "g", "12345", "", "255", ".", "00"];
    const texts = ["::", "1::", "::1", "1:2:3:4:5:6:7:8", "1::8", "::ffff:1.2.3.4", "1:2::7:8",
      "FD00::A", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:::2", "1::2::3", ":1", "1:", "", ":",
      "10.0.0.1", "10.0.0.256", "010.0.0.1", "1.2.3", "1.2.3.4.5", "1.2.3.", "0.0.0.0"];
    for (let i = 0; i < 20_000; i++) {
      const count = 1 + below(12);
      texts.push(Array.from({ length: count }, (_, k) =>
        (k % 2 && below(4) > 0 ? ":" : pieces[below(pieces.length)]!)).join(""));
    }
    let right = 0;
    for (const text of texts) {
      let expected: bigint | undefined;
      try {
        expected = addressNumber(addressBytes(text));
      } catch {
        expect(() => parseMember(text, "net"), text).toThrow(text === "" ? '""' : text);
        continue;
      }
      right++;
      const { family, words } = parseMember(text, "net");
      const found = [...words.subarray(0, family === 4 ? 1 : 4)]
        .reduce((all, word) => (all << 32n) | BigInt(word >>> 0), family === 4 ? 0xffffn : 0n);
      expect(found, text).toBe(expected);
    }
    expect(right).toBeGreaterThan(500);
  });
  test.each([
    ["10.0.0.0/33", "net"], ["10.0.0.0/", "net"], ["10.0.0.0/8/8", "net"], ["fd00::/129", "net"],
    ["10.0.0.1", "ip-port"], ["10.0.0.1,tcp", "ip-port"], ["10.0.0.1,xyz:80", "ip-port"],
    ["10.0.0.1,tcp:65536", "ip-port"], ["10.0.0.1,tcp:", "ip-port"],
    ["10.0.0.1/8,tcp:1", "ip-port"],
  ] as const)("%s is no member of a set of type %s", (text, type) => {
    expect(() => parseMember(text, type)).toThrow(text.split(",")[0]!);
  });
});

describe("sets", () => {
  /** A compiler's part: names sets, plays what comes. */
  class Bench {
    readonly tables = new Tables();
    readonly sets: Sets;
    numbers = new Map<string, number>();
    generation = 0;
    last: Uint8Array[] = [];
    constructor(budgets: Partial<Budgets> = {}) {
      this.sets = new Sets(budgets);
    }
    /** `again`: the push before was refused; `lost`: this one will be. */
    step(sets: readonly AddressSet[], named: string[], again = false, lost = false): void {
      if (!again) this.generation++;
      this.sets.begin(sets, this.generation, again);
      this.numbers = new Map(named.map((id) => [id, this.sets.any(id)]));
      this.last = this.sets.finish();
      if (!lost) this.tables.play(this.last);
    }
  }

  test("policy-members: after any changes, every address has the sets that hold it", () => {
    const below = random(11);
    const some = <T>(list: readonly T[]): T[] => list.filter(() => below(3) === 0);
    for (let round = 0; round < 25; round++) {
      const bench = new Bench();
      let sets: AddressSet[] = [];
      let lost = false;
      for (let step = 0; step < 24; step++) {
        const ids = some(["a", "b", "c", "d", "e", "f"]);
        sets = ids.map((id): AddressSet => {
          const before = sets.find((set) => set.id === id);
          if (before && below(2)) return before;
          const isPort = id === "e" || id === "f";
          const members = new Set(some(isPort ? PORTS : POOL));
          return { id, type: isPort ? "ip-port" : "net", members };
        });
        const again = lost;
        lost = below(5) === 0 && step < 23;
        bench.step(sets, ids.filter((id) => below(5) > 0 || id === "a"), again, lost);
        if (!lost) probeNamed(bench, sets);
      }
    }
  });
  /** Sets that nobody names keep their members a generation more: their bits are left out. */
  function probeNamed(bench: Bench, sets: AddressSet[]): void {
    const named = new Set(bench.numbers.values());
    const seen = new Tables();
    for (const [id, numbers] of bench.tables.classes) {
      seen.classes.set(id, numbers.filter((number) => named.has(number)));
    }
    for (const [key, id] of bench.tables.entries) seen.entries.set(key, id);
    probe(seen, sets, bench.numbers);
  }

  test("a push of which only some arrived is brought again", () => {
    const below = random(3);
    for (let round = 0; round < 40; round++) {
      const bench = new Bench();
      const first: AddressSet[] = [{ id: "a", type: "net", members: new Set(POOL.slice(0, 9)) }];
      bench.step(first, ["a"]);
      const second: AddressSet[] = [
        { id: "a", type: "net", members: new Set(POOL.slice(4, 15)) },
        { id: "b", type: "net", members: new Set(POOL.slice(2, 7)) },
      ];
      bench.step(second, ["a", "b"], false, true);
      bench.tables.play(bench.last.slice(0, below(bench.last.length + 1)));
      bench.step(second, ["a", "b"], true);
      probe(bench.tables, second, bench.numbers);
    }
  });

  test("deltas do what the whole would", () => {
    const below = random(9);
    for (let round = 0; round < 30; round++) {
      const bench = new Bench();
      const members = new Set(POOL.filter(() => below(2) === 0));
      const sets: AddressSet[] = [
        { id: "a", type: "net", members }, { id: "b", type: "net", members: new Set(POOL) },
      ];
      bench.step(sets, ["a", "b"]);
      for (let step = 0; step < 10; step++) {
        // 10.0.0.1 and 10.0.0.1/32 are one member: a delta never brings what is there.
        const pool = POOL.filter((text) => text !== "10.0.0.1/32");
        members.delete("10.0.0.1/32");
        const removed = pool.filter((text) => members.has(text) && below(3) === 0);
        const added = pool.filter((text) => !members.has(text) && below(3) === 0);
        if (step === 0) removed.push(...["10.0.0.1/32"].filter(() => !members.has("10.0.0.1")));
        for (const text of removed) members.delete(text);
        for (const text of added) members.add(text);
        bench.tables.play(bench.sets.applyDelta("a", added, removed));
        if (step > 0) probe(bench.tables, sets, bench.numbers);
      }
      bench.step(sets, ["a", "b"]);
      expect(bench.last, "the members object is known to hold the deltas").toEqual([]);
    }
    expect(new Bench().sets.applyDelta("nobody's", ["10.0.0.1"], [])).toEqual([]);
  });

  test("a set's number rests until no generation can know it", () => {
    const bench = new Bench();
    const set = (id: string): AddressSet => ({ id, type: "net", members: ["10.0.0.1"] });
    bench.step([set("a")], ["a"]);
    const number = bench.numbers.get("a")!;
    const numbers: number[] = [];
    for (let i = 0; i < 12; i++) {
      bench.step([set(`b${i}`)], [`b${i}`]);
      numbers.push(bench.numbers.get(`b${i}`)!);
    }
    const again = numbers.indexOf(number);
    expect(again).toBeGreaterThanOrEqual(GENERATIONS);
    expect(again).toBeLessThan(12);
    expect(new Set(numbers.slice(0, GENERATIONS + 1)).size).toBe(GENERATIONS + 1);
  });

  test("what has not changed is not looked at", () => {
    const bench = new Bench();
    let reads = 0;
    const members = { *[Symbol.iterator]() {
      reads++;
      yield* POOL;
    }, size: POOL.length };
    const set = (version?: number): AddressSet =>
      ({ id: "a", type: "net", members, ...(version === undefined ? {} : { version }) });
    bench.step([set()], ["a"]);
    bench.step([set()], ["a"]);
    expect([reads, bench.last.length]).toEqual([1, 0]);
    bench.step([set(1)], ["a"]);
    bench.step([set(1)], ["a"]);
    bench.step([set(2)], ["a"]);
    expect([reads, bench.last.length]).toEqual([3, 0]);
  });

  test("a budget that does not suffice is named, and a later program that fits is brought", () => {
    const bench = new Bench({ members4Max: 3, classesMax: 2, setsMax: 3 });
    const sets = (members: string[]): AddressSet[] => [{ id: "a", type: "net", members }];
    bench.step(sets(["10.0.0.1"]), ["a"]);
    const many = ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"];
    expect(() => bench.step(sets(many), ["a"]))
      .toThrow("4 IPv4 members of sets; the budget members4Max is 3");
    bench.step(sets(["10.0.0.2", "10.0.0.9"]), ["a"], true);
    expect(bench.tables.ofAddress(4, addressNumber(addressBytes("10.0.0.9")))).toEqual([0]);
    expect(bench.tables.ofAddress(4, addressNumber(addressBytes("10.0.0.1")))).toEqual([]);
    expect(bench.tables.entries.size).toBe(2);
    expect(() => bench.step(["a", "b", "c", "d"].map((id) => ({ ...sets([])[0]!, id })),
      ["a", "b", "c", "d"])).toThrow("the budget setsMax is 3");
  });

  test("errors name the set and the member", () => {
    const bench = new Bench();
    const sets: AddressSet[] = [{ id: "db", type: "net", members: ["10.0.0.1", "10.0.0.300"] }];
    expect(() => bench.step(sets, ["db"])).toThrow('set "db": "10.0.0.300" is no IP address');
    expect(() => bench.step([...sets, ...sets], ["db"])).toThrow('two sets have the id "db"');
    expect(() => bench.step([], ["db"])).toThrow('no set has the id "db"');
    bench.step(sets.map((set) => ({ ...set, members: ["10.0.0.3"] })), ["db"], true);
    expect(bench.tables.entries.size).toBe(1);
  });
});
