// The manifests and tests of test/fixtures/session in a folder of a test's own, and `margay test`
// run there: its lines, its complaints, its status.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { vi } from "vitest";
import type { TestOptions } from "../../../host/testing/command.ts";
import { runTest } from "../../../host/testing/run.ts";

const FIXTURES = "test/fixtures/session";

export class Session {
  readonly folder = mkdtempSync(join(tmpdir(), "margay-session-"));

  /** `bad`: the database's policy lets a page in. */
  constructor(bad = false) {
    cpSync(join(FIXTURES, "k8s"), this.path("k8s"), { recursive: true });
    cpSync(join(FIXTURES, "lockdown.yaml"), this.path("lockdown.yaml"));
    if (bad) cpSync(join(FIXTURES, "bad/db.yaml"), this.path("k8s/db.yaml"));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  write(name: string, text: string): string {
    writeFileSync(this.path(name), text);
    return this.path(name);
  }

  read(name: string): string {
    return readFileSync(this.path(name), "utf8");
  }

  /** Paths are of the folder, in and out. */
  async run(paths: string[], options: Partial<TestOptions> = {}): Promise<{
    status: number; lines: string[]; text: string; complaint: string;
  }> {
    const lines: string[] = [];
    const complaints: string[] = [];
    const spy = vi.spyOn(console, "error").mockImplementation((text: string) => {
      complaints.push(text);
    });
    try {
      const given = paths.map((path) => path === "-" ? path : this.path(path));
      const status = await runTest(given, { reporter: "default", ...options },
        (text) => lines.push(...this.plain(text).split("\n")));
      const text = lines.join("\n");
      return { status, lines, text, complaint: this.plain(complaints.join("\n")) };
    } finally {
      spy.mockRestore();
    }
  }

  plain(text: string): string {
    return stripVTControlCharacters(text).replaceAll(`${this.folder}/`, "");
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What changes from run to run, made the same. */
export function steady(text: string): string {
  return text.replace(/\d+ ms/g, "N ms").replace(/\d+\.\d s/g, "N s")
    .replace(/core [0-9a-f]{7}/g, "core 0000000");
}
