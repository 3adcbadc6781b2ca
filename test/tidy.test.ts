// Style is a test: sizes, names, who may import what, freshness of what is printed, and
// that documents name what exists.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";
import { parseDemands } from "./demands.ts";

const FILE_LINES_MAX = 400;
const LINE_CHARACTERS_MAX = 100;
const SOURCES = /\.(ts|mjs|c|h|cc|rs)$/;
const FOLDERS = /^(assembly|host|native|vpp-plugin|test|bench|examples|scripts)\//;
/** Files that a program prints. */
const PRINTED = new Set(["native/layout.h", "host/input/felixbackend_pb.ts"]);

const tracked = execFileSync("git", ["ls-files", "-co", "--exclude-standard"], { encoding: "utf8" })
  .split("\n").filter((path) => path !== "" && existsSync(path));
const sources = tracked.filter((path) => SOURCES.test(path) && FOLDERS.test(path));
const lines = (path: string): string[] => readFileSync(path, "utf8").split("\n");

/** What each room may import, beside itself and assembly/layout.ts. */
const MAY_IMPORT: Record<string, string[]> = {
  "host/model": [],
  "host/dataplane": ["host/model"],
  "host/compile": ["host/model", "host/dataplane"],
  "host/input": ["host/model"],
  "host/calc": ["host/model"],
  "host/observe": ["host/model", "host/dataplane"],
  "host/module": [
    "host/model", "host/dataplane", "host/compile", "host/calc", "host/input", "host/replay",
  ],
  // A package by itself: see also test/host/vpp/alone.test.ts.
  "host/vpp/api": [],
  "host/check": ["host/model", "host/input", "host/calc", "host/module", "host/cluster"],
  "host/agent": [
    "host/model", "host/dataplane", "host/compile", "host/calc", "host/input", "host/module",
    "host/vpp", "host/vpp/api",
  ],
  "host/cluster": [
    "host/model", "host/dataplane", "host/compile", "host/calc", "host/input", "host/module",
    "host/observe",
  ],
};
/** Beside the rooms: what every command may fall back on. */
const ANYWHERE = new Set([
  "assembly/layout.ts", "assembly/formats.ts", "host/command-error.ts", "host/folder.ts",
]);
const room = (path: string): string => {
  const [top, second] = path.split("/") as [string, string];
  if (path.startsWith("host/vpp/api/")) return "host/vpp/api";
  return top === "host" && path.split("/").length > 2 ? `host/${second}` : top;
};

describe("house-tidy:", () => {
  test("there are sources to look at", () => {
    expect(sources.length).toBeGreaterThan(50);
  });

  test.each(sources.filter((path) => !PRINTED.has(path)))("%s", (path) => {
    const all = lines(path);
    expect(all.length, `${path}: lines`).toBeLessThanOrEqual(FILE_LINES_MAX + 1);
    all.forEach((line, i) => {
      expect(line.length, `${path}:${i + 1}: characters`).toBeLessThanOrEqual(LINE_CHARACTERS_MAX);
    });
    expect(basename(path)).not.toMatch(/util|helper|common|manager/i);
    const opens = all.find((line) => line.trim() !== "" && !line.startsWith("#!"));
    expect(opens, `${path}: opens with what it is`).toMatch(/^(\/\/|\/\*|#)/);
  });

  test("no file waits to be finished", () => {
    const waiting = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "HA" + "CK"].join("|")})\\b`);
    for (const path of sources) {
      lines(path).forEach((line, i) => expect(`${path}:${i + 1} ${line}`).not.toMatch(waiting));
    }
  });

  test("the packet program imports nothing of its hosts", () => {
    for (const path of sources.filter((each) => each.startsWith("assembly/"))) {
      for (const target of imports(path)) expect(target).toMatch(/^assembly\//);
    }
  });

  test("a lower stage imports nothing of a higher one", () => {
    for (const path of sources.filter((each) => each.startsWith("host/"))) {
      const allowed = MAY_IMPORT[room(path)];
      if (!allowed) continue;
      for (const target of imports(path)) {
        const to = room(target);
        const fine = ANYWHERE.has(target) || to === room(path) || allowed.includes(to);
        expect(fine, `${path} imports ${target}`).toBe(true);
      }
    }
  });

  test("only the engine knows Wasmtime, and C knows no policy", () => {
    for (const path of sources.filter((each) => /\.(c|h|cc)$/.test(each))) {
      const text = readFileSync(path, "utf8");
      if (!/native\/engine\.[ch]$/.test(path)) expect(text, path).not.toMatch(/#include.*<wasm/);
    }
  });
});

/** The project's own files that a source imports. */
function imports(path: string): string[] {
  const text = readFileSync(path, "utf8");
  return [...text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map(([, target]) => {
    const to = normalize(join(dirname(path), target!));
    return /\.(ts|mjs|json)$/.test(to) ? to : `${to}.ts`;
  });
}

test("layout-fresh: native/layout.h is what assembly/layout.ts prints", () => {
  const { status, stderr } = spawnSync("node", ["scripts/layout.mjs", "--check"], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
});

test("house-docs: the README's two lines are there, and what documents name exists", () => {
  const readme = readFileSync("README.md", "utf8");
  expect(readme).toContain("npm ci && npm start");
  expect(readme).toContain("npm ci && npm test");
  const scripts = JSON.parse(readFileSync("package.json", "utf8")).scripts as object;
  for (const page of tracked.filter((path) => path.endsWith(".md"))) {
    const text = readFileSync(page, "utf8");
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      expect(existsSync(join(dirname(page), link!)), `${page} names ${link}`).toBe(true);
    }
    for (const [, script] of text.matchAll(/npm run ([a-z:-]+)/g)) {
      expect(Object.keys(scripts), `${page} names npm run ${script}`).toContain(script);
    }
  }
});

test("demands are well formed, and each is carried by some test file", () => {
  const demands = parseDemands(readFileSync("test/demands.txt", "utf8"));
  const titles = sources.filter((path) => path.endsWith(".test.ts"))
    .map((path) => readFileSync(path, "utf8")).join("\n");
  for (const { id } of demands) expect(titles).toContain(`${id}:`);
});

test("omit-dev-says: prepare without the dev dependencies says so and does not fail", () => {
  const folder = mkdtempSync(join(tmpdir(), "margay-"));
  try {
    execFileSync("cp", ["-r", "scripts", "package.json", folder]);
    const { status, stderr } = spawnSync("node", ["scripts/build.mjs"], {
      cwd: folder, encoding: "utf8", env: { ...process.env, npm_lifecycle_event: "prepare" },
    });
    expect(status).toBe(0);
    expect(stderr).toMatch(/assemblyscript and esbuild missing.*--omit=dev/);
    expect(stderr).toContain("npm ci && npm run build");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("native-says: build:native names what it needs where a tool is missing", () => {
  const run = (...more: string[]) => spawnSync(
    process.execPath, ["scripts/build-native.mjs", ...more],
    { encoding: "utf8", env: { PATH: "/nonexistent", HOME: process.env["HOME"] } },
  );
  const strict = run();
  expect(strict.status).not.toBe(0);
  expect(strict.stdout + strict.stderr).toMatch(/cargo/);
  const lenient = run("--if-possible");
  expect(lenient.status).toBe(0);
  expect(lenient.stdout).toMatch(/native: skipped.*cargo/);
});
