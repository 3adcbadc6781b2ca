// The core's invariants (DESIGN 3), read off the module itself: what it imports, that it owns
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

/**
 * The calls that loops of process may make, each over a list of what the fast path left: further
 * addresses to check, keys not found at once, misses to decide, misses to settle; v4 and v6.
 */
const SLOW_PATH = [
  "conntrack/decide<u32>", "conntrack/decide<v128>", "conntrack/settle<u32>",
  "conntrack/settle<v128>", "endpoint/endpointOfAddress", "endpoint/endpointOfAddress",
  "session/find<u32>", "session/find<v128>",
];

describe("the core", () => {
  test("core-imports: the memory, a function table and prefetch, no more", () => {
    const imports = WebAssembly.Module.imports(compiled)
      .map((each) => `${each.module}.${each.name} ${each.kind}`);
    expect(imports.sort()).toEqual([
      "env.memory memory", "env.table table", "host.prefetch function",
    ]);
    const exports = WebAssembly.Module.exports(compiled).map((each) => each.name);
    expect(exports.sort()).toEqual(["age", "process", "publish", "recover", "stage"]);
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

  test("core-no-hot-call: the loops of process call nothing but the slow path's heads", () => {
    const calls = callsInLoops(wat).filter(([from]) => /pipeline\/process$/.test(from));
    const callees = calls.map(([, callee]) => callee.replace("$assembly/", ""));
    expect(callees.sort()).toEqual(SLOW_PATH);
    const loops = wat.split("\n").filter((line) => /^\s*loop\b/.test(line));
    expect(loops.length).toBeGreaterThan(SLOW_PATH.length * 2);
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
