// The command as people run it: bundled from the sources once a test file, run in a process of its
// own, without colours.
import { spawnSync } from "node:child_process";
import { build } from "esbuild";

export interface Run {
  status: number | null;
  lines: string[];
  text: string;
  error: string;
}

/** Bundles host/cli.ts below build/; `name` keeps test files that run at once apart. */
export async function buildCommand(name: string): Promise<(...args: string[]) => Run> {
  const folder = `build/test-cli-${name}`;
  await build({
    entryPoints: ["host/cli.ts"], outdir: folder, bundle: true, splitting: true,
    format: "esm", platform: "node", packages: "external", logLevel: "silent",
  });
  return (...args) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [`${folder}/cli.js`, ...args],
      { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
    return { status, lines: stdout.split("\n"), text: stdout, error: stderr };
  };
}
