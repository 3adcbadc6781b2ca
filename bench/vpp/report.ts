// What the side-by-side bench says: rows, the table, the plot, the written result.
//
//   Measured (measure.ts) + targets.json ─► Row ─► --json | table | bench/results/<date>-vpp.*
//
// A target is the greatest margayClocks / peerClocks allowed. targets.json gives it as `ratio`; as
// `absolute`, a figure for Margay alone, which this run's peer makes a ratio of; or, for IPv6, as
// ipv6.ratio times this run's IPv4 figure. A row without a peer has peerClocks null, and its target
// is the greatest margayClocks.

import { readFileSync, writeFileSync } from "node:fs";
import type { Case } from "./cases.ts";
import type { Measured } from "./measure.ts";
import { median } from "./runtime.ts";

export interface Row {
  case: string;
  margayClocks: number | null;
  peerClocks: number | null;
  target: number | null;
  peer: string;
  ratio: number | null;
  /** Why there is no figure. */
  failed?: string;
  measured?: Measured;
}

interface Targets {
  vpp: { case: string; ratio?: number; absolute?: number }[];
  ipv6: { ratio: number };
}
const IPV6 = /, IPv6$/;
const ORDER = /, random order/;

export const round = (value: number, digits = 1): number => {
  const scale = 10 ** Math.max(digits, value < 10 ? digits + 1 : digits);
  return Math.round(value * scale) / scale;
};
const readTargets = (): Targets => JSON.parse(readFileSync("bench/targets.json", "utf8"));

/** The greatest ratio allowed; null where none can be said. */
function targetOf(name: string, measured: Measured | undefined, rows: Row[]): number | null {
  const targets = readTargets();
  const named = targets.vpp.find((each) => each.case === name)
    ?? targets.vpp.find((each) => each.case === name.replace(ORDER, ""));
  if (named?.ratio !== undefined) return named.ratio;
  if (named?.absolute !== undefined && measured) return round(named.absolute / measured.peer, 4);
  if (!IPV6.test(name) || !measured) return null;
  const without = name.replace(IPV6, "");
  const four = rows.find((row) => row.case === without)
    ?? rows.find((row) => row.case.replace(ORDER, "") === without && ORDER.test(row.case));
  if (!four?.margayClocks) return null;
  return round((targets.ipv6.ratio * four.margayClocks) / measured.peer, 3);
}

export function rowOf(each: Case, measured: Measured, rows: Row[]): Row {
  return {
    case: each.name, margayClocks: round(measured.margay), peerClocks: round(measured.peer),
    target: targetOf(each.name, measured, rows), peer: each.bed.peer,
    ratio: round(measured.ratio, 3), measured,
  };
}
export function failedRow(each: Case, error: unknown, rows: Row[]): Row {
  const failed = (error instanceof Error ? error.message : String(error)).split("\n")[0]!;
  return {
    case: each.name, margayClocks: null, peerClocks: null,
    target: targetOf(each.name, undefined, rows), peer: each.bed.peer, ratio: null, failed,
  };
}

/** What a policy costs a new flow: with it, less without. */
export function policyRows(rows: Row[]): Row[] {
  const find = (name: string) => rows.find((row) => row.case === name);
  const bare = find("new flow, no policy");
  return ["1,000 rules", "10,000 rules", "a set of 100,000 members"].flatMap((what): Row[] => {
    const with_ = find(`new flow, ${what}`);
    if (!bare?.margayClocks || !with_?.margayClocks) return [];
    const margay = round(with_.margayClocks - bare.margayClocks);
    const peer = round(with_.peerClocks! - bare.peerClocks!);
    const name = `policy part of a new flow, ${what}`;
    const absolute = readTargets().vpp.find((each) => each.case === name)?.absolute;
    return [{
      case: name, margayClocks: margay, peerClocks: peer, peer: with_.peer,
      target: absolute === undefined ? null : round(absolute / peer, 5),
      ratio: round(margay / peer, 4),
    }];
  });
}

const within = ({ ratio, target }: Row): string =>
  ratio === null ? "failed" : target === null ? "-" : ratio <= target ? "yes" : "no";
const text = (value: number | null): string => (value === null ? "-" : String(value));

export function table(rows: Row[]): string {
  const line = (cells: string[]): string => `| ${cells.join(" | ")} |`;
  const head = ["case", "margay", "peer", "peer is", "ratio", "target", "within"];
  return [
    line(head), line(head.map(() => "---")),
    ...rows.map((row) => line([
      row.case, text(row.margayClocks), text(row.peerClocks), row.peer, text(row.ratio),
      text(row.target), within(row),
    ])),
  ].join("\n");
}

export const jsonOf = (rows: Row[]): string => JSON.stringify({
  rows: rows.map(({ case: name, margayClocks, peerClocks, target }) =>
    ({ case: name, margayClocks, peerClocks, target })),
});

