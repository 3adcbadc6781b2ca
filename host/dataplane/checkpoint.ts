// A checkpoint: sessions in a file, to outlive the process. Numbers mean nothing to the next one,
// so the file names what they stood for: endpoints, other nodes, backends.
//
//   0           8         12           16
//   ┌───────────┬─────────┬────────────┬──────────────────┬───────────────────────┐
//   │ MARGAYCP  │ version │ JSON bytes │ names, JSON      │ savedsessions.ts      │
//   └───────────┴─────────┴────────────┴──────────────────┴───────────────────────┘
//
// version: the layout's; another one's is refused by name. A session comes back under the new
// numbers, judged once more at its next packet. Left out, and counted by what is gone: sessions of
// an endpoint that is not there any more under its name and one of its addresses, those that go on
// to a node that is not there, and UDP to backends that no Service has (a client that goes on
// asking would never get another). Other sessions to such a backend run on, as they would have.
import {
  KEY4_ENDPOINT, KEY6_ENDPOINT, LAYOUT_VERSION, NO_ENDPOINT, Rewritten, SESSION4_BACKEND,
  SESSION4_GENERATION, SESSION4_KEY_STRIDE, SESSION4_PEER, SESSION4_PROTOCOL, SESSION4_REWRITTEN,
  SESSION6_BACKEND, SESSION6_GENERATION, SESSION6_KEY_STRIDE, SESSION6_PEER, SESSION6_PROTOCOL,
  SESSION6_REWRITTEN, SESSION_KEYS, SESSION_RULE,
} from "../../assembly/layout.ts";
import type { Backend, Endpoint } from "../model/program.ts";
import type { Dataplane } from "./dataplane.ts";
import { savedRecords, withRecords, type SavedRecord } from "./savedsessions.ts";

const MAGIC = "MARGAYCP";
const VERSION_AT = 8, JSON_BYTES_AT = 12, HEADER_BYTES = 16;
const UDP = 17;

const FIELDS = {
  4: {
    endpoint: KEY4_ENDPOINT, stride: SESSION4_KEY_STRIDE, backend: SESSION4_BACKEND,
    peer: SESSION4_PEER, protocol: SESSION4_PROTOCOL, rewritten: SESSION4_REWRITTEN,
    generation: SESSION4_GENERATION,
  },
  6: {
    endpoint: KEY6_ENDPOINT, stride: SESSION6_KEY_STRIDE, backend: SESSION6_BACKEND,
    peer: SESSION6_PEER, protocol: SESSION6_PROTOCOL, rewritten: SESSION6_REWRITTEN,
    generation: SESSION6_GENERATION,
  },
} as const;

/** What the numbers of a dataplane's sessions stand for. */
export interface Names {
  /** Of the program in force: the index is the position. */
  endpoints: readonly Endpoint[];
  peers?: readonly string[];
  /** A backend by its id (Compiler.backendAt). */
  backendAt(id: number): Backend | undefined;
}
/** The same for those who restore. */
export interface Numbers extends Omit<Names, "backendAt"> {
  /** Id of a backend (Compiler.backendId). */
  backendId(backend: Backend): number | undefined;
}

/** How many sessions came back, and why others did not. */
export interface Restored {
  taken: number;
  endpointGone: number;
  peerGone: number;
  backendGone: number;
  /** Known already, or no room was left. */
  refused: number;
}

interface SavedNames {
  /** By identity: index | incarnation << 16. */
  endpoints: [identity: number, name: string, addresses: string[]][];
  peers: string[];
  /** By id; those that sessions name. */
  backends: [id: number, name: string, address: string, port: number][];
}

export function saveCheckpoint(dataplane: Dataplane, names: Names, nowMs: number): Uint8Array {
  return checkpointOf(dataplane.saveSessions(nowMs), names);
}

/** The same of sessions (savedsessions.ts) that were asked for elsewhere. */
export function checkpointOf(sessions: Uint8Array, names: Names): Uint8Array {
  const ids = new Set(savedRecords(sessions).map(backendOf));
  ids.delete(0);
  const saved: SavedNames = {
    endpoints: names.endpoints.flatMap((endpoint, index): SavedNames["endpoints"] =>
      endpoint.name === "" ? []
        : [[identityOf(endpoint, index), endpoint.name, endpoint.addresses]]),
    peers: [...names.peers ?? []],
    backends: [...ids].flatMap((id): SavedNames["backends"] => {
      const backend = names.backendAt(id - 1);
      return backend ? [[id - 1, backend.name, backend.address, backend.port]] : [];
    }),
  };
  const json = new TextEncoder().encode(JSON.stringify(saved));
  const out = new Uint8Array(HEADER_BYTES + json.length + sessions.length);
  out.set(new TextEncoder().encode(MAGIC));
  const header = new DataView(out.buffer);
  header.setUint32(VERSION_AT, LAYOUT_VERSION, true);
  header.setUint32(JSON_BYTES_AT, json.length, true);
  out.set(json, HEADER_BYTES);
  out.set(sessions, HEADER_BYTES + json.length);
  return out;
}

