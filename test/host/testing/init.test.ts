// --init writes what is allowed today, and what it writes passes.
import { readFileSync, rmSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CommandError } from "../../../host/command-error.ts";
import { parseTestFile } from "../../../host/testing/testfile.ts";
import { Session } from "./session.ts";

let session: Session;
beforeAll(() => {
  session = new Session(true);
  for (const name of ["db", "shop"]) rmSync(session.path(`k8s/${name}.test.yaml`));
});
afterAll(() => session.remove());

describe("test-init: a test from what is allowed today", () => {
  test("it is written, says all, and passes", async () => {
    const { status, text } = await session.run(["k8s"], { init: true });
    expect(status).toBe(0);
    expect(text).toMatch(/^k8s\/policy.test.yaml: 5 tests, [\d,]+ flows, what is allowed today$/);
    const file = session.path("k8s/policy.test.yaml");
    const written = readFileSync(file, "utf8");
    const { tests } = parseTestFile(written, file);
    const entries = new Map(tests.map(({ name, only }) =>
      [name.replace("who may reach ", ""), only?.entries.map((entry) => entry.text)]));
    expect([...entries.keys()]).toEqual([
      "kube-system/kube-dns", "ops/toolbox", "shop/api", "shop/db", "shop/web"]);
    expect(entries.get("shop/api")).toEqual(["shop/web -> 8080/tcp"]);
    // The hole that the bad policy has: one of the two pods of web.
    expect(entries.get("shop/db")).toEqual(["ops/toolbox -> 22/tcp", "shop/api -> 5432/tcp",
      "shop/web-6f9c7d-4x2lp -> 5432/tcp"]);
    expect(entries.get("shop/web")).toContain("0.0.0.0/0 -> 8080/tcp");
    const run = await session.run(["k8s"]);
    expect([run.status, run.text]).toEqual([0, run.text]);
    expect(run.text).toContain("5 tests, 5 passed");
  });

  test("editors find its schema", () => {
    const file = session.path("k8s/policy.test.yaml");
    const schema = /^# yaml-language-server: \$schema=(.*)$/m.exec(readFileSync(file, "utf8"))![1]!;
    expect(resolve(dirname(file), schema)).toBe(resolve("docs/policytest.schema.json"));
  });

  test("it overwrites nothing, and wants one folder with pods", async () => {
    await expect(session.run(["k8s"], { init: true })).rejects.toThrow(
      /policy.test.yaml is there already/);
    await expect(session.run(["k8s", "k8s"], { init: true })).rejects.toThrow(CommandError);
    await expect(session.run(["-"], { init: true })).rejects.toThrow(/name one folder/);
  });
});
