// The bench of sessions, Services and Maglev at a small size, so that it does not rot: engines'
// results are equal, each section gives its figures. Says nothing about speed.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { nat, SECTIONS, SMALL } from "../../bench/nat.ts";
import { nativeMissing } from "../../bench/nat/engine.ts";
import { framesOf, FRAME_IN, SYN, TCP } from "../../bench/nat/frames.ts";
import { clients } from "../../bench/nat/beds.ts";
import { twinMissing } from "../../bench/nat/twin.ts";
import { checksumsRight } from "../packets.ts";

const core = new Uint8Array(readFileSync("build/margay.wasm"));

describe("bench-nat: sessions, Services and Maglev at a small size", () => {
  test("rows: each engine that is there gives a figure, with equal results", async () => {
    const skipped = nativeMissing() ?? twinMissing();
    if (skipped) console.log(`bench: ${skipped}`);
    const { rows } = await nat(core, SMALL, ["flows", "rules", "members", "services"]);
    expect(rows.map(({ name }) => name)).toEqual([
      "1 flows, IPv4", "1 flows, IPv6", "500 flows, IPv4", "500 flows, IPv6",
      "512 flows, TCP, IPv4", "512 flows, TCP, IPv6", "no policy",
      "10 rules, the first matches", "10 rules, the last matches", "10 rules, none matches",
      "100 rules, the first matches", "100 rules, the last matches", "100 rules, none matches",
      "a set of 1", "a set of 300", "1 services", "20 services",
    ]);
    const twins = rows.filter(({ ratio }) => ratio.established !== undefined);
    expect(twins.length).toBe(skipped ? 0 : 4);
    for (const { name, opening, established } of rows) {
      const engines = nativeMissing() ? ["node"] : ["native", "node"];
      const own = Object.keys(name.startsWith("1 flows") ? established : opening)
        .filter((each) => each !== "twin").sort();
      expect(own, name).toEqual(engines);
      expect("node" in established, name).toBe(!name.includes("none matches"));
      for (const ns of [...Object.values(opening), ...Object.values(established)]) {
        expect(ns, name).toBeGreaterThan(0);
      }
    }
  }, 120_000);

  test("figures: Services, ageing, memory, tables, nodes", async () => {
    const sections = SECTIONS.filter((name) => ["figures", "maglev", "nodes"].includes(name));
    const { figures } = await nat(core, SMALL, sections);
    const named = (text: string) => figures.filter(({ name }) => name.includes(text));
    expect(named("published, node")).toHaveLength(1);
    expect(named("of 50 services x 10 backends changed, node")).toHaveLength(2);
    expect(named("the same in a push of all, node")).toHaveLength(2);
    expect(named("ageing, busy, 3,000 / 300 sessions, node")).toHaveLength(1);
    for (const { value, target } of named("memory a connection")) {
      expect(value).toBeLessThanOrEqual(target!);
    }
    for (const { name, value, target } of named("flows moved, own")) {
      expect(value, name).toBeLessThanOrEqual(target ?? 100);
    }
    for (const { name, value, target } of named("flows begun")) {
      expect(value, name).toBeLessThanOrEqual(target ?? Infinity);
    }
    expect(named("flows begun")).toHaveLength(24);
  }, 120_000);
});

test("bench-nat: frames hold every flow once, with right checksums", () => {
  for (const family of [4, 6] as const) {
    const stream = clients("", family, 600, TCP);
    const frames = framesOf(stream, 1, SYN);
    expect(frames.length).toBe(3 * FRAME_IN);
    const seen = new Set<string>();
    for (let n = 0; n < 3 * 256; n++) {
      const at = Math.floor(n / 256) * FRAME_IN + 256 * 32 + (n % 256) * 128;
      const bytes = frames.slice(at, at + (family === 4 ? 46 : 66));
      expect(checksumsRight(bytes)).toBe(true);
      seen.add(Buffer.from(bytes).toString("hex"));
    }
    expect(seen.size).toBe(600);
  }
});
