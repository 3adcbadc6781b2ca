// What `margay module` does: source to module, module to the door, and a sentence for each.
import { readFileSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import pc from "picocolors";
import { ABI_USER } from "../compile/policy.ts";
import { coreFile, coreHash } from "../replay/engines.ts";
import { askDoor, buildModule, SourceError } from "./build.ts";
import type { ModuleOptions } from "./command.ts";

const STATUS_REFUSED = 1;
const STATUS_FILE = 2;

/** The exit status. */
export async function runModule(
  source: string, options: ModuleOptions, say: (line: string) => void,
): Promise<number> {
  const isBuilt = source.endsWith(".wasm");
  const out = isBuilt ? source : options.out ?? `${source.replace(/\.ts$/, "")}.wasm`;
  let wasm: Uint8Array;
  try {
    wasm = isBuilt ? readFileSync(source) : await buildModule(source);
  } catch (error) {
    console.error(`${pc.red("margay:")} ${source}: ${(error as Error).message}`);
    return error instanceof SourceError ? STATUS_REFUSED : STATUS_FILE;
  }
  const answer = askDoor(wasm, readFileSync(coreFile()));
  if (!answer.admitted) {
    const { reason, at, advice } = answer;
    const why = advice === "" ? "" : `: ${advice}`;
    say(`${source}: ${pc.red("refused")} by core ${coreHash()}: ${reason} at byte ${at}${why}`);
    return STATUS_REFUSED;
  }
  if (!isBuilt) {
    try {
      writeFileSync(out, wasm);
    } catch (error) {
      console.error(`${pc.red("margay:")} ${out}: ${(error as Error).message}`);
      return STATUS_FILE;
    }
  }
  const what = `${wasm.length} bytes, ABI ${ABI_USER}`;
  say(`${basename(out)}: ${what}: ${pc.green("admitted")} by core ${coreHash()}`);
  return 0;
}
