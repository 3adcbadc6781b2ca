// The root record and the session-table records inside it, at fixed addresses. Budgets, seeds and
// timeouts are written once, by Configure; the bases never move after that.
import {
  GENERATION_RING, MAGIC, ROOT, ROOT_BYTES, ROOT_LAYOUT_VERSION, ROOT_MAGIC, ROOT_MEMORY_BYTES,
  ROOT_ARENA_END, ROOT_ARENA_NEXT, ROOT_ENDPOINTS_MAX, ROOT_ERROR, ROOT_ERROR_DETAIL,
  ROOT_ERROR_RECORD, ROOT_MAGLEV_SEED, ROOT_PUBLISHED, ROOT_SEED0, ROOT_SEED1, ROOT_SERVICES_MAX,
  ROOT_SESSIONS4, ROOT_SESSIONS6, ROOT_STAGING, ROOT_TIMEOUTS, ROOT_WORKERS, StageError,
  TABLE_BUCKETS, TABLE_BUCKET_COUNT, TABLE_BYTES, TABLE_FREE, TABLE_HAND, TABLE_LIVE, TABLE_RECORDS,
  TABLE_RECORDS_MAX, TABLE_UNUSED_NEXT, Timeout,
} from "./layout";
import { is4 } from "./family";

@unmanaged
export class Root {
  magic: u32;
  layoutVersion: u32;
  memoryBytes: u32;
  workers: u32;
  seed0: u64;
  seed1: u64;
  maglevSeed: u64;
  published: u32;
  staging: u32;
  arenaNext: u32;
  arenaEnd: u32;
  endpointsMax: u32;
  servicesMax: u32;
}
if (offsetof<Root>("magic") != ROOT_MAGIC) ERROR("Root.magic");
if (offsetof<Root>("layoutVersion") != ROOT_LAYOUT_VERSION) ERROR("Root.layoutVersion");
if (offsetof<Root>("memoryBytes") != ROOT_MEMORY_BYTES) ERROR("Root.memoryBytes");
if (ROOT + ROOT_BYTES > GENERATION_RING) ERROR("Root runs into the generations");
if (offsetof<Root>("workers") != ROOT_WORKERS) ERROR("Root.workers");
if (offsetof<Root>("seed0") != ROOT_SEED0) ERROR("Root.seed0");
if (offsetof<Root>("seed1") != ROOT_SEED1) ERROR("Root.seed1");
if (offsetof<Root>("maglevSeed") != ROOT_MAGLEV_SEED) ERROR("Root.maglevSeed");
if (offsetof<Root>("published") != ROOT_PUBLISHED) ERROR("Root.published");
if (offsetof<Root>("staging") != ROOT_STAGING) ERROR("Root.staging");
if (offsetof<Root>("arenaNext") != ROOT_ARENA_NEXT) ERROR("Root.arenaNext");
if (offsetof<Root>("arenaEnd") != ROOT_ARENA_END) ERROR("Root.arenaEnd");
if (offsetof<Root>("endpointsMax") != ROOT_ENDPOINTS_MAX) ERROR("Root.endpointsMax");
if (offsetof<Root>("servicesMax") != ROOT_SERVICES_MAX) ERROR("Root.servicesMax");

@unmanaged
export class SessionTable {
  buckets: u32;
  bucketCount: u32;
  records: u32; // address of record 0, which is never used
  recordsMax: u32;
  unusedNext: u32;
  hand: u32;
  free: u64;
  live: u32;
}
if (offsetof<SessionTable>("buckets") != TABLE_BUCKETS) ERROR("SessionTable.buckets");
if (offsetof<SessionTable>("bucketCount") != TABLE_BUCKET_COUNT) ERROR("SessionTable.bucketCount");
if (offsetof<SessionTable>("records") != TABLE_RECORDS) ERROR("SessionTable.records");
if (offsetof<SessionTable>("recordsMax") != TABLE_RECORDS_MAX) ERROR("SessionTable.recordsMax");
if (offsetof<SessionTable>("unusedNext") != TABLE_UNUSED_NEXT) ERROR("SessionTable.unusedNext");
if (offsetof<SessionTable>("hand") != TABLE_HAND) ERROR("SessionTable.hand");
if (offsetof<SessionTable>("free") != TABLE_FREE) ERROR("SessionTable.free");
if (offsetof<SessionTable>("live") != TABLE_LIVE) ERROR("SessionTable.live");
if (offsetof<SessionTable>() > TABLE_BYTES) ERROR("SessionTable is too long");

// @ts-ignore: decorator
@inline
export function root(): Root {
  return changetype<Root>(ROOT);
}
// @ts-ignore: decorator
@inline
export function configured(): bool {
  return root().magic == MAGIC;
}
// @ts-ignore: decorator
@inline
export function tableOf<F>(): SessionTable {
  return changetype<SessionTable>(ROOT + (is4<F>() ? ROOT_SESSIONS4 : ROOT_SESSIONS6));
}
// @ts-ignore: decorator
@inline
export function timeoutMs(which: Timeout): u32 {
  return load<u32>(ROOT + ROOT_TIMEOUTS + (usize(which) << 2));
}
/** Notes a refusal where the host reads it, and returns it. */
export function refuse(error: StageError, detail: u32): StageError {
  store<u32>(ROOT, error, ROOT_ERROR);
  store<u32>(ROOT, detail, ROOT_ERROR_DETAIL);
  return error;
}
/** Refuses a record for the field at an offset of its body. */
export function outOfRange(field: usize): StageError {
  return refuse(StageError.FieldOutOfRange, u32(field));
}
/** A budget, or the standard one where the host says 0. */
export function orElse(value: u32, standard: u32): u32 {
  return value ? value : standard;
}
export function noteRecord(ordinal: u32): void {
  store<u32>(ROOT, ordinal, ROOT_ERROR_RECORD);
}
