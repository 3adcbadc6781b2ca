// npm run bench:nat: what sessions, Services and Maglev cost, in one run: nanoseconds a packet by
// flows, rules, members and Services, of new and of established flows, in Node, in the native
// engine and in the C twin where they are, by turns; Services published and changed; ageing; memory
// a connection; Maglev's tables; and which flows move when a node goes (nat/nodes.ts).
//
//   npm run bench:nat -- [--small] [--only flows,rules,members,services,figures,maglev,nodes]
//                        [--rounds 9] [--flows 1,10000,1000000] [--nodes 1000000] [--json]
//                        [--core build/margay.wasm]
//
// Results of all engines are hashed and must be equal. Medians; what is timed is the program alone,
// not copying frames in. Written to bench/results/<date>-nat.{json,md}, but not with --small or
// --only.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { commitOf } from "./commit.ts";
import { TWIN_FLAGS } from "./native.ts";
import {
  bedsByFlows, bedsByMembers, bedsByRules, bedsByServices, bedsOfTcp,
} from "./nat/beds.ts";
import { nativeMissing } from "./nat/engine.ts";
import { ageing, memoryOf, publishing, type Figure } from "./nat/figures.ts";
import { moves, type Begun } from "./nat/moves.ts";
import { rows, type BedSpec, type Row } from "./nat/rows.ts";
import { maglevFigures } from "./nat/tables.ts";
import { twinMissing } from "./nat/twin.ts";

export interface Sizes {
  flows: number[];
  /** Of the rows of rules, members, Services. */
  newFlows: number;
  rules: number[];
  members: number[];
  services: number[];
  /** Packets of a pass over established flows. */
  packets: number;
  rounds: number;
  published: number;
  changes: number;
  aged: [number, number];
  memory: number;
  slotsMax: number;
  /** Flows begun before the change across nodes, and as many after it. */
  acrossNodes: number;
  podsPerNode: number;
}
export const LARGE: Sizes = {
  flows: [1, 10_000, 1_000_000], newFlows: 20_480, rules: [0, 10, 100, 1000, 10_000],
  members: [1, 1000, 100_000, 1_000_000], services: [1, 100, 1000, 10_000], packets: 262_144,
  rounds: 9, published: 10_000, changes: 500, aged: [10_000, 1_000_000], memory: 1_000_000,
  slotsMax: 655_373, acrossNodes: 1_000_000, podsPerNode: 12,
};
export const SMALL: Sizes = {
  flows: [1, 500], newFlows: 512, rules: [0, 10, 100], members: [1, 300], services: [1, 20],
  packets: 512, rounds: 2, published: 50, changes: 10, aged: [300, 3000], memory: 5000,
  slotsMax: 1999, acrossNodes: 2000, podsPerNode: 5,
};
export const SECTIONS = [
  "flows", "rules", "members", "services", "figures", "maglev", "nodes",
] as const;
export type Section = (typeof SECTIONS)[number];

export interface Results {
  rows: Row[];
  figures: Figure[];
}

export async function nat(
  core: Uint8Array, sizes: Sizes, sections: readonly Section[] = SECTIONS,
): Promise<Results> {
  const options = { core, rounds: sizes.rounds, packets: sizes.packets };
  const has = (section: Section): boolean => sections.includes(section);
  const beds: [Section, () => BedSpec[]][] = [
    ["flows", () => [...bedsByFlows(sizes.flows), ...bedsOfTcp(sizes.newFlows)]],
    ["rules", () => bedsByRules(sizes.rules, sizes.newFlows)],
    ["members", () => bedsByMembers(sizes.members, sizes.newFlows)],
    ["services", () => bedsByServices(sizes.services, sizes.newFlows)],
  ];
  const found: Results = { rows: [], figures: [] };
  for (const [section, specs] of beds) {
    if (has(section)) found.rows.push(...await rows(specs(), options));
  }
  if (has("figures")) {
    found.figures.push(
      ...await publishing(core, sizes.published, sizes.changes, Math.min(sizes.rounds, 5)),
      ...await ageing(core, sizes.aged, sizes.rounds),
      ...await memoryOf(core, 4, sizes.memory), ...await memoryOf(core, 6, sizes.memory),
    );
  }
  if (has("maglev")) found.figures.push(...maglevFigures(core, sizes.rounds, sizes.slotsMax));
  if (has("nodes")) {
    for (const pushes of [1, 2] as const) {
      found.figures.push(...await nodesFigures(core, sizes, pushes));
    }
  }
  return found;
}

