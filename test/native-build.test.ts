// The native engine's sources and their building: the printed header, warnings, what is missing.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Reason, StageError } from "../assembly/layout.ts";
// @ts-expect-error a plain script
import { header, kebab, staleAt } from "../scripts/layout.mjs";

const has = (command: string): boolean => spawnSync(command, ["--version"]).status === 0;

test("layout-fresh: native/layout.h is what assembly/layout.ts prints", async () => {
  const wanted: string = await header();
  expect(staleAt(wanted, readFileSync("native/layout.h", "utf8")), "run npm run layout").toBe(0);
  expect(staleAt(wanted, wanted.replace("MARGAY_WORKERS_MAX 16u", "MARGAY_WORKERS_MAX 8u")))
    .toBeGreaterThan(1);
  expect(staleAt(wanted, `${wanted}more`)).toBeGreaterThan(1);
  for (const [name, value] of Object.entries({ ...Reason, ...StageError })) {
    if (typeof value !== "number") continue;
    expect(wanted).toContain(`"${kebab(name)}"`);
  }
  expect(wanted).toContain(`MARGAY_REASON_CORE_TRAPPED = ${Reason.CoreTrapped},`);
});

describe.each(["gcc", "clang"])("%s", (compiler) => {
  test.skipIf(!has(compiler) || !existsSync("build/native/wasmtime/include"))(
    "native-engine: the C sources compile without a warning", () => {
      for (const source of ["control", "dataplane", "engine", "push", "sentence",
        "sessions", "sha256"]) {
        const { status, stderr } = spawnSync(compiler, [
          "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-Inative",
          "-isystem", "build/native/wasmtime/include", `native/${source}.c`,
        ], { encoding: "utf8" });
        expect(stderr).toBe("");
        expect(status).toBe(0);
      }
    });
});

describe("native-says", () => {
  /** Runs the build where only these commands are found. */
  function build(commands: string[], ...options: string[]) {
    const bin = mkdtempSync(join(tmpdir(), "margay-tools-"));
    try {
      for (const command of commands) {
        const path = spawnSync("which", [command], { encoding: "utf8" }).stdout.trim();
        if (path) symlinkSync(path, join(bin, command));
      }
      return spawnSync(process.execPath, ["scripts/build-native.mjs", ...options], {
        encoding: "utf8", env: { PATH: bin },
      });
    } finally {
      rmSync(bin, { recursive: true });
    }
  }

  test("native-says: what is missing is named, with how to get it, and the build fails", () => {
    const { status, stdout, stderr } = build(["cc", "ar"]);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^native: ar: GNU ar/m);
    expect(stderr).toMatch(/^native: needs cargo, cmake, c\+\+: Rust and cargo from https:/m);
  });

  test("native-says: if it is only wanted where possible, one line says what is missing", () => {
    const { status, stdout, stderr } = build([], "--if-possible");
    expect({ status, stdout, stderr }).toEqual({
      status: 0, stderr: "",
      stdout: "native: skipped (no cargo, no cmake, no cc, no c++, no ar)\n",
    });
  });
});
