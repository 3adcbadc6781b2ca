/* Pushes: records through the core's door, modules into stores, generations into use. All of it
 * runs on the control thread; the contract is in dataplane.h, the change-over in internal.h.
 *
 *   stage    bytes ─► staging buffer ─► core.stage ─► modules of the stream compiled ─► pending
 *   publish  1 pending ─► idle side of each worker      (rebuilt aside after 1,000 additions)
 *            2 core.publish                             from here on it can't fail
 *            3 target of each worker, wait at most for the frame in hand
 *            4 pending ─► the side that was in use
 *
 * A refusal before 2 leaves the published generation running: what was staged is abandoned, and
 * sides that already took pending modules are rebuilt before they are used again.
 *
 * Limits: a record must fit the staging buffer (1 MiB); 4,095 modules a push. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "sha256.h"

typedef struct {
  const uint8_t *bytes;
  size_t length;
} records;

/* ---- The door ------------------------------------------------------------------------------- */

static uint32_t align8(uint32_t n) { return (n + 7) & ~7u; }

/* Calls stage or publish on the control instance. */
static int ask(margay_dataplane *dp, margay_call call, uint32_t argument, uint32_t first_record,
               margay_message *error, margay_refusal *refusal) {
  static const char *const names[] = {[MARGAY_CALL_STAGE] = "stage",
                                      [MARGAY_CALL_PUBLISH] = "publish"};
  margay_message trap;
  int32_t values[MARGAY_CALL_ARGUMENTS_MAX] = {(int32_t)argument};
  if (!margay_store_call(dp->control_store, call, values, &trap)) {
    snprintf(error->text, sizeof error->text, "%s: core trapped: %.400s", names[call], trap.text);
    return MARGAY_ENGINE;
  }
  if (!values[0]) return MARGAY_OK;
  const uint8_t *root = dp->memory + MARGAY_ROOT;
  *refusal = (margay_refusal){
      .error = (uint32_t)values[0],
      .record = first_record + margay_u32(root + MARGAY_ROOT_ERROR_RECORD),
      .detail = margay_u32(root + MARGAY_ROOT_ERROR_DETAIL),
  };
  snprintf(error->text, sizeof error->text, "%s: %s (record %u, detail %u)", names[call],
           margay_stage_error_text(refusal->error), refusal->record, refusal->detail);
  return MARGAY_REFUSED;
}

void margay_pending_drop(margay_dataplane *dp) {
  for (uint32_t i = 0; i < dp->pending_count; i++) margay_code_delete(dp->pending[i].code);
  dp->pending_count = 0;
}

/* The last module for a slot counts; code NULL empties the slot at the next publish. */
static void keep_pending(margay_dataplane *dp, uint32_t slot, margay_code *code) {
  uint32_t i = 0;
  while (i < dp->pending_count && dp->pending[i].slot != slot) i++;
  if (i == dp->pending_count) dp->pending_count++;
  else margay_code_delete(dp->pending[i].code);
  dp->pending[i] = (margay_pending){.slot = slot, .code = code};
}

/* What was staged is no more. The core goes on counting the modules that it admitted as such,
 * though no endpoint uses them; so their slots are emptied: a call there traps and denies, it never
 * runs the module that had the slot before. */
static void abandon(margay_dataplane *dp) {
  for (uint32_t i = 0; i < dp->pending_count; i++) {
    margay_code_delete(dp->pending[i].code);
    dp->pending[i].code = NULL;
  }
  uint8_t *staging = dp->memory + MARGAY_STAGING;
  const uint16_t kind = MARGAY_RECORD_KIND_ABANDON;
  margay_message error;
  margay_refusal refusal;
  memset(staging, 0, MARGAY_RECORD_HEADER_BYTES);
  memcpy(staging, &kind, sizeof kind);
  ask(dp, MARGAY_CALL_STAGE, MARGAY_RECORD_HEADER_BYTES, 0, &error, &refusal);
}

/* ---- What was staged ------------------------------------------------------------------------ */

