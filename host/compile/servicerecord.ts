// Stage records of services: groups of backends, the frontends that lead to them, and which
// backends are gone. Formats: assembly/formats.ts, "Group", "Frontend", "BackendStates".
import {
  BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_OFFSET, BACKEND_PEER, BACKEND_PORT,
  BACKEND_SKIP, BACKEND_WEIGHT, BackendState, FRONTEND_ADDRESS, FRONTEND_AFFINITY, FRONTEND_BYTES,
  FRONTEND_EXTERNAL, FRONTEND_FLAGS, FRONTEND_INTERNAL, FRONTEND_PORT, FRONTEND_PREVIOUS_EXTERNAL,
  FRONTEND_PREVIOUS_INTERNAL, FRONTEND_PROTOCOL, FRONTEND_RANGES, FRONTEND_REMOVE_BYTES,
  FRONTEND_SERVICE, GROUP_BACKEND, GROUP_COUNT, GROUP_FLAGS, GROUP_ID, GROUP_REMOVE_BYTES,
  GROUP_SLOTS, GroupFlag, RECORD_HEADER_BYTES, RecordKind, STAGING_BYTES, STATES_COUNT,
  STATES_FIRST,
} from "../../assembly/layout.ts";
import type { RecordWriter } from "../dataplane/record.ts";
import type { End } from "./backends.ts";
import { permutation } from "./calicomaglev.ts";
import { putAddress } from "./endpointrecord.ts";
import type { Group } from "./groups.ts";
import type { Frontend } from "./frontend.ts";

/** Backends whose record fits the staging buffer. */
export const GROUP_BACKENDS_MAX =
  Math.floor((STAGING_BYTES - RECORD_HEADER_BYTES - Number(GROUP_BACKEND)) / BACKEND_BYTES);
const STATES_A_RECORD = 16_384;

export function putGroup(out: RecordWriter, group: Group): void {
  const { places, slots, flags } = group;
  const body = out.begin(RecordKind.Group, GROUP_BACKEND + places.length * BACKEND_BYTES);
  const { view } = out;
  view.setUint32(body + GROUP_ID, group.id, true);
  view.setUint32(body + GROUP_SLOTS, slots, true);
  view.setUint32(body + GROUP_COUNT, places.length, true);
  view.setUint32(body + GROUP_FLAGS, flags, true);
  let at = body + GROUP_BACKEND;
  for (const { backend, weight, peer } of places) {
    putEnd(view, at + BACKEND_ADDRESS, backend);
    view.setUint16(at + BACKEND_PORT, backend.port, true);
    view.setUint16(at + BACKEND_WEIGHT, weight, true);
    view.setUint32(at + BACKEND_ID, backend.id, true);
    view.setUint16(at + BACKEND_PEER, peer, true);
    if (flags & GroupFlag.Classic) {
      const { offset, skip } = permutation(backend, slots);
      view.setUint32(at + BACKEND_OFFSET, offset, true);
      view.setUint32(at + BACKEND_SKIP, skip, true);
    }
    at += BACKEND_BYTES;
  }
}

export function putGroupRemoval(out: RecordWriter, group: Group): void {
  const body = out.begin(RecordKind.GroupRemove, GROUP_REMOVE_BYTES);
  out.view.setUint32(body + GROUP_ID, group.id, true);
}

export function putFrontend(out: RecordWriter, frontend: Frontend): void {
  const body = out.begin(RecordKind.Frontend, FRONTEND_BYTES);
  const { view } = out;
  putKey(view, body, frontend);
  view.setUint32(body + FRONTEND_FLAGS, frontend.flags, true);
  view.setUint32(body + FRONTEND_INTERNAL, frontend.internal.now?.id ?? 0, true);
  view.setUint32(body + FRONTEND_EXTERNAL, frontend.external.now?.id ?? 0, true);
  view.setUint32(body + FRONTEND_PREVIOUS_INTERNAL, frontend.internal.before?.id ?? 0, true);
  view.setUint32(body + FRONTEND_PREVIOUS_EXTERNAL, frontend.external.before?.id ?? 0, true);
  view.setUint16(body + FRONTEND_RANGES, frontend.ranges, true);
  view.setUint32(body + FRONTEND_AFFINITY, frontend.affinity, true);
  view.setUint32(body + FRONTEND_SERVICE, frontend.service.number, true);
}

export function putFrontendRemoval(out: RecordWriter, frontend: Frontend): void {
  putKey(out.view, out.begin(RecordKind.FrontendRemove, FRONTEND_REMOVE_BYTES), frontend);
}

function putKey(view: DataView, body: number, frontend: Frontend): void {
  putEnd(view, body + FRONTEND_ADDRESS, frontend);
  view.setUint16(body + FRONTEND_PORT, frontend.port, true);
  view.setUint8(body + FRONTEND_PROTOCOL, frontend.protocol);
}

function putEnd(view: DataView, at: number, { family, words }: End): void {
  putAddress(view, at, family, words);
}

export function putStates(
  out: RecordWriter, ids: readonly number[], state: BackendState,
): void {
  for (let from = 0; from < ids.length; from += STATES_A_RECORD) {
    const count = Math.min(STATES_A_RECORD, ids.length - from);
    const body = out.begin(RecordKind.BackendStates, STATES_FIRST + count * 8);
    out.view.setUint32(body + STATES_COUNT, count, true);
    for (let i = 0; i < count; i++) {
      out.view.setUint32(body + STATES_FIRST + i * 8, ids[from + i]!, true);
      out.view.setUint32(body + STATES_FIRST + i * 8 + 4, state, true);
    }
  }
}
