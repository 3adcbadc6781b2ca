// Budgets that programs fit.
import { expect, test } from "vitest";
import { ROOT, ROOT_ARENA_NEXT } from "../../../assembly/layout.ts";
import { budgetsFor } from "../../../host/compile/budgets.ts";
import { memoryPagesFor } from "../../../host/compile/pages.ts";
import { Compiler } from "../../../host/compile/program.ts";
import { configureRecord } from "../../../host/compile/records.ts";
import { coreModule } from "../../../host/dataplane/core.ts";
import { NodeDataplane } from "../../../host/dataplane/node.ts";
import type { Program, Service } from "../../../host/model/program.ts";

test("the largest of some programs fits, and what it asks for counts", async () => {
  const members = Array.from({ length: 2000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const rules = Array.from({ length: 300 }, (_, i) => ({
    name: `r${i}`, action: "allow" as const, source: [`10.${i & 255}.0.0/16`, "fd00::/8"],
    destinationSets: ["s"],
  }));
  const program: Program = {
    endpoints: [{ name: "pod", kind: "workload", interfaces: [1], addresses: [], ingress: "p" }],
    services: [], policies: [{ name: "p", rules }], sets: [{ id: "s", type: "net", members }],
  };
  const small: Program = { endpoints: [], services: [], policies: [] };
  const budgets = budgetsFor([small, program], { workers: 2 });
  expect(budgets).toMatchObject({ workers: 2, members4Max: 4512, endpointsMax: 64, setsMax: 514 });
  const engine = new NodeDataplane(coreModule(), { workers: 2 });
  engine.stage(configureRecord(budgets));
  engine.push(await new Compiler(budgets).compile(program, 1));
  expect(engine.generation).toBe(1);
  const tight = { ...budgets, members4Max: 1000 };
  await expect(new Compiler(tight).compile(program, 1)).rejects.toThrow("members4Max is 1000");
});

test.each([[800, 10], [30, 300]])(
  "budgets-services: %i Services with %i backends fit in the pages told, also when all change",
  async (count, each) => {
    const program = (turn: number): Program => ({
      endpoints: [], policies: [], services: Array.from({ length: count }, (_, i): Service => ({
        name: `s${i}`, address: `10.96.${i >> 8}.${i & 255}`, port: 80, protocol: "tcp",
        backends: Array.from({ length: each }, (_, j) => ({
          name: `p${i}-${j}`, port: 8080,
          address: `10.${turn}.${(i * each + j) >> 8 & 255}.${(i * each + j) & 255}`,
        })),
      })),
    });
    const budgets = budgetsFor([program(0)], { sessions4Max: 1024, sessions6Max: 1024 });
    expect(budgets.groupsMax).toBe(Math.max(64, 4 * count));
    const memoryPages = memoryPagesFor([program(0)], budgets);
    const engine = new NodeDataplane(coreModule(), { memoryPages });
    engine.stage(configureRecord(budgets));
    const compiler = new Compiler(budgets);
    for (let turn = 1; turn <= 6; turn++) engine.push(await compiler.compile(program(turn), turn));
    expect(engine.generation).toBe(6);
    const used = engine.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
    expect(used / (memoryPages << 16)).toBeGreaterThan(0.5);
  }, 60_000);
