// Bare policy programs at random, against their slow twin: every field of Felix's rules, both
// families, and as many at once as the demand says.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { runPrograms } from "../../../host/cluster/programs.ts";
import {
  judgeBare, type BareAnswer, type BarePacket, type BarePolicy, type BareProgram, type BareRule,
} from "../../reference/bareprogram.ts";
import { seedOf } from "../../seed.ts";

const folder = mkdtempSync(join(tmpdir(), "margay-programs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const PROGRAMS = 1500, PACKETS = 24;
/** CPU time, whatever else the machine does. */
const SECONDS_MAX = 10;

class Dice {
  constructor(private state: number) {}

  below(count: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % count;
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
  some<T>(most: number, make: () => T, least = 0): T[] {
    return Array.from({ length: least + this.below(most - least + 1) }, make);
  }
}

function program(dice: Dice, index: number): BareProgram {
  const version = dice.below(3) === 0 ? 6 : 4;
  const address = (family = version): string => family === 4
    ? `10.${dice.below(2)}.${dice.below(2)}.${dice.below(6)}`
    : `fd00::${dice.below(2)}:${dice.below(6)}`;
  const net = (): string => {
    const family = dice.below(8) === 0 ? 10 - version : version;
    return family === 4
      ? dice.pick([`10.${dice.below(2)}.0.0/16`, `10.0.${dice.below(2)}.0/24`,
        `${address(4)}/32`, "0.0.0.0/0", address(4), "10.0.0.0/30"])
      : dice.pick(["fd00::/16", `fd00::${dice.below(2)}:0/112`, `${address(6)}/128`, "::/0"]);
  };
  const ipsets: Record<string, string[]> = {};
  for (const id of ["s0", "s1", "s2"]) ipsets[id] = dice.some(5, () => net());
  for (const id of ["n0", "n1"]) {
    ipsets[id] = dice.some(8, () =>
      `${address()},${dice.pick(["tcp", "udp", "sctp", "6"])}:${80 + dice.below(3)}`);
  }
  const policy = (name: string): BarePolicy =>
    ({ name, rules: dice.some(4, () => rule(dice, net)) });
  const tier = (name: string): BareProgram["rules"]["tiers"][number] => ({
    name, end_action: dice.pick(["pass", "pass", "deny"] as const),
    policies: dice.some(2, () => policy(`${name}-${dice.below(100)}`)),
  });
  return {
    id: `p${index}`, ip_version: version, ipsets,
    rules: {
      tiers: Array.from({ length: dice.below(3) }, (_, t) => tier(`t${t}`)),
      profiles: dice.some(2, () => policy("profile"), 1),
    },
    packets: Array.from({ length: PACKETS }, (_, id) => packet(dice, id, version, address)),
  };
}

function rule(dice: Dice, net: () => string): BareRule {
  const made: BareRule = { action: dice.pick(["allow", "allow", "", "deny", "pass", "log"]) };
  const protocol = () => dice.below(2)
    ? { name: dice.pick(["tcp", "udp", "icmp", "icmpv6", "sctp", "TCP"]) }
    : { number: dice.pick([6, 17, 1, 58, 132, 89]) };
  const ports = () => dice.some(2, () => {
    const first = 78 + dice.below(6);
    return { first, last: first + dice.below(3) };
  }, 1);
  const sets = () => dice.some(2, () => `s${dice.below(3)}`, 1);
  const named = () => [`n${dice.below(2)}`];
  const nets = () => dice.some(3, net, 1);
  const maybe = (in1: number, field: string, make: () => unknown): void => {
    if (dice.below(in1) === 0) Object.assign(made, { [field]: make() });
  };
  maybe(10, "ip_version", () => dice.pick(["IPV4", "IPV6"]));
  maybe(3, "protocol", protocol);
  maybe(9, "not_protocol", protocol);
  for (const side of ["src", "dst"]) {
    maybe(5, `${side}_net`, nets);
    maybe(8, `not_${side}_net`, nets);
    maybe(7, `${side}_ip_set_ids`, sets);
    maybe(9, `not_${side}_ip_set_ids`, sets);
    maybe(6, `${side}_ports`, ports);
    maybe(9, `not_${side}_ports`, ports);
    maybe(9, `${side}_named_port_ip_set_ids`, named);
    maybe(12, `not_${side}_named_port_ip_set_ids`, named);
  }
  maybe(10, "dst_ip_port_set_ids", named);
  for (const not of ["", "not_"]) {
    // A oneof: with a code, or without.
    if (dice.below(2)) maybe(8, `${not}icmp_type`, () => dice.pick([0, 8, 3, 128]));
    else maybe(8, `${not}icmp_type_code`, () => ({ type: dice.pick([8, 3]), code: dice.below(2) }));
  }
  return made;
}

function packet(
  dice: Dice, id: number, version: 4 | 6, address: () => string,
): BarePacket {
  const protocol = dice.pick([6, 6, 17, 132, version === 4 ? 1 : 58, 89, 47]);
  const icmp = protocol === 1 || protocol === 58;
  return {
    id, protocol, src_ip: address(), src_port: 78 + dice.below(8), dst_ip: address(),
    dst_port: 78 + dice.below(8),
    ...(icmp ? { icmp_type: dice.pick(version === 4 ? [0, 8, 3, 5] : [128, 129, 1, 3]),
      icmp_code: dice.below(2) } : {}),
  };
}

test("verdict-programs-random: 1,500 as their slow twin says, within ten seconds", async () => {
  const seed = seedOf("PROGRAM_SEED");
  const dice = new Dice(seed);
  const programs = Array.from({ length: PROGRAMS }, (_, i) => program(dice, i));
  const file = join(folder, "programs.jsonl");
  writeFileSync(file, programs.map((each) => JSON.stringify(each)).join("\n"));

  const before = process.cpuUsage();
  let text = "";
  await runPrograms(file, "node", (piece) => {
    text += piece;
  });
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;

  const answers = text.trimEnd().split("\n").map((line) =>
    JSON.parse(line) as BareAnswer & { program: string; id: number });
  expect(answers).toHaveLength(PROGRAMS * PACKETS);
  let next = 0, allowed = 0;
  for (const each of programs) {
    for (const one of each.packets) {
      const wanted = judgeBare(each, one);
      if (wanted.verdict === "allow") allowed++;
      const said = answers[next++]!;
      if (said.verdict === wanted.verdict && said.rule === wanted.rule &&
        said.policy === wanted.policy && said.tier === wanted.tier) continue;
      expect.fail(`PROGRAM_SEED=${seed}: ${JSON.stringify({ wanted, said, one, each })}`);
    }
  }
  console.log(`programs: ${next} packets of ${PROGRAMS} programs agree, ${allowed} allowed, ` +
    `${seconds.toFixed(1)} s of CPU (seed ${seed})`);
  expect(allowed).toBeGreaterThan(0.15 * next);
  expect(seconds).toBeLessThan(SECONDS_MAX);
}, 300_000);
