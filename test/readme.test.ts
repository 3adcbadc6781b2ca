// What the README shows is what its commands print: each `$ npx margay …` line is run, and every
// line below it has to be in the output, up to times, the core's hash, the engines that are here
// and the widths of columns.
import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { ENGINES } from "../host/replay/engines.ts";
import { buildCommand, type Run } from "./command.ts";

interface Session {
  command: string;
  shown: string[];
}

/** Commands of the fenced blocks, with what stands below each. */
function sessions(page: string): Session[] {
  const found: Session[] = [];
  for (const [, block] of page.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)) {
    for (const line of block!.split("\n")) {
      if (line.startsWith("$ npx margay ")) found.push({ command: line.slice(13), shown: [] });
      else if (line !== "" && line !== " …") found.at(-1)?.shown.push(line);
    }
  }
  return found.filter(({ shown }) => shown.length > 0);
}

function plain(line: string): string {
  return line.replace(/\d+(\.\d+)? m?s\b/g, "TIME").replace(/core [0-9a-f]{7}/, "core HASH")
    .replace(/\s+/g, " ").trim();
}

/** As a shell splits it, for what the README has: double quotes and blanks. */
function words(command: string): string[] {
  return [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);
}

let margay: (...args: string[]) => Run;
beforeAll(async () => {
  margay = await buildCommand("readme");
});

const all = sessions(readFileSync("README.md", "utf8"));
test("readme-runs: the README has sessions", () => {
  expect(all.length).toBeGreaterThanOrEqual(4);
});

test.each(all)("readme-runs: npx margay $command", ({ command, shown }) => {
  const run = margay(...words(command));
  expect(run.error).toBe("");
  expect(run.status).toBe(0);
  const printed = new Set(run.lines.map(plain));
  for (const line of shown) {
    const absent = ENGINES.find(({ name }) => line.startsWith(`node and ${name}:`))?.absent();
    if (absent === undefined) expect(printed, line).toContain(plain(line));
  }
}, 120_000);