static void chain(margay_dataplane *dp, const uint8_t link[32]) {
  uint8_t both[64];
  memcpy(both, dp->staged, 32);
  memcpy(both + 32, link, 32);
  pthread_mutex_lock(&dp->staged_mutex);
  margay_sha256(both, sizeof both, dp->staged);
  pthread_mutex_unlock(&dp->staged_mutex);
}

static void note_staged(margay_dataplane *dp, const void *bytes, size_t length) {
  uint8_t hash[32];
  margay_sha256(bytes, length, hash);
  chain(dp, hash);
}

static void note_refused(margay_dataplane *dp) {
  uint8_t mark[32];
  memset(mark, 0xff, sizeof mark);
  chain(dp, mark);
}

void margay_staged_hash(const margay_dataplane *dp, uint8_t hash[32]) {
  pthread_mutex_t *mutex = (pthread_mutex_t *)&dp->staged_mutex;
  pthread_mutex_lock(mutex);
  memcpy(hash, dp->staged, 32);
  pthread_mutex_unlock(mutex);
}

static bool all_binds(records stream) {
  for (size_t at = 0; at + MARGAY_RECORD_HEADER_BYTES <= stream.length;) {
    uint16_t kind;
    memcpy(&kind, stream.bytes + at, sizeof kind);
    if (kind != MARGAY_RECORD_KIND_BIND) return false;
    at += MARGAY_RECORD_HEADER_BYTES + (size_t)align8(margay_u32(stream.bytes + at + 4));
  }
  return true;
}

/* ---- Modules -------------------------------------------------------------------------------- */

/* Compiles a module that the core has admitted. */
static int take_module(margay_dataplane *dp, const uint8_t *body, uint32_t length, bool compile,
                       margay_message *error) {
  if (length < MARGAY_MODULE_CODE) {
    snprintf(error->text, sizeof error->text, "stage: a module record of %u bytes", length);
    return MARGAY_ENGINE;
  }
  uint32_t slot = margay_u32(body + MARGAY_MODULE_SLOT);
  if (slot < 1 || slot >= MARGAY_POLICY_SLOTS_MAX) {
    snprintf(error->text, sizeof error->text, "stage: module for slot %u, not 1..4095", slot);
    return MARGAY_ENGINE;
  }
  keep_pending(dp, slot, NULL);
  if (!compile) return MARGAY_OK;
  margay_message why;
  margay_code *code =
      margay_code_new(dp->engine, body + MARGAY_MODULE_CODE, length - MARGAY_MODULE_CODE, &why);
  if (code) return keep_pending(dp, slot, code), MARGAY_OK;
  snprintf(error->text, sizeof error->text, "slot %u: %.400s", slot, why.text);
  return MARGAY_ENGINE;
}

/* The modules among the first `count` records of a chunk: those that the core has admitted. */
static int take_modules(margay_dataplane *dp, records chunk, uint32_t count, bool compile,
                        margay_message *error) {
  for (size_t at = 0; count && at + MARGAY_RECORD_HEADER_BYTES <= chunk.length; count--) {
    const uint8_t *record = chunk.bytes + at;
    uint32_t length = margay_u32(record + 4);
    uint16_t kind;
    memcpy(&kind, record, sizeof kind);
    if (kind == MARGAY_RECORD_KIND_MODULE) {
      const uint8_t *body = record + MARGAY_RECORD_HEADER_BYTES;
      int result = take_module(dp, body, length, compile, error);
      if (result < 0) return result;
    }
    at += MARGAY_RECORD_HEADER_BYTES + (size_t)align8(length);
  }
  return MARGAY_OK;
}

/* The longest run of whole records that fits the staging buffer; the rest of the stream where its
 * framing is broken, for the core to refuse by name. Counts the records. */
static size_t chunk_length(records stream, uint32_t *count) {
  size_t at = 0;
  *count = 0;
  while (at + MARGAY_RECORD_HEADER_BYTES <= stream.length) {
    uint64_t body = margay_u32(stream.bytes + at + 4);
    uint64_t next = at + MARGAY_RECORD_HEADER_BYTES + ((body + 7) & ~7ull);
    if (next > stream.length) break;
    if (next > MARGAY_STAGING_BYTES) return at;
    at = (size_t)next;
    (*count)++;
  }
  return stream.length <= MARGAY_STAGING_BYTES ? stream.length : at;
}

