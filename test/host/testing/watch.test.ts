// --watch: a change of a manifest, or of a test, runs the tests again.
import { cpSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { watchTests } from "../../../host/testing/watch.ts";
import { runOnce } from "../../../host/testing/run.ts";
import { Session } from "./session.ts";

const WAIT_MS = 30_000;
let session: Session;
afterEach(() => session.remove());

test("test-watch: a manifest that changes runs the tests again", async () => {
  session = new Session();
  const paths = [session.path("k8s")];
  const stop = new AbortController();
  const statuses: number[] = [];
  let told: () => void = () => {};
  const run = async (): Promise<number> => {
    const status = await runOnce(paths, { reporter: "default" }, undefined, () => {});
    statuses.push(status);
    return status;
  };
  const say = (text: string): void => {
    if (/watching .*k8s/.test(text)) told();
  };
  const watching = (): Promise<void> => new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no run; so far ${statuses}`)), WAIT_MS);
    told = () => {
      clearTimeout(late);
      resolve();
    };
  });
  const first = watching();
  const ended = watchTests(paths, run, say, { signal: stop.signal });
  await first;
  const second = watching();
  cpSync("test/fixtures/session/bad/db.yaml", session.path("k8s/db.yaml"));
  await second;
  const third = watching();
  session.write("k8s/db.test.yaml", "kind: PolicyTest\ntests: 5\n");
  await third;
  stop.abort();
  expect(await ended).toBe(2);
  // A copy may be seen while it is being written; what counts is where it ends.
  expect([statuses[0], statuses.at(-1)]).toEqual([0, 2]);
  expect(statuses).toContain(1);
});
