// `margay check` as people run it: a process of its own, its exit status, what goes where.
import { spawnSync } from "node:child_process";
import { beforeAll, expect, test } from "vitest";
import { buildCommand, type Run } from "../../command.ts";
import { folderOf, object, policy } from "../input/files.ts";

let command: (...args: string[]) => Run;

beforeAll(async () => {
  command = await buildCommand("check");
});

const FINE = object("v1", "Namespace", "", "");

test("check-command: what is wrong goes to stdout and makes exit 1; nothing to check is 2", () => {
  const wrong = command("check", folderOf({ "a.yaml": policy("ingres: []") }));
  expect([wrong.status, wrong.error]).toEqual([1, ""]);
  expect(wrong.lines[0]).toMatch(/a\.yaml:7:3 {2}error {4}NetworkPolicy shop\/x {2}spec\.ingres$/);
  expect(wrong.lines.at(-2)).toBe("1 error in 1 file (1 object)");

  const fine = command("check", folderOf({ "a.yaml": FINE }), "--strict");
  expect([fine.status, fine.text]).toEqual([0, "no errors, no warnings in 1 file (1 object)\n"]);

  const folder = folderOf({ "a.tpl": "" });
  const nothing = command("check", folder);
  expect([nothing.status, nothing.text]).toEqual([2, ""]);
  expect(nothing.error).toBe(`margay: no manifests in ${folder} (0 YAML files; 1 *.tpl: render ` +
    "Helm first: helm template . | margay check -)\n");
});

test("check-command: a format that isn't there and no paths are told as usage", () => {
  expect(command("check", ".", "--format", "xml")).toMatchObject({ status: 2, text: "" });
  expect(command("check").error).toMatch(/missing required argument 'paths'/);
});

test("check-command: stdin and pipes are read", () => {
  const run = (script: string, input: string): string => {
    const cli = "node build/test-cli-check/cli.js check";
    const { stdout, stderr } = spawnSync("bash", ["-c", script.replace("CHECK", cli)],
      { input, encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
    return stdout + stderr;
  };
  expect(run("CHECK -", FINE)).toBe("no errors, no warnings in 1 file (1 object)\n");
  expect(run("cat | CHECK -", policy("ingres: []"))).toMatch(/^stdin:7:3 {2}error/);
  expect(run("CHECK <(cat)", policy("ingres: []"))).toMatch(/^\/dev\/fd\/\d+:7:3 {2}error/);
});
