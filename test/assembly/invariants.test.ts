// The core's invariants, read off the module itself: what it imports, that it owns
// nothing, and that the loops which every packet passes call nothing but prefetch.
import binaryen from "binaryen";
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";

const wasm = readFileSync("build/margay.wasm");
const compiled = new WebAssembly.Module(wasm);
let wat = "";

beforeAll(() => {
  const module = binaryen.readBinary(wasm);
  wat = readFileSync("build/margay.wat", "utf8");
  module.dispose();
});

/** Calls inside loops, [function, callee]. In asc's text a loop ends at an `end` indented alike. */
function callsInLoops(text: string): [string, string][] {
  const found: [string, string][] = [];
  const loops: number[] = [];
  let current = "";
  for (const line of text.split("\n")) {
    const indent = line.search(/\S/);
    const head = /^ \(func (\S+)/.exec(line);
    if (head) current = head[1]!;
    if (/^\s*loop\b/.test(line)) loops.push(indent);
    if (/^\s*end\b/.test(line) && loops.at(-1) === indent) loops.pop();
    const call = /^\s*call (\S+)|^\s*call_indirect/.exec(line);
    if (call && loops.length > 0) found.push([current, call[1] ?? "call_indirect"]);
  }
  return found;
}

/** The steps that every packet passes, the fast lane's, and those of the rest that is looked up. */
const STEP = /^(fastlane\/|pipeline\/(touchAll|finish)|lookup\/(matchTags|compare))/;
/**
 * What loops over packets that the fast lane left may call: heads of the slow path. (Of untracked
 * policies, which are asked of every packet where there are any, one family's is inlined.)
 */
const SLOW = new RegExp("^(conntrack/(settle|open)|judge/|session/find|lookup/findSlowly|policy/|" +
  "pipeline/cutsAt|order/|ahead/|replies/|related/|fragment/|restored/|reply/|service/|nat/|" +
  "endpoint/endpointOfAddress|parser/|entry/mayPose|" +
  "members/(classOfAddress|longest[46])|facts/findFacts|route/routeOf|header/ipv4/longHeaderSum)");
/** What the loop over chunks calls, once for 24 packets. */
const CHUNK = /^(pipeline\/decideAll|entry\/(parseAll|askUntracked)|lookup\/prefetch)\b/;

describe("the core", () => {
  test("core-imports: the memory, a function table and prefetch, no more", () => {
    const imports = WebAssembly.Module.imports(compiled)
      .map((each) => `${each.module}.${each.name} ${each.kind}`);
    expect(imports.sort()).toEqual([
      "env.memory memory", "env.table table", "host.prefetch function",
    ]);
    const exports = WebAssembly.Module.exports(compiled).map((each) => each.name);
    expect(exports.sort()).toEqual([
      "age", "member", "process", "publish", "recover", "restore", "stage",
    ]);
  });

  test("core-no-data: no data segment, no start function, no mutable global, no allocator", () => {
    expect(wat).not.toMatch(/^ \((data|start|elem)\b/m);
    expect(wat).not.toMatch(/^ \(global .*\(mut /m);
    expect(wat).not.toContain("memory.grow");
    expect(sectionIds(wasm)).not.toEqual(expect.arrayContaining([8]));
    expect(sectionIds(wasm)).not.toEqual(expect.arrayContaining([11]));
  });

  test("core-no-atomic-store: publish and unlock are exchanges", () => {
    expect(wat).not.toMatch(/atomic\.store/);
    expect(wat).toMatch(/atomic\.rmw\.xchg/);
  });

  test("core-no-hot-call: the loops that every packet passes call nothing but prefetch", () => {
    const calls = callsInLoops(wat)
      .map(([from, to]) => [from.replace("$assembly/", ""), to.replace("$assembly/", "")] as const)
      .filter(([from]) => STEP.test(from) || /^pipeline\//.test(from));
    // The fast lane's own loop is over bursts; the loops over packets are functions of their own.
    const burst = (from: string, to: string): boolean =>
      /^fastlane\/fastLane\b/.test(from) && (to === "lookup/prefetch" || STEP.test(to));
    expect(calls.filter(([from, to]) => STEP.test(from) && !burst(from, to))).toEqual([]);
    expect(calls.filter(([, to]) => SLOW.test(to)).length).toBeGreaterThanOrEqual(4);
    const known = [SLOW, CHUNK, STEP];
    for (const [, to] of calls) expect(known.some((each) => each.test(to)), to).toBe(true);
    // The loops' names, functions of their own: none may vanish from this test unseen.
    for (const step of ["parsePlain", "carryPlain"]) {
      for (const family of ["u32", "v128"]) expect(wat).toContain(`fastlane/${step}<${family}>`);
    }
  });

  test("the module that the .wat shows is the module that is run", () => {
    const functions = (wat.match(/^ \(func /gm) ?? []).length;
    const module = binaryen.readBinary(wasm);
    expect(module.getNumFunctions()).toBe(functions + 1); // and the imported prefetch
    module.dispose();
  });
});

/** Section ids of a module, in order. */
function sectionIds(bytes: Uint8Array): number[] {
  const ids: number[] = [];
  let at = 8;
  while (at < bytes.length) {
    ids.push(bytes[at++]!);
    let size = 0, shift = 0, byte = 0x80;
    while (byte & 0x80) {
      byte = bytes[at++]!;
      size |= (byte & 0x7f) << shift;
      shift += 7;
    }
    at += size;
  }
  return ids;
}