/** Clocks by node, medians over the turns. */
function nodesOf({ turns }: Measured): string[] {
  return (["margay", "peer"] as const).flatMap((side) =>
    Object.keys(turns[0]?.[side].path.nodes ?? {}).map((name) =>
      `- ${name}: ${round(median(turns.map((each) => each[side].path.nodes[name] ?? 0)))}`));
}

function details(row: Row): string {
  if (!row.measured) return `## ${row.case}\n\n${row.failed ?? "Made of the rows above."}`;
  const { compared, turns, note } = row.measured;
  const said = turns.map(({ margay, peer, load }) =>
    `${round(margay.path.clocks)} / ${round(peer.path.clocks)} (${round(margay.yardstick)}, `
      + `${round(peer.yardstick)}; ${load.toFixed(2)})`);
  const calls = turns.length
    ? `Vectors a call: ${round(median(turns.map((each) => each.margay.path.vectorsPerCall)))} and `
      + `${round(median(turns.map((each) => each.peer.path.vectorsPerCall)))}.` : "";
  return [
    `## ${row.case}`, "", `Compared first: ${compared}.`, ...(note ? ["", `${note}.`] : []),
    ...(turns.length ? ["", ...nodesOf(row.measured), "", calls, "",
      `Rounds, margay / ${row.peer} (yardsticks; load): ${said.join(", ")}.`] : []),
  ].join("\n");
}

// ---- The plot -----------------------------------------------------------------------------------

const BAR = 14, GAP = 12, LEFT = 400, WIDE = 520, RIGHT = 150, TOP = 56;
const INK = "#1b1b1b", GREY = "#6b7280", MARGAY = "#c2410c", PEER = "#94a3b8", LINE = "#e5e7eb";
const escaped = (value: string): string =>
  value.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** Bars on a logarithmic scale, the target as a mark across the peer's bar. */
export function plot(rows: Row[], title: string): string {
  const shown = rows.filter((row) => row.margayClocks && row.peerClocks && row.margayClocks > 0);
  const values = shown.flatMap((row) => [row.margayClocks!, row.peerClocks!]);
  const low = 10 ** Math.floor(Math.log10(Math.min(...values, 10)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...values, 100)));
  const x = (value: number): number =>
    LEFT + (WIDE * Math.log(Math.max(value, low) / low)) / Math.log(high / low);
  const step = 2 * BAR + GAP, bottom = TOP + shown.length * step;
  const out: string[] = [];
  for (let tick = low; tick <= high; tick *= 10) {
    out.push(`<path d="M${x(tick)} ${TOP - 8}V${bottom}" stroke="${LINE}"/>`,
      `<text x="${x(tick)}" y="${TOP - 14}" fill="${GREY}" text-anchor="middle">`
        + `${tick.toLocaleString("en")}</text>`);
  }
  shown.forEach((row, i) => {
    const y = TOP + i * step;
    const bar = (value: number, at: number, fill: string, label: string): string =>
      `<rect x="${LEFT}" y="${at}" width="${Math.max(x(value) - LEFT, 1).toFixed(1)}" `
        + `height="${BAR}" fill="${fill}"/><text x="${(x(value) + 5).toFixed(1)}" `
        + `y="${at + 11}" fill="${INK}">${escaped(label)}</text>`;
    out.push(
      `<text x="${LEFT - 8}" y="${y + BAR + 4}" fill="${INK}" text-anchor="end">`
        + `${escaped(row.case)}</text>`,
      bar(row.margayClocks!, y, MARGAY, String(row.margayClocks)),
      bar(row.peerClocks!, y + BAR, PEER, `${row.peerClocks}  ${row.peer}`),
    );
    if (row.target === null) return;
    const at = x(row.target * row.peerClocks!).toFixed(1);
    out.push(`<path d="M${at} ${y - 2}v${2 * BAR + 4}" stroke="${INK}" stroke-dasharray="3 2"/>`);
  });
  const width = LEFT + WIDE + RIGHT, height = bottom + 28;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" `
      + `viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="20" font-size="15" fill="${INK}">${escaped(title)}</text>`, ...out,
    `<text x="12" y="${height - 8}" fill="${GREY}">orange: Margay; grey: the peer; dashed: the `
      + "greatest figure allowed; logarithmic scale</text>", "</svg>", "",
  ].join("\n");
}

export function writeResult(
  path: string, facts: Record<string, unknown>, rows: Row[], sections: string[],
): void {
  writeFileSync(`${path}.json`, `${JSON.stringify({ ...facts, rows }, null, 1)}\n`);
  writeFileSync(`${path}.svg`, plot(rows, "Margay beside VPP's own plugins: clocks a packet"));
  const said = Object.entries(facts).map(([name, value]) => `${name}: ${value}`).join("\n");
  const name = path.slice(path.lastIndexOf("/") + 1);
  writeFileSync(`${path}.md`, [
    "# Beside VPP's own plugins, in one VPP: clocks a packet, medians", "", table(rows), "",
    `![The same as bars](${name}.svg)`, "", "```", said, "```", "", ...sections,
    rows.map(details).join("\n\n"), "",
  ].join("\n"));
}
