// Budgets that programs fit.
import { expect, test } from "vitest";
import { budgetsFor } from "../../../host/compile/budgets.ts";
import { Compiler } from "../../../host/compile/program.ts";
import { configureRecord } from "../../../host/compile/records.ts";
import { coreModule } from "../../../host/dataplane/core.ts";
import { NodeDataplane } from "../../../host/dataplane/node.ts";
import type { Program } from "../../../host/model/program.ts";

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