async function nodesFigures(
  core: Uint8Array, sizes: Sizes, pushes: 1 | 2,
): Promise<Figure[]> {
  const { acrossNodes: flows, podsPerNode } = sizes;
  const { before, after, changedSlots } = await moves({ core, flows, podsPerNode, pushes });
  const share = changedSlots.living * 100;
  const told = pushes === 1 ? "in one push" : "in two pushes";
  const of = (when: string, begun: Begun, target: number): Figure[] => figuresOf(
    `${when} a backend came and a node went, ${told}`, begun, target,
  );
  return [
    ...of("before", before, 0), ...of("after", after, share),
    { name: `changed slots, of those whose backend lives, ${told}`, value: share, unit: "%" },
    { name: `changed slots, of all, ${told}`, value: changedSlots.all * 100, unit: "%" },
  ];
}
function figuresOf(what: string, begun: Begun, target: number): Figure[] {
  return [
    { name: `flows begun ${what}`, value: begun.flows, unit: "" },
    { name: `flows begun ${what}: backend lives`, value: begun.living, unit: "" },
    { name: `flows begun ${what}: came to a node that did not know them`, value: begun.unseen,
      unit: "" },
    { name: `flows begun ${what}: dropped though their backend lives`, value: begun.dropped,
      unit: "", target: 0 },
    { name: `flows begun ${what}: passed on by two nodes`, value: begun.passedOnTwice, unit: "",
      target: 0 },
    { name: `flows begun ${what}: moved, of those whose backend lives`,
      value: (begun.moved / begun.living) * 100, unit: "%", target },
  ];
}

// ---- Print --------------------------------------------------------------------------------------

const line = (cells: string[]): string => `| ${cells.join(" | ")} |`;
function rowTable(all: Row[]): string {
  const engines = ["node", "native", "twin"];
  const ns = (by: Record<string, number>): string[] =>
    engines.map((name) => by[name]?.toFixed(1) ?? "-");
  return [
    line(["case", ...engines.map((name) => `new, ${name}`), "native / twin",
      ...engines.map((name) => `established, ${name}`), "native / twin", "hash"]),
    line(new Array<string>(10).fill("---")),
    ...all.map((row) => line([
      row.name, ...ns(row.opening), row.ratio.opening?.toFixed(2) ?? "-", ...ns(row.established),
      row.ratio.established?.toFixed(2) ?? "-", row.hash,
    ])),
  ].join("\n");
}
function figureTable(all: Figure[]): string {
  const text = (value: number): string =>
    Number.isInteger(value) ? value.toLocaleString("en") : value.toFixed(value < 10 ? 3 : 1);
  return [
    line(["what", "value", "at most", "others, before"]), line(["---", "---", "---", "---"]),
    ...all.map(({ name, value, unit, target, reference }) => line([
      name, `${text(value)} ${unit}`.trim(),
      ...[target, reference].map((each) => (each === undefined ? "-" : text(each))),
    ])),
  ].join("\n");
}
export async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      small: { type: "boolean", default: false }, only: { type: "string" },
      rounds: { type: "string" }, nodes: { type: "string" }, flows: { type: "string" },
      core: { type: "string", default: "build/margay.wasm" },
      json: { type: "boolean", default: false },
    },
  });
  const wanted = values.only?.split(",") ?? [...SECTIONS];
  const unknown = wanted.find((name) => !SECTIONS.some((section) => section === name));
  if (unknown !== undefined) {
    throw new Error(`--only: "${unknown}" is none of ${SECTIONS.join(", ")}`);
  }
  const base = values.small ? SMALL : LARGE;
  const sizes: Sizes = {
    ...base, rounds: Number(values.rounds ?? base.rounds),
    flows: values.flows?.split(",").map(Number) ?? base.flows,
    acrossNodes: Number(values.nodes ?? base.acrossNodes),
  };
  const core = new Uint8Array(readFileSync(values.core));
  const started = performance.now();
  const loadAtStart = loadavg().map((each) => each.toFixed(2)).join(" ");
  const found = await nat(core, sizes, wanted as Section[]);
  const skipped = nativeMissing() ?? twinMissing();
  const facts = {
    date: new Date().toISOString().slice(0, 10),
    commit: commitOf("assembly", "native", "host", "bench"),
    core: createHash("sha256").update(core).digest("hex").slice(0, 12),
    machine: `${cpus()[0]!.model.trim()}, ${cpus().length} cores`, node: process.version,
    twin: `cc ${TWIN_FLAGS.join(" ")}`, loadAtStart,
    command: ["npm run bench:nat --", ...args].join(" ").trim(),
    seconds: Math.round((performance.now() - started) / 1000),
    ...(skipped === undefined ? {} : { skipped }),
  };
  const said = Object.entries(facts).map(([name, value]) => `${name}: ${value}`).join("\n");
  const tables = [
    ...(found.rows.length ? [rowTable(found.rows)] : []),
    ...(found.figures.length ? [figureTable(found.figures)] : []),
  ].join("\n\n");
  if (!values.small && wanted.length === SECTIONS.length) {
    mkdirSync("bench/results", { recursive: true });
    const path = `bench/results/${facts.date}-nat`;
    writeFileSync(`${path}.json`, `${JSON.stringify({ ...facts, ...found }, null, 2)}\n`);
    const title = "# Sessions, Services, Maglev: ns a packet and figures, medians";
    writeFileSync(`${path}.md`, `${title}\n\n${tables}\n\n\`\`\`\n${said}\n\`\`\`\n`);
  }
  console.log(values.json ? JSON.stringify({ ...facts, ...found }) : `${tables}\n\n${said}`);
}
