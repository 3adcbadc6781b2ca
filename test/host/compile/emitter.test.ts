// The thread that emits modules gives the same bytes and the same errors as this thread does, and
// asks for the same sets. It is bundled as the command is, for its file must lie beside.
import { build } from "esbuild";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, expect, test } from "vitest";
import type * as Emitters from "../../../host/compile/emitter.ts";
import { emitPolicy, loadEmitter, type SetNumbers } from "../../../host/compile/policy.ts";
import { netsId } from "../../../host/compile/match.ts";
import type { Policy, ProgramRule } from "../../../host/model/program.ts";

const folder = "build/test-emitter";
let emitters: typeof Emitters;

beforeAll(async () => {
  await build({
    entryPoints: {
      emitter: "host/compile/emitter.ts", emitterthread: "host/compile/emitterthread.ts",
    },
    outdir: folder, bundle: true, splitting: true, format: "esm", platform: "node",
    target: "node20", packages: "external", logLevel: "warning",
  });
  emitters = await import(pathToFileURL(join(process.cwd(), folder, "emitter.js")).href);
  emitters.startEmitter();
});

/** Numbers by order of asking, and what was asked. */
function numbers(): SetNumbers & { asked: Set<string> } {
  const asked = new Set<string>();
  const number = (kind: string) => (id: string): number => {
    if (id === "missing") throw new Error(`no set has the id "${id}"`);
    asked.add(`${kind} ${id}`);
    return id.length * 7 + kind.length;
  };
  return { asked, addresses: number("addresses"), ports: number("ports"), nets: netsId };
}
const policy = (rules: Partial<ProgramRule>[]): Policy => ({
  name: "p", rules: rules.map((each, i) => ({ name: `r${i}`, action: "allow", ...each })),
});
const many = Array.from({ length: 40 }, (_, i) => `10.${i}.0.0/16`);

test.each<[string, Partial<ProgramRule>[]]>([
  ["no rule", []],
  ["ports and prefixes", [
    { protocol: "tcp", destinationPorts: [80, "8000-8080"], source: ["10.0.0.0/8", "fd00::/64"] },
    { action: "deny", notSource: ["192.0.2.0/24"] },
  ]],
  ["sets of every kind", [
    { sourceSets: ["a", "bb"], notDestinationSets: ["ccc"], action: "pass", next: 2 },
    { protocol: "tcp", destinationNamedPorts: ["n"], notSourceNamedPorts: ["mm"] },
    { destinationPortSets: ["svc"], source: many }, { action: "log", sourceSets: ["logged"] },
  ]],
])("policy-thread: the thread emits what this thread does: %s", async (_, rules) => {
  const binaryen = await loadEmitter();
  const here = numbers(), there = numbers();
  const emitter = await emitters.openEmitter();
  expect(emitter.emit(policy(rules), there)).toEqual(emitPolicy(binaryen, policy(rules), here));
  expect([...there.asked].sort()).toEqual([...here.asked].sort());
});

test.each<[string, Partial<ProgramRule>[]]>([
  ["a set that is not there", [{}, { sourceSets: ["missing"] }]],
  ["a port", [{ protocol: "tcp", destinationPorts: ["90-80"] }]],
  ["a pass backwards", [{}, { action: "pass", next: 1 }]],
])("policy-thread: its errors are this thread's: %s", async (_, rules) => {
  const binaryen = await loadEmitter();
  const emitter = await emitters.openEmitter();
  const message = (run: () => unknown): string => {
    try {
      run();
    } catch (cause) {
      return (cause as Error).message;
    }
    return "none";
  };
  const here = message(() => emitPolicy(binaryen, policy(rules), numbers()));
  expect(message(() => emitter.emit(policy(rules), numbers()))).toBe(here);
  expect(here).toMatch(/^policy p, rule \d/);
  // and it goes on
  expect(emitter.emit(policy([{}]), numbers()).length).toBeGreaterThan(50);
});
