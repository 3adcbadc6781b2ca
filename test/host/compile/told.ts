// What service records leave in a core, slowly: a map of groups, one of frontends, the ids that are
// gone. It refuses what the core refuses (assembly/formats.ts says what).
import {
  BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_OFFSET, BACKEND_PEER, BACKEND_PORT,
  BACKEND_SKIP, BACKEND_WEIGHT, FRONTEND_ADDRESS, FRONTEND_AFFINITY, FRONTEND_EXTERNAL,
  FRONTEND_FLAGS, FRONTEND_INTERNAL, FRONTEND_PORT, FRONTEND_PREVIOUS_EXTERNAL,
  FRONTEND_PREVIOUS_INTERNAL, FRONTEND_PROTOCOL, FRONTEND_RANGES, FRONTEND_SERVICE, GROUP_BACKEND,
  GROUP_COUNT, GROUP_FLAGS, GROUP_ID, GROUP_SLOTS, RecordKind, STATES_COUNT, STATES_FIRST,
} from "../../../assembly/layout.ts";
import { addressText, isMapped } from "../../../host/model/address.ts";

export interface ToldBackend {
  at: string;
  weight: number;
  id: number;
  peer: number;
  offset: number;
  skip: number;
}
export interface ToldGroup {
  slots: number;
  flags: number;
  backends: ToldBackend[];
}
export interface ToldFrontend {
  flags: number;
  internal: number;
  external: number;
  previousInternal: number;
  previousExternal: number;
  ranges: number;
  affinity: number;
  service: number;
}
/** One record: its kind and body. */
export interface ToldRecord {
  kind: RecordKind;
  body: DataView;
}

export function recordsOf(stream: Uint8Array): ToldRecord[] {
  const records: ToldRecord[] = [];
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  for (let at = 0; at < stream.length;) {
    const bytes = view.getUint32(at + 4, true);
    const body = new DataView(stream.buffer, stream.byteOffset + at + 8, bytes);
    records.push({ kind: view.getUint16(at, true), body });
    at += 8 + Math.ceil(bytes / 8) * 8;
  }
  return records;
}

export class Told {
  readonly groups = new Map<number, ToldGroup>();
  /** By "10.96.0.1 port 80 protocol 6". */
  readonly frontends = new Map<string, ToldFrontend>();
  readonly gone = new Set<number>();

  constructor(private readonly frontendsMax = Infinity, private readonly groupsMax = Infinity) {}

  /** Carries out the first `count` records; returns their kinds. */
  play(stream: Uint8Array, count = Infinity): RecordKind[] {
    const records = recordsOf(stream).slice(0, count);
    for (const record of records) this.one(record);
    return records.map(({ kind }) => kind);
  }

  private one({ kind, body }: ToldRecord): void {
    if (kind === RecordKind.Group) this.group(body);
    else if (kind === RecordKind.GroupRemove) this.groupRemove(body.getUint32(GROUP_ID, true));
    else if (kind === RecordKind.Frontend) this.frontend(body);
    else if (kind === RecordKind.FrontendRemove) this.frontends.delete(keyOf(body));
    else if (kind === RecordKind.BackendStates) this.states(body);
    else throw new Error(`record of kind ${kind}`);
  }

  private group(body: DataView): void {
    const id = body.getUint32(GROUP_ID, true);
    const count = body.getUint32(GROUP_COUNT, true);
    if (body.byteLength !== GROUP_BACKEND + count * BACKEND_BYTES) throw new Error("bad length");
    if (id < 1 || id > this.groupsMax) throw new Error(`group ${id}: out of range`);
    const group: ToldGroup = {
      slots: body.getUint32(GROUP_SLOTS, true), flags: body.getUint32(GROUP_FLAGS, true),
      backends: Array.from({ length: count }, (_, i) => backendOf(body, i)),
    };
    const known = this.groups.get(id);
    const isOther = known && JSON.stringify(known) !== JSON.stringify(group);
    if (isOther) throw new Error(`group ${id} in use`);
    this.groups.set(id, group);
  }

  private groupRemove(id: number): void {
    if (!this.groups.delete(id)) throw new Error(`unknown group ${id}`);
    for (const [key, frontend] of this.frontends) {
      if (groupsOf(frontend).includes(id)) throw new Error(`${key} names group ${id}`);
    }
  }

  private frontend(body: DataView): void {
    const word = (at: number): number => body.getUint32(at, true);
    const frontend: ToldFrontend = {
      flags: word(FRONTEND_FLAGS), internal: word(FRONTEND_INTERNAL),
      external: word(FRONTEND_EXTERNAL), previousInternal: word(FRONTEND_PREVIOUS_INTERNAL),
      previousExternal: word(FRONTEND_PREVIOUS_EXTERNAL),
      ranges: body.getUint16(FRONTEND_RANGES, true), affinity: word(FRONTEND_AFFINITY),
      service: word(FRONTEND_SERVICE),
    };
    const key = keyOf(body);
    for (const id of groupsOf(frontend)) {
      if (id && !this.groups.has(id)) throw new Error(`${key}: no group ${id}`);
    }
    this.frontends.set(key, frontend);
    if (this.frontends.size > this.frontendsMax) throw new Error("too many frontends");
  }

  private states(body: DataView): void {
    for (let i = 0; i < body.getUint32(STATES_COUNT, true); i++) {
      const id = body.getUint32(STATES_FIRST + i * 8, true);
      if (body.getUint32(STATES_FIRST + i * 8 + 4, true)) this.gone.add(id);
      else this.gone.delete(id);
    }
  }

  /** The backends of a group as texts, "10.0.0.1:80"; none of group 0. */
  ends(group: number): string[] {
    return this.groups.get(group)?.backends.map(({ at }) => at) ?? [];
  }
}

export function groupsOf(frontend: ToldFrontend): number[] {
  const { internal, external, previousInternal, previousExternal } = frontend;
  return [internal, external, previousInternal, previousExternal];
}

function endOf(body: DataView, at: number): string {
  const bytes = new Uint8Array(body.buffer, body.byteOffset + at, 16);
  return addressText(isMapped(bytes) ? bytes.subarray(12) : bytes);
}
function keyOf(body: DataView): string {
  const port = body.getUint16(FRONTEND_PORT, true), protocol = body.getUint8(FRONTEND_PROTOCOL);
  return `${endOf(body, FRONTEND_ADDRESS)} port ${port} protocol ${protocol}`;
}
function backendOf(body: DataView, i: number): ToldBackend {
  const at = Number(GROUP_BACKEND) + i * BACKEND_BYTES;
  return {
    at: `${endOf(body, at + BACKEND_ADDRESS)}:${body.getUint16(at + BACKEND_PORT, true)}`,
    weight: body.getUint16(at + BACKEND_WEIGHT, true), id: body.getUint32(at + BACKEND_ID, true),
    peer: body.getUint16(at + BACKEND_PEER, true),
    offset: body.getUint32(at + BACKEND_OFFSET, true),
    skip: body.getUint32(at + BACKEND_SKIP, true),
  };
}
