// The control thread and the hash of the native engine, each by itself: compiled with a driver in C
// (test/native-control.c), which needs no Wasmtime.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const compiler = ["cc", "gcc", "clang"].find((each) =>
  spawnSync(each, ["--version"]).status === 0);

test.skipIf(!compiler || process.platform !== "linux")(
  "native-control: jobs that nobody waits for run in order; hashes are SHA-256", () => {
    const folder = mkdtempSync(join(tmpdir(), "margay-control-"));
    try {
      const program = join(folder, "control");
      const built = spawnSync(compiler!, [
        "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-Inative", "-pthread", "-o", program,
        "test/native-control.c", "native/control.c", "native/sha256.c",
      ], { encoding: "utf8" });
      expect(built.stderr).toBe("");
      const { stdout, status } = spawnSync(program, { encoding: "utf8", timeout: 20_000 });
      expect(status).toBe(0);
      const lines = stdout.trim().split("\n");
      const hash = (text: string) => createHash("sha256").update(text).digest("hex");
      // FIPS 180-4's own examples first.
      expect(lines.slice(0, 4)).toEqual([
        "empty e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "abc ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "two-blocks 248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        "million cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
      ]);
      expect(lines.slice(4, 16))
        .toEqual(Array.from({ length: 12 }, (_, i) => `edge ${hash("a".repeat(54 + i))}`));
      expect(lines.slice(16)).toEqual([
        "posted, finished 0",
        "done 0 answer 1 elsewhere 1",
        "done 1 answer 2 elsewhere 1",
        "done 2 answer 3 elsewhere 1",
        "run answers 4",
        "order 0 1 2 3",
        "cpus 1",
        "done 9 answer 10 elsewhere 1",
        "finished 4",
        "nowhere 0",
      ]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