/** Throws where the bytes are no checkpoint, or another layout version's; then none is taken. */
export function restoreCheckpoint(
  dataplane: Dataplane, worker: number, checkpoint: Uint8Array, numbers: Numbers, nowMs: number,
): Restored {
  const { sessions, restored } = renamedSessions(checkpoint, numbers);
  const kept = restored.taken;
  restored.taken = dataplane.restoreSessions(worker, sessions, nowMs);
  restored.refused = kept - restored.taken;
  return restored;
}

/** Its sessions under the new numbers; `taken` is how many there are. Throws likewise. */
export function renamedSessions(
  checkpoint: Uint8Array, numbers: Numbers,
): { sessions: Uint8Array; restored: Restored } {
  const { names, sessions } = read(checkpoint);
  const restored: Restored = {
    taken: 0, endpointGone: 0, peerGone: 0, backendGone: 0, refused: 0,
  };
  const renames = new Renames(names, numbers);
  const kept = savedRecords(sessions).filter((record) => {
    const gone = renames.apply(record);
    if (gone) restored[gone]++;
    return !gone;
  });
  restored.taken = kept.length;
  return { sessions: withRecords(sessions, kept), restored };
}

function read(checkpoint: Uint8Array): { names: SavedNames; sessions: Uint8Array } {
  const header = new DataView(checkpoint.buffer, checkpoint.byteOffset, checkpoint.byteLength);
  const magic = new TextDecoder().decode(checkpoint.subarray(0, MAGIC.length));
  if (magic !== MAGIC || checkpoint.length < HEADER_BYTES) throw new Error("this is no checkpoint");
  const version = header.getUint32(VERSION_AT, true);
  if (version !== LAYOUT_VERSION) {
    const own = `this program's is ${LAYOUT_VERSION}`;
    throw new Error(`a checkpoint of layout version ${version}; ${own}`);
  }
  const end = HEADER_BYTES + header.getUint32(JSON_BYTES_AT, true);
  if (end > checkpoint.length) throw new Error("the checkpoint is cut: its names do not end");
  const json = new TextDecoder().decode(checkpoint.subarray(HEADER_BYTES, end));
  // A copy: its records are changed.
  return { names: JSON.parse(json) as SavedNames, sessions: checkpoint.slice(end) };
}

/** Old numbers to new ones. */
class Renames {
  private readonly endpoints = new Map<number, number>([[NO_ENDPOINT, NO_ENDPOINT]]);
  private readonly peers: (number | undefined)[];
  private readonly backends: Map<number, number | undefined>;

  constructor(names: SavedNames, numbers: Numbers) {
    const now = new Map(numbers.endpoints.map((each, index) => [each.name, { each, index }]));
    for (const [identity, name, addresses] of names.endpoints) {
      const found = now.get(name);
      if (!found) continue;
      const { each, index } = found;
      // A pod made anew under its name has another address.
      const isSame = each.kind !== "workload" ||
        addresses.some((address) => each.addresses.includes(address));
      if (isSame) this.endpoints.set(identity, identityOf(each, index));
    }
    const peers = numbers.peers ?? [];
    this.peers = names.peers.map((name) => {
      const place = peers.indexOf(name);
      return place < 0 ? undefined : place + 1;
    });
    this.backends = new Map(names.backends.map(([id, name, address, port]) =>
      [id, numbers.backendId({ name, address, port })]));
  }

  /** Renames what a record names; what of it is gone. */
  apply(record: SavedRecord): "endpointGone" | "peerGone" | "backendGone" | undefined {
    const f = FIELDS[record.family];
    const { view } = record;
    for (const key of [SESSION_KEYS, SESSION_KEYS + f.stride]) {
      const identity = this.endpoints.get(view.getUint32(key + f.endpoint, true));
      if (identity === undefined) return "endpointGone";
      view.setUint32(key + f.endpoint, identity, true);
    }
    if (view.getUint8(f.rewritten) & Rewritten.ToPeer) {
      const peer = this.peers[view.getUint16(f.peer, true) - 1];
      if (peer === undefined) return "peerGone";
      view.setUint16(f.peer, peer, true);
    }
    const old = backendOf(record);
    if (old) {
      const id = this.backends.get(old - 1);
      if (id === undefined && view.getUint8(f.protocol) === UDP) return "backendGone";
      view.setUint32(f.backend, id === undefined ? 0 : id + 1, true);
    }
    view.setUint32(SESSION_RULE, 0, true);
    view.setUint32(f.generation, 0, true);
    return undefined;
  }
}

/** Id + 1, 0 = none. */
function backendOf({ family, view }: SavedRecord): number {
  return view.getUint32(FIELDS[family].backend, true);
}
function identityOf({ incarnation = 0 }: Endpoint, index: number): number {
  return (index | incarnation << 16) >>> 0;
}