static int stage_task(margay_dataplane *dp, const void *argument, margay_message *error,
                      margay_refusal *refusal) {
  records stream = *(const records *)argument;
  const records whole = stream;
  uint32_t first = 0, count;
  int result = MARGAY_OK;
  while (stream.length && result == MARGAY_OK) {
    size_t length = chunk_length(stream, &count);
    if (!length) {
      snprintf(error->text, sizeof error->text, "stage: record %u exceeds the staging buffer of %u",
               first, MARGAY_STAGING_BYTES);
      result = MARGAY_BAD_ARGUMENT;
      break;
    }
    records chunk = {stream.bytes, length};
    memcpy(dp->memory + MARGAY_STAGING, chunk.bytes, length);
    result = ask(dp, MARGAY_CALL_STAGE, (uint32_t)length, first, error, refusal);
    if (result == MARGAY_OK) result = take_modules(dp, chunk, count, true, error);
    else if (result == MARGAY_REFUSED) {
      margay_message known; /* these records have passed the door, so nothing is wrong with them */
      take_modules(dp, chunk, refusal->record - first, false, &known);
    }
    first += count;
    stream.bytes += length;
    stream.length -= length;
  }
  if (result < 0) abandon(dp), note_refused(dp);
  else if (!all_binds(whole)) note_staged(dp, whole.bytes, whole.length);
  return result;
}

int margay_stage(margay_dataplane *dp, const uint8_t *bytes, size_t length) {
  return margay_on_control(dp, stage_task, &(records){bytes, length});
}

int margay_module(margay_dataplane *dp, uint32_t slot, uint32_t kind, const uint8_t *wasm,
                  size_t length) {
  if (length > MARGAY_STAGING_BYTES - MARGAY_RECORD_HEADER_BYTES - MARGAY_MODULE_CODE)
    return margay_fail(MARGAY_BAD_ARGUMENT, "module for slot %u: %zu bytes", slot, length);
  uint32_t body = MARGAY_MODULE_CODE + (uint32_t)length;
  size_t bytes = MARGAY_RECORD_HEADER_BYTES + align8(body);
  uint8_t *record = calloc(1, bytes);
  if (!record) return margay_fail(MARGAY_ENGINE, "module for slot %u: out of memory", slot);
  const uint16_t record_kind = MARGAY_RECORD_KIND_MODULE;
  memcpy(record, &record_kind, sizeof record_kind);
  memcpy(record + 4, &body, sizeof body);
  uint8_t *at = record + MARGAY_RECORD_HEADER_BYTES;
  memcpy(at + MARGAY_MODULE_SLOT, &slot, sizeof slot);
  memcpy(at + MARGAY_MODULE_KIND, &kind, sizeof kind);
  if (length) memcpy(at + MARGAY_MODULE_CODE, wasm, length);
  int result = margay_stage(dp, record, bytes);
  free(record);
  return result;
}

/* ---- Stores --------------------------------------------------------------------------------- */

/* Pending modules stand before those of the published generation. */
static const margay_code *code_of(const margay_dataplane *dp, uint32_t slot) {
  for (uint32_t i = 0; i < dp->pending_count; i++)
    if (dp->pending[i].slot == slot) return dp->pending[i].code;
  return dp->slot[slot];
}

bool margay_side_make(margay_dataplane *dp, margay_side *side, margay_message *error) {
  margay_side made = {.store = dp->control_store};
  if (!dp->private_memory) {
    made.store = margay_store_new(dp->engine, dp->core, error);
    bool good = made.store != NULL;
    for (uint32_t slot = 1; slot < MARGAY_POLICY_SLOTS_MAX && good; slot++) {
      const margay_code *code = code_of(dp, slot);
      good = !code || margay_store_set(made.store, slot, code, error);
    }
    if (!good) return margay_store_delete(made.store), false;
    margay_store_delete(side->store);
  }
  *side = made;
  return true;
}

