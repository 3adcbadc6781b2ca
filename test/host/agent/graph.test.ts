// Graphs of objects as bytes: shared parts and circles stay, classes come back, and a compiler that
// was written and read goes on exactly as the one that was not.
import { describe, expect, test } from "vitest";
import { readGraph, writeGraph, type KnownClasses } from "../../../host/agent/graph.ts";
import { readKept, saveKept } from "../../../host/agent/kept.ts";
import { budgetsFor } from "../../../host/compile/budgets.ts";
import { NodeMemory } from "../../../host/compile/node.ts";
import { Compiler } from "../../../host/compile/program.ts";
import type { Program } from "../../../host/model/program.ts";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

class Tree {
  children: Tree[] = [];
  cache = new WeakMap<object, number>();
  constructor(readonly name: string, readonly parent?: Tree) {
    parent?.children.push(this);
  }
  path(): string {
    return this.parent ? `${this.parent.path()}/${this.name}` : this.name;
  }
}
const CLASSES: KnownClasses = { Tree: { class: Tree, fresh: { cache: () => new WeakMap() } } };

describe("agent-kept: what is kept comes back as it was", () => {
  test("circles, shared parts, Maps, Sets, bytes, bigints, holes and classes", () => {
    const root = new Tree("root");
    const leaf = new Tree("leaf", root);
    const graph = {
      root, leaf, map: new Map<unknown, unknown>([[leaf, new Set([root])]]), big: 7n,
      bytes: Uint8Array.of(1, 2), words: Int32Array.of(-1), holes: [1, , 3], nothing: undefined,
    };
    const back = readGraph(writeGraph(graph, CLASSES), CLASSES) as typeof graph;
    expect(back.leaf.path()).toBe("root/leaf");
    expect(back.leaf.parent).toBe(back.root);
    expect(back.root.children[0]).toBe(back.leaf);
    expect(back.map.get(back.leaf)).toEqual(new Set([back.root]));
    expect(back.root.cache).toBeInstanceOf(WeakMap);
    expect([back.big, back.bytes, back.words, 1 in back.holes])
      .toEqual([7n, Uint8Array.of(1, 2), Int32Array.of(-1), false]);
  });

  test("what is not known is named by its path", () => {
    expect(() => writeGraph({ a: [new Date()] }, {})).toThrow("root.a[0]: class Date is not known");
    expect(() => writeGraph({ b: () => 1 }, {})).toThrow("root.b: a function can't be written");
  });

  test("a compiler that was kept makes the same next push, byte for byte", async () => {
    const folder = mkdtempSync(join(tmpdir(), "margay-kept-"));
    try {
      const before = programOf(20, ["10.0.0.0/8", "10.1.0.1"]);
      const budgets = budgetsFor([before]);
      const compiler = new Compiler(budgets, undefined, () => 0);
      await compiler.compile(before, 1);
      saveKept(folder, {
        staged: "", core: "", memory: new NodeMemory(), hostStack: [],
        inForce: { compiler, budgets, generation: 1, program: before },
      });
      const kept = readKept(folder);
      if (typeof kept === "string") throw new Error(kept);
      const after = programOf(21, ["10.0.0.0/8", "10.2.0.0/16"]);
      const own = await compiler.compile(after, 2);
      const other = await kept.inForce.compiler.compile(structuredClone(after), 2);
      expect(own.records.length).toBeGreaterThan(0);
      expect(other).toEqual(own);
      expect(other.modules.length).toBeLessThan(2);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function programOf(services: number, members: string[]): Program {
  return {
    endpoints: [
      { name: "host", kind: "host", interfaces: [1], addresses: ["192.0.2.1"] },
      { name: "a/b", kind: "workload", interfaces: [2], addresses: ["10.65.0.1"], ingress: "in" },
    ],
    sets: [{ id: "s", type: "net", members }],
    policies: [{ name: "in", rules: [{ name: "r", action: "allow", sourceSets: ["s"] }] }],
    services: Array.from({ length: services }, (_, i) => ({
      name: `a/s${i}:`, address: `10.96.0.${i + 1}`, port: 80, protocol: "tcp" as const,
      backends: [{ name: "a/b", address: "10.65.0.1", port: 8000 + i }],
    })),
  };
}
