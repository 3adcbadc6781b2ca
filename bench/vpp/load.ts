// Pushes into a plugin that carries traffic: another version of one of a bed's policies each time,
// compiled, admitted and published while packets pass.
//
//   version v: one rule of many is another ─► module (or bit vectors) ─► publish ─► milliseconds

import type { Policy, Program } from "../../host/model/program.ts";
import type { Rig } from "./rig.ts";

/** The bed's program with another rule somewhere that no packet of the benches matches. */
export function versionOf(program: Program, v: number): Program {
  const [policy, ...others] = program.policies as Policy[];
  const rules = [...policy!.rules];
  const at = v % Math.max(rules.length - 1, 1);
  rules[at] = {
    ...rules[at]!, name: `v${v}`, source: [`100.${64 + (v >> 8 & 63)}.${v & 255}.128/25`],
  };
  return { ...program, policies: [{ ...policy!, rules }, ...others] };
}

/** Pushes a version; milliseconds to compile it, and until it is in force. */
export async function pushVersion(
  rig: Rig, v: number,
): Promise<{ compiled: number; inForce: number }> {
  const start = performance.now();
  const push = await rig.compiler.compile(versionOf(rig.program, v), rig.generation + 1);
  const compiled = performance.now();
  await rig.give(push);
  return { compiled: compiled - start, inForce: performance.now() - compiled };
}

export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Packets by reason, as the program counts them. */
export async function reasons(rig: Rig): Promise<Record<string, number>> {
  const text = await rig.vpp.command("show margay counters");
  return Object.fromEntries([...text.matchAll(/^\s*([\w-]+)\s+(\d+)\s*$/gm)]
    .map(([, name, packets]) => [name!, Number(packets)]));
}
