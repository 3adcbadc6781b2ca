// What the agent keeps from one life to the next beside VPP: the compiler, which knows every number
// that the dataplane was told, and what places and numbers endpoints have. With it, a restarted
// agent goes on with differences; without it, it would have to tell everything anew.
//
//   0          8      40                       72           76
//   ┌──────────┬──────┬────────────────────────┬────────────┬───────────────────────┐
//   │ MARGAYAG │ made │ SHA-256 of what follows │ bytes      │ graph.ts: Kept        │
//   └──────────┴──────┴────────────────────────┴────────────┴───────────────────────┘
//
// made: the hash of this program and of the core: another one's file is not read. Written beside
// and renamed, so that it is whole or the one before. Whether it fits the dataplane that runs, its
// hash of everything staged says (plugin.ts).
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Backends } from "../compile/backends.ts";
import { Classes } from "../compile/classes.ts";
import { Groups } from "../compile/groups.ts";
import { Members, Side } from "../compile/members.ts";
import { NodeMemory } from "../compile/places.ts";
import { Plan } from "../compile/plan.ts";
import { Compiler } from "../compile/program.ts";
import { Services } from "../compile/services.ts";
import { Sets } from "../compile/sets.ts";
import { Slots } from "../compile/slots.ts";
import { Trie } from "../compile/trie.ts";
import { coreFile } from "../dataplane/core.ts";
import { makeFolder } from "../folder.ts";
import { readGraph, writeGraph, type KnownClasses } from "./graph.ts";
import type { DesiredHostStack } from "./desired.ts";
import type { InForce } from "./push.ts";

const FILE = "agent.state";
const MAGIC = "MARGAYAG";
const MADE_AT = 8, HASH_AT = 40, LENGTH_AT = 72, HEADER_BYTES = 76;

export interface Kept {
  /** Of everything staged, as the plugin tells it (hex). */
  staged: string;
  /** SHA-256 of the core, hex. */
  core: string;
  inForce: InForce;
  memory: NodeMemory;
  /** What VPP was told and can't tell again. */
  hostStack: DesiredHostStack[];
}

const CLASSES: KnownClasses = {
  Compiler: {
    class: Compiler, fresh: { hashes: () => new WeakMap(), emitter: () => undefined },
  },
  Slots: { class: Slots },
  Sets: { class: Sets },
  Members: { class: Members },
  Side: { class: Side },
  Classes: { class: Classes },
  Trie: { class: Trie },
  Services: { class: Services, fresh: { clock: () => Date.now } },
  Backends: { class: Backends },
  Groups: { class: Groups },
  Plan: { class: Plan },
  NodeMemory: { class: NodeMemory, fresh: { identities: () => new WeakMap() } },
};

export function saveKept(directory: string, kept: Kept): void {
  const graph = writeGraph(kept, CLASSES);
  const out = Buffer.alloc(HEADER_BYTES + graph.length);
  out.write(MAGIC, "latin1");
  madeBy().copy(out, MADE_AT);
  sha256(graph).copy(out, HASH_AT);
  out.writeUInt32LE(graph.length, LENGTH_AT);
  out.set(graph, HEADER_BYTES);
  replaceFile(join(directory, FILE), out);
}

/** What was kept, or in a sentence why there is nothing. */
export function readKept(directory: string): Kept | string {
  const file = join(directory, FILE);
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === "ENOENT" ? `${file}: not there` : `${file}: ${message}`;
  }
  const graph = bytes.subarray(HEADER_BYTES);
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 0, MADE_AT) !== MAGIC) {
    return `${file}: this is no agent's state`;
  }
  if (!bytes.subarray(MADE_AT, HASH_AT).equals(madeBy())) {
    return `${file}: another version of margay or of the core wrote it`;
  }
  if (bytes.readUInt32LE(LENGTH_AT) !== graph.length ||
    !sha256(graph).equals(bytes.subarray(HASH_AT, LENGTH_AT))) return `${file}: damaged`;
  try {
    return readGraph(graph, CLASSES) as Kept;
  } catch (error) {
    return `${file}: ${(error as Error).message}`;
  }
}

/** The file is whole at all times: the old one, or the new one. */
export function replaceFile(file: string, bytes: Uint8Array): void {
  makeFolder(dirname(file));
  const beside = `${file}.new`;
  writeFileSync(beside, bytes, { mode: 0o600, flush: true });
  renameSync(beside, file);
}

let made: Buffer | undefined;

/** Of the program's own files (the bundle's, or the sources') and of the core. */
function madeBy(): Buffer {
  if (made) return made;
  const own = dirname(fileURLToPath(import.meta.url));
  const hash = createHash("sha256").update(readFileSync(coreFile()));
  const folders = import.meta.url.endsWith(".ts")
    ? [own, join(own, "../compile"), join(own, "../model")] : [own];
  for (const folder of folders) {
    for (const name of readdirSync(folder).filter((each) => /\.[jt]s$/.test(each)).sort()) {
      hash.update(readFileSync(join(folder, name)));
    }
  }
  return made = hash.digest();
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