/* Brings the pending modules into a side that no worker uses. */
static bool bring_up(margay_dataplane *dp, margay_side *side, margay_message *error) {
  bool full = side->added + dp->pending_count > MARGAY_INSTANCES_MAX && !dp->private_memory;
  if (side->stale || (full && side->added)) {
    if (!margay_side_make(dp, side, error)) return false;
    atomic_fetch_add(&dp->rebuilds, 1);
    return true;
  }
  for (uint32_t i = 0; i < dp->pending_count; i++) {
    side->stale = !dp->private_memory; /* until it has gone well */
    if (!margay_store_set(side->store, dp->pending[i].slot, dp->pending[i].code, error))
      return false;
    side->stale = false;
    side->added += dp->pending[i].code != NULL;
  }
  return true;
}

static void wait_outside(margay_worker *w) {
  uint32_t epoch = atomic_load_explicit(&w->epoch, memory_order_seq_cst);
  if (!(epoch & 1)) return;
  for (int i = 0; atomic_load_explicit(&w->epoch, memory_order_seq_cst) == epoch; i++) {
    const struct timespec pause = {.tv_nsec = 20000}; /* a worker that lost its CPU needs one */
    if (i < 100) sched_yield();
    else nanosleep(&pause, NULL);
  }
}

/* ---- Publishing ----------------------------------------------------------------------------- */

static margay_side *side_of(margay_worker *w, bool in_use) {
  uint64_t target = atomic_load_explicit(&w->target, memory_order_relaxed);
  return &w->side[(target & 1) ^ (in_use ? 0 : 1)];
}

static void commit(margay_dataplane *dp) {
  for (uint32_t i = 0; i < dp->pending_count; i++) {
    margay_code_delete(dp->slot[dp->pending[i].slot]);
    dp->slot[dp->pending[i].slot] = dp->pending[i].code;
  }
  dp->pending_count = 0;
  uint32_t most = 0;
  for (uint32_t w = 0; w < dp->workers; w++)
    for (int i = 0; i < 2; i++)
      if (dp->worker[w].side[i].added > most) most = dp->worker[w].side[i].added;
  atomic_store(&dp->instances_added, most);
}

static int publish_task(margay_dataplane *dp, const void *argument, margay_message *error,
                        margay_refusal *refusal) {
  uint32_t generation = *(const uint32_t *)argument;
  int result = MARGAY_OK;
  uint32_t up = 0;
  for (; up < dp->workers && result == MARGAY_OK; up++)
    if (!bring_up(dp, side_of(&dp->worker[up], false), error)) result = MARGAY_ENGINE;
  if (result == MARGAY_OK) result = ask(dp, MARGAY_CALL_PUBLISH, generation, 0, error, refusal);
  if (result < 0) {
    for (uint32_t w = 0; w < up && dp->pending_count; w++)
      side_of(&dp->worker[w], false)->stale = !dp->private_memory;
    abandon(dp);
    note_refused(dp);
    return result;
  }
  note_staged(dp, &generation, sizeof generation);
  for (uint32_t w = 0; w < dp->workers; w++) {
    uint64_t side = (atomic_load_explicit(&dp->worker[w].target, memory_order_relaxed) & 1) ^ 1;
    atomic_store_explicit(&dp->worker[w].target, (uint64_t)generation << 1 | side,
                          memory_order_seq_cst);
  }
  atomic_store(&dp->generation, generation);
  for (uint32_t w = 0; w < dp->workers; w++) wait_outside(&dp->worker[w]);
  margay_message ignored; /* such a side stays stale: the next publish makes it anew, or refuses */
  for (uint32_t w = 0; w < dp->workers && !dp->private_memory; w++)
    if (!bring_up(dp, side_of(&dp->worker[w], false), &ignored))
      side_of(&dp->worker[w], false)->stale = true;
  commit(dp);
  atomic_fetch_add(&dp->pushes, 1);
  return MARGAY_OK;
}

int margay_publish(margay_dataplane *dp, uint32_t generation) {
  return margay_on_control(dp, publish_task, &generation);
}
