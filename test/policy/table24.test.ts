// Each cell of calico.md's table 2.4 and each sentence under it, as packets: by the program, and by
// the slow twin, which is so held to what a reader can check by eye.
import { describe, expect, test } from "vitest";
import { judge } from "../reference/policy.ts";
import { lineOf, said } from "./agree.ts";
import { Cell } from "./cells.ts";
import { TRAFFIC, type Row } from "./table24.ts";
import { EVALUATION } from "./evaluation.ts";
import { NEIGHBOURS, RULES } from "./table24-more.ts";
import { Runner } from "./runner.ts";

const both = [...TRAFFIC, ...RULES, ...EVALUATION];
const cases: { family: 4 | 6; rows: Row[] }[] =
  [{ family: 4, rows: both }, { family: 6, rows: [...both, ...NEIGHBOURS] }];

describe.each(cases)("IPv$family", ({ family, rows }) => {
  const titled = rows.map((row) => [row.title, row] as const);
  test.each(titled)("policy-table: %s", async (_, { make, reason, at, by }) => {
    const cell = new Cell(family);
    const packet = make(cell);
    const judged = judge(cell.state, cell.devices, packet);
    const passes = ["Allowed", "Untracked", "NeighbourDiscovery"].includes(reason);
    expect(judged, "the twin").toMatchObject({ reason, verdict: passes ? "pass" : "drop" });
    if (at) expect(judged.stage).toBe(at);
    if (by) expect(judged.policy).toBe(by);
    const runner = new Runner();
    await runner.load(cell.state, cell.devices);
    const [outcome] = runner.frame([packet]);
    expect(outcome, "the program").toMatchObject({ reason, verdict: passes ? "pass" : "drop" });
    expect(lineOf(outcome!)).toBe(said(judged));
    expect(runner.dataplane.sessions().length).toBe(reason === "Allowed" && opens(packet) ? 1 : 0);
  });
});

/** Untracked packets, and ICMP other than echo requests, leave no session. */
function opens({ bytes }: { bytes: Uint8Array }): boolean {
  const [protocol, l4] = bytes[0]! >> 4 === 4 ? [bytes[9], 20] : [bytes[6], 40];
  const echo = protocol === 1 ? 8 : 128;
  return (protocol !== 1 && protocol !== 58) || bytes[l4] === echo;
}
