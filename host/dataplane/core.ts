// Where the core's bytes lie: build/margay.wasm of this package, wherever it is called from, the
// same file for every command and engine. MARGAY_CORE names another one; reports print its hash.
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CORE = "build/margay.wasm";

export function coreFile(): string {
  const other = process.env["MARGAY_CORE"];
  if (other !== undefined && other !== "") return other;
  // The sources and the bundle lie at different depths below package.json.
  let at = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(at, "package.json")) && dirname(at) !== at) at = dirname(at);
  return join(at, CORE);
}

/** The first seven digits of the core's SHA-256: its name in reports. */
export function coreHash(): string {
  return createHash("sha256").update(readFileSync(coreFile())).digest("hex").slice(0, 7);
}

const modules = new Map<string, WebAssembly.Module>();

/** Compiled once a process. */
export function coreModule(file = coreFile()): WebAssembly.Module {
  let module = modules.get(file);
  if (!module) {
    module = new WebAssembly.Module(readFileSync(file) as Uint8Array<ArrayBuffer>);
    modules.set(file, module);
  }
  return module;
}
