// Prints host/input/felixbackend_pb.ts from host/input/felixbackend.proto.
//
//   felixbackend.proto ──buf, protoc-gen-es──► felixbackend_pb.ts
//
//   node scripts/proto.mjs            writes the messages' types
//   node scripts/proto.mjs --check    exit 1 where they are stale, and says which line
//
// buf compiles the file by itself and asks nobody: no module, no remote plugin.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { staleAt } from "./layout.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = "host/input", source = "felixbackend.proto", printed = "felixbackend_pb.ts";

/** The text of felixbackend_pb.ts. */
export function messages() {
  const work = mkdtempSync(join(tmpdir(), "margay-proto-"));
  const bin = (name) => join(root, "node_modules/.bin", name);
  try {
    copyFileSync(join(root, folder, source), join(work, source));
    const plugin = { local: bin("protoc-gen-es"), out: ".", opt: ["target=ts"] };
    const template = JSON.stringify({ version: "v2", plugins: [plugin] });
    execFileSync(bin("buf"), ["generate", "--template", template], {
      cwd: work, encoding: "utf8", env: { ...process.env, BUF_CACHE_DIR: join(work, "cache") },
    });
    return readFileSync(join(work, printed), "utf8");
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = join(root, folder, printed);
  const wanted = messages();
  if (process.argv.includes("--check")) {
    let present = "";
    try { present = readFileSync(path, "utf8"); } catch { /* stale at line 1 */ }
    const line = staleAt(wanted, present);
    if (line) {
      console.error(`${folder}/${printed}:${line}: stale; run npm run proto`);
      process.exit(1);
    }
    console.log(`${folder}/${printed}: fresh`);
  } else {
    writeFileSync(path, wanted);
    console.log(`${folder}/${printed}: ${wanted.split("\n").length} lines`);
  }
}
