// Before any test: the packet program must be there, for all suites run its very bytes.
import { existsSync } from "node:fs";

export function setup(): void {
  if (!existsSync("build/margay.wasm")) {
    throw new Error("build/margay.wasm is missing: npm run build");
  }
}
