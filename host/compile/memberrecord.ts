// Stage records of memberships: classes, and which class a prefix or an address-port pair has.
// Formats: assembly/formats.ts, "Class, ClassRemove, Members".
//
//   Members  u32 family │ u32 count │ entries: address, u32 tag, u32 class number (0 = taken away)
//
// Limits: 16,384 entries a record, so that a record fits the staging buffer.
import {
  CLASS_COUNT, CLASS_ID, CLASS_REMOVE_BYTES, CLASS_SETS, MEMBER4_BYTES, MEMBER6_BYTES, MEMBER_PORT,
  MEMBERS_COUNT, MEMBERS_FAMILY, MEMBERS_FIRST, RECORD_HEADER_BYTES, RecordKind,
} from "../../assembly/layout.ts";
import { putBytes, record } from "../dataplane/record.ts";
import type { Trie } from "./trie.ts";

const RECORD_ENTRIES = 16_384;

interface Source {
  family: 4 | 6;
  ports: boolean;
  trie: Trie;
}

export function classRecord(number: number, sets: Uint16Array): Uint8Array {
  return record(RecordKind.Class, CLASS_SETS + sets.length * 2, (body) => {
    body.setUint32(CLASS_ID, number, true);
    body.setUint32(CLASS_COUNT, sets.length, true);
    sets.forEach((set, i) => body.setUint16(CLASS_SETS + i * 2, set, true));
  });
}
export function classRemoveRecord(number: number): Uint8Array {
  return record(RecordKind.ClassRemove, CLASS_REMOVE_BYTES, (body) => {
    body.setUint32(CLASS_ID, number, true);
  });
}

/** Members records of a trie's nodes, each with the class number that it is to have. */
export function memberRecords(
  { family, ports, trie }: Source, nodes: number[], classOf: (node: number) => number,
): Uint8Array[] {
  const words = family === 4 ? 1 : 4;
  const bytes = family === 4 ? MEMBER4_BYTES : MEMBER6_BYTES;
  const records: Uint8Array[] = [];
  for (let from = 0; from < nodes.length; from += RECORD_ENTRIES) {
    const count = Math.min(RECORD_ENTRIES, nodes.length - from);
    records.push(record(RecordKind.Members, MEMBERS_FIRST + count * bytes, (body) => {
      body.setUint32(MEMBERS_FAMILY, family, true);
      body.setUint32(MEMBERS_COUNT, count, true);
      for (let i = 0; i < count; i++) {
        const node = nodes[from + i]!;
        const at = MEMBERS_FIRST + i * bytes;
        for (let w = 0; w < words; w++) body.setInt32(at + w * 4, trie.nodes[node + w]!, false);
        const tag = ports
          ? (MEMBER_PORT | (trie.nodes[node + words]! >>> 8)) >>> 0
          : trie.nodes[node + trie.length]!;
        body.setUint32(at + words * 4, tag, true);
        body.setUint32(at + words * 4 + 4, classOf(node), true);
      }
    }));
  }
  return records;
}

export interface ToldMember {
  family: 4 | 6;
  port: boolean;
  /** As member.ts makes them. */
  words: Int32Array;
  length: number;
  /** The entry as it stands in the record. */
  entry: Uint8Array;
}

/** The entries of a Members record. */
export function* membersOf(told: Uint8Array): Generator<ToldMember> {
  const view = new DataView(told.buffer, told.byteOffset + RECORD_HEADER_BYTES);
  const family = view.getUint32(MEMBERS_FAMILY, true) as 4 | 6;
  const words = family === 4 ? 1 : 4;
  const bytes = family === 4 ? MEMBER4_BYTES : MEMBER6_BYTES;
  const count = view.getUint32(MEMBERS_COUNT, true);
  for (let i = 0; i < count; i++) {
    const at = MEMBERS_FIRST + i * bytes;
    const key = new Int32Array(5);
    for (let w = 0; w < words; w++) key[w] = view.getInt32(at + w * 4, false);
    const tag = view.getUint32(at + words * 4, true);
    const port = tag >= MEMBER_PORT;
    if (port) key[words] = tag << 8;
    const from = RECORD_HEADER_BYTES + at;
    yield {
      family, port, words: key, length: port ? words * 32 + 24 : tag,
      entry: told.slice(from, from + bytes),
    };
  }
}

/** A record that takes one entry away. */
export function removalRecord(family: 4 | 6, entry: Uint8Array): Uint8Array {
  return record(RecordKind.Members, MEMBERS_FIRST + entry.length, (body) => {
    body.setUint32(MEMBERS_FAMILY, family, true);
    body.setUint32(MEMBERS_COUNT, 1, true);
    putBytes(body, MEMBERS_FIRST, entry);
    body.setUint32(MEMBERS_FIRST + entry.length - 4, 0, true);
  });
}
