// `npm run vpp:types -- [-o file.d.ts] [directory...]`: declarations of VPP's messages.
//
//   {prefix}/share/vpp/api ─► {prefix}/share/vpp/api/vpp.d.ts, or where -o says ("-" prints it)
//
// Without a directory: VPP_PREFIX, /usr and /usr/local are looked at, in this order.

import { existsSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { declarationsOf } from "./declarations.ts";
import { VppSchemaError } from "./errors.ts";
import { Schema } from "./schema.ts";

function installed(): string {
  const prefixes = [process.env["VPP_PREFIX"], "/usr", "/usr/local"].filter((each) => each);
  const directories = prefixes.map((prefix) => join(prefix!, "share/vpp/api"));
  const found = directories.find((each) => existsSync(each));
  if (found) return found;
  throw new VppSchemaError(`no VPP is installed here: ${directories.join(", ")} are not there`);
}

function run(args: string[]): void {
  const { values, positionals } = parseArgs({
    args, allowPositionals: true, options: { output: { type: "string", short: "o" } },
  });
  const directories = positionals.length > 0 ? positionals : [installed()];
  const schema = Schema.readDirectories(directories);
  const text = declarationsOf(schema);
  const output = values.output ?? join(directories[0]!, "vpp.d.ts");
  if (output === "-") {
    process.stdout.write(text);
    return;
  }
  writeFileSync(output, text);
  console.log(`${resolve(output)}: ${schema.messages.size} messages, ${text.length} bytes`);
}

try {
  run(process.argv.slice(2));
} catch (error) {
  console.error(`vpp:types: ${(error as Error).message}`);
  process.exitCode = 1;
}
