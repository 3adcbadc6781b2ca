/* The dataplane: opening and closing, frames, readers. Pushes are in push.c; the contract is in
 * dataplane.h, the change-over in internal.h.
 *
 *   margay_process: enter ─► target ─► core.process ─┬ ok ─► leave
 *                                                    └ trap ─► core.recover ─┬ slot: run again
 *                                                                            └ 0: frame dropped */
#include "dataplane.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

#define PAGES_DEFAULT 1024u
#define PAGES_MIN 64u
#define PAGES_MAX 65536u

#define PIN(field, offset) \
  _Static_assert(offsetof(margay_slot, field) == (offset), "margay_slot." #field)
PIN(interface_index, MARGAY_SLOT_INTERFACE);
PIN(packet_length, MARGAY_SLOT_PACKET_LENGTH);
PIN(window_length, MARGAY_SLOT_WINDOW_LENGTH);
PIN(peer, MARGAY_SLOT_PEER);
PIN(flags, MARGAY_SLOT_FLAGS);
PIN(hook, MARGAY_SLOT_HOOK);
PIN(verdict, MARGAY_SLOT_VERDICT);
PIN(reason, MARGAY_SLOT_REASON);
PIN(rewritten, MARGAY_SLOT_REWRITTEN);
PIN(direction, MARGAY_SLOT_DIRECTION);
PIN(rule, MARGAY_SLOT_RULE);
PIN(session, MARGAY_SLOT_SESSION);
PIN(backend, MARGAY_SLOT_BACKEND);
PIN(new_length, MARGAY_SLOT_NEW_LENGTH);
_Static_assert(sizeof(margay_slot) == MARGAY_SLOT_BYTES, "margay_slot");
_Static_assert(MARGAY_FRAME_SLOTS + MARGAY_FRAME_PACKETS_MAX * MARGAY_SLOT_BYTES <=
                       MARGAY_FRAME_WINDOWS &&
                   MARGAY_FRAME_WINDOWS + MARGAY_FRAME_PACKETS_MAX * MARGAY_WINDOW_BYTES <=
                       MARGAY_FRAME_SCRATCH,
               "the parts of a frame overlap");
_Static_assert(MARGAY_FRAMES + MARGAY_WORKERS_MAX * MARGAY_FRAME_BYTES <= PAGES_MIN * 65536ull,
               "the frames exceed the least memory");

/* ---- Errors --------------------------------------------------------------------------------- */

static _Thread_local margay_message last_error;
static _Thread_local margay_refusal last_refusal;

int margay_fail(int error, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error.text, sizeof last_error.text, format, arguments);
  va_end(arguments);
  return error;
}

const char *margay_last_error(void) { return last_error.text; }
margay_refusal margay_last_refusal(void) { return last_refusal; }

#define CASE(value, text) \
  case value: return text;
const char *margay_reason_text(uint32_t reason) {
  switch (reason) { MARGAY_REASONS(CASE) default: return "unknown"; }
}
const char *margay_verdict_text(uint32_t verdict) {
  switch (verdict) { MARGAY_VERDICTS(CASE) default: return "unknown"; }
}
const char *margay_stage_error_text(uint32_t error) {
  switch (error) { MARGAY_STAGE_ERRORS(CASE) default: return "unknown"; }
}

typedef struct {
  margay_dataplane *dp;
  margay_task task;
  const void *argument;
  margay_message error;
  margay_refusal refusal;
} errand;

static int run_errand(void *argument) {
  errand *e = argument;
  return e->task(e->dp, e->argument, &e->error, &e->refusal);
}

int margay_on_control(margay_dataplane *dp, margay_task task, const void *argument) {
  errand e = {.dp = dp, .task = task, .argument = argument};
  int answer = margay_control_run(dp->control, run_errand, &e);
  if (answer < 0) {
    last_error = e.error;
    last_refusal = e.refusal;
  }
  return answer;
}

/* ---- Opening and closing -------------------------------------------------------------------- */

static const char *bad_option(const margay_options *options) {
  if (!options->core || !options->core_length) return "core: no bytes";
  if (options->workers < 1 || options->workers > MARGAY_WORKERS_MAX) return "workers: not 1..16";
  if (options->private_memory && options->workers != 1) return "private_memory: only one worker";
  if (options->memory_pages && options->memory_pages < PAGES_MIN) return "memory_pages: under 64";
  if (options->memory_pages > PAGES_MAX) return "memory_pages: over 65,536";
  return NULL;
}

static int open_on_control(margay_dataplane *dp, const void *argument, margay_message *error,
                           margay_refusal *refusal) {
  (void)refusal;
  const margay_options *options = argument;
  margay_engine_options wanted = {
      .memory_pages = options->memory_pages ? options->memory_pages : PAGES_DEFAULT,
      .private_memory = options->private_memory,
      .huge_pages = options->huge_pages,
      .prefetch = options->prefetch,
  };
  dp->engine = margay_engine_new(&wanted, error);
  if (!dp->engine) return MARGAY_ENGINE;
  dp->core = margay_code_new(dp->engine, options->core, options->core_length, error);
  if (!dp->core) return MARGAY_ENGINE;
  dp->control_store = margay_store_new(dp->engine, dp->core, error);
  if (!dp->control_store) return MARGAY_ENGINE;
  dp->memory = margay_engine_memory(dp->engine, &dp->memory_bytes);
  for (uint32_t w = 0; w < dp->workers; w++)
    for (int i = 0; i < 2; i++)
      if (!margay_side_make(dp, &dp->worker[w].side[i], error)) return MARGAY_ENGINE;
  return MARGAY_OK;
}

static int close_on_control(margay_dataplane *dp, const void *argument, margay_message *error,
                            margay_refusal *refusal) {
  (void)argument, (void)error, (void)refusal;
  margay_pending_drop(dp);
  for (uint32_t w = 0; w < dp->workers; w++)
    for (int i = 0; i < 2; i++)
      if (dp->worker[w].side[i].store != dp->control_store)
        margay_store_delete(dp->worker[w].side[i].store);
  margay_store_delete(dp->control_store);
  for (uint32_t slot = 0; slot < MARGAY_POLICY_SLOTS_MAX; slot++)
    margay_code_delete(dp->slot[slot]);
  margay_code_delete(dp->core);
  margay_engine_delete(dp->engine);
  return MARGAY_OK;
}

margay_dataplane *margay_open(const margay_options *options, char *error, size_t error_length) {
  const char *bad = bad_option(options);
  margay_dataplane *dp = bad ? NULL : calloc(1, sizeof *dp);
  size_t bytes = options->workers * sizeof(margay_worker);
  if (dp) dp->worker = aligned_alloc(_Alignof(margay_worker), bytes);
  if (!bad && (!dp || !dp->worker)) bad = "open: out of memory";
  if (!bad) {
    memset(dp->worker, 0, bytes);
    dp->workers = options->workers;
    dp->private_memory = options->private_memory;
    pthread_mutex_init(&dp->traps_mutex, NULL);
    pthread_mutex_init(&dp->staged_mutex, NULL);
    dp->control = options->control;
    dp->own_control = !dp->control;
    const margay_control_options control = {.keep_affinity = options->keep_affinity};
    if (dp->own_control) dp->control = margay_control_start(&control);
    if (!dp->control) bad = "open: no control thread can be made";
  }
  if (!bad && margay_on_control(dp, open_on_control, options) < 0) bad = margay_last_error();
  if (!bad) return dp;
  if (error_length) snprintf(error, error_length, "%s", bad);
  margay_close(dp);
  return NULL;
}

void margay_close(margay_dataplane *dp) {
  if (!dp) return;
  if (dp->control) {
    margay_control_run(dp->control, run_errand, &(errand){.dp = dp, .task = close_on_control});
    if (dp->own_control) margay_control_stop(dp->control);
    pthread_mutex_destroy(&dp->traps_mutex);
    pthread_mutex_destroy(&dp->staged_mutex);
  }
  free(dp->worker);
  free(dp);
}

/* ---- Frames --------------------------------------------------------------------------------- */

margay_frame margay_worker_frame(margay_dataplane *dp, uint32_t worker) {
  if (worker >= dp->workers) return (margay_frame){0};
  uint8_t *frame = dp->memory + MARGAY_FRAMES + (size_t)worker * MARGAY_FRAME_BYTES;
  return (margay_frame){.slots = (margay_slot *)(frame + MARGAY_FRAME_SLOTS),
                        .windows = frame + MARGAY_FRAME_WINDOWS,
                        .stages = (const void *)(frame + MARGAY_FRAME_STAGES)};
}

/* Before target is read: the exchange orders the two, and control's write and read of them. */
static uint64_t enter(margay_worker *w) {
  uint32_t epoch = atomic_load_explicit(&w->epoch, memory_order_relaxed);
  atomic_exchange_explicit(&w->epoch, epoch + 1, memory_order_seq_cst);
  return atomic_load_explicit(&w->target, memory_order_seq_cst);
}

static void leave(margay_worker *w) {
  uint32_t epoch = atomic_load_explicit(&w->epoch, memory_order_relaxed);
  atomic_store_explicit(&w->epoch, epoch + 1, memory_order_release);
}

/* Where recover itself traps, nothing of the core's word can be relied on: no packet passes. */
static void drop_frame(margay_dataplane *dp, uint32_t worker, uint32_t count) {
  margay_slot *slot = margay_worker_frame(dp, worker).slots;
  for (uint32_t i = 0; i < count; i++) {
    slot[i].verdict = MARGAY_VERDICT_DROP;
    slot[i].reason = MARGAY_REASON_CORE_TRAPPED;
    slot[i].rewritten = 0;
  }
}

void margay_trap_keep(margay_dataplane *dp, uint32_t worker, uint32_t slot, const char *message) {
  pthread_mutex_lock(&dp->traps_mutex);
  if (slot) dp->policy_traps++;
  else dp->core_traps++;
  if (dp->traps_count == MARGAY_TRAPS_KEPT) dp->traps_lost++;
  else {
    uint32_t at = (dp->traps_first + dp->traps_count++) % MARGAY_TRAPS_KEPT;
    margay_trap *trap = &dp->traps[at];
    *trap = (margay_trap){.worker = worker, .policy_slot = slot};
    snprintf(trap->message, sizeof trap->message, "%s", message);
  }
  pthread_mutex_unlock(&dp->traps_mutex);
}

/* The slot of the policy that trapped, 0 for the core, -1 when recover trapped as well. */
static int recover(margay_dataplane *dp, margay_store *store, uint32_t worker,
                   const margay_message *trap) {
  margay_message second;
  int32_t values[MARGAY_CALL_ARGUMENTS_MAX] = {(int32_t)worker};
  bool recovered = margay_store_call(store, MARGAY_CALL_RECOVER, values, &second);
  int slot = recovered ? values[0] : -1;
  margay_trap_keep(dp, worker, slot > 0 ? (uint32_t)slot : 0, trap->text);
  if (!recovered) margay_trap_keep(dp, worker, 0, second.text);
  return slot;
}

int margay_process(margay_dataplane *dp, uint32_t worker, uint32_t count, uint32_t now_ms,
                   uint32_t now_seconds) {
  if (worker >= dp->workers)
    return margay_fail(MARGAY_BAD_ARGUMENT, "process: no worker %u of %u", worker, dp->workers);
  if (count > MARGAY_FRAME_PACKETS_MAX)
    return margay_fail(MARGAY_BAD_ARGUMENT, "process: %u packets, at most 256", count);
  margay_worker *w = &dp->worker[worker];
  uint64_t target = enter(w);
  margay_store *store = w->side[target & 1].store;
  int result = MARGAY_OK;
  /* Each run more has a policy slot less, so that the number of runs is bounded by the slots. */
  for (uint32_t run = 0;; run++) {
    margay_message trap;
    int32_t values[MARGAY_CALL_ARGUMENTS_MAX] = {(int32_t)worker, (int32_t)count, (int32_t)now_ms,
                                                 (int32_t)now_seconds, (int32_t)(target >> 1)};
    if (__builtin_expect(margay_store_call(store, MARGAY_CALL_PROCESS, values, &trap), 1)) {
      if (values[0]) result = MARGAY_BAD_ARGUMENT;
      break;
    }
    int slot = recover(dp, store, worker, &trap);
    if (slot > 0 && run < MARGAY_POLICY_SLOTS_MAX) continue;
    if (slot != 0) drop_frame(dp, worker, count);
    result = margay_fail(MARGAY_CORE_TRAPPED, "process: core trapped: %.400s", trap.text);
    break;
  }
  atomic_store_explicit(&w->frames, atomic_load_explicit(&w->frames, memory_order_relaxed) + 1,
                        memory_order_relaxed);
  leave(w);
  if (result == MARGAY_BAD_ARGUMENT)
    return margay_fail(result, "process: the core refused worker %u, count %u", worker, count);
  return result;
}

uint32_t margay_age(margay_dataplane *dp, uint32_t worker, uint32_t now_ms, uint32_t budget) {
  if (worker >= dp->workers) return 0;
  margay_worker *w = &dp->worker[worker];
  uint64_t target = enter(w);
  margay_store *store = w->side[target & 1].store;
  margay_message trap;
  int32_t values[MARGAY_CALL_ARGUMENTS_MAX] = {(int32_t)worker, (int32_t)now_ms, (int32_t)budget};
  bool ran = margay_store_call(store, MARGAY_CALL_AGE, values, &trap);
  if (!ran) recover(dp, store, worker, &trap);
  leave(w);
  return ran ? (uint32_t)values[0] : 0;
}

int margay_restore(margay_dataplane *dp, uint32_t worker, uint32_t family, const uint8_t *records,
                   size_t length) {
  size_t size = family == 4 ? MARGAY_SESSION4_BYTES : MARGAY_SESSION6_BYTES;
  if (worker >= dp->workers)
    return margay_fail(MARGAY_BAD_ARGUMENT, "restore: no worker %u of %u", worker, dp->workers);
  if ((family != 4 && family != 6) || length % size)
    return margay_fail(MARGAY_BAD_ARGUMENT, "restore: %zu bytes of family %u", length, family);
  if (length > MARGAY_FRAME_SCRATCH - MARGAY_FRAME_WINDOWS)
    return margay_fail(MARGAY_BAD_ARGUMENT, "restore: %zu bytes, at most 32 KiB", length);
  margay_worker *w = &dp->worker[worker];
  uint64_t target = enter(w);
  margay_store *store = w->side[target & 1].store;
  memcpy(margay_worker_frame(dp, worker).windows, records, length);
  margay_message trap;
  int32_t values[MARGAY_CALL_ARGUMENTS_MAX] = {(int32_t)worker, (int32_t)family,
                                               (int32_t)(length / size)};
  bool ran = margay_store_call(store, MARGAY_CALL_RESTORE, values, &trap);
  if (!ran) recover(dp, store, worker, &trap);
  leave(w);
  if (!ran) return 0;
  if (values[0] < 0) return margay_fail(MARGAY_BAD_ARGUMENT, "restore: the core refused it");
  return values[0];
}

/* ---- Readers -------------------------------------------------------------------------------- */

uint32_t margay_generation(const margay_dataplane *dp) { return atomic_load(&dp->generation); }

const uint8_t *margay_memory(const margay_dataplane *dp, size_t *bytes) {
  if (bytes) *bytes = dp->memory_bytes;
  return dp->memory;
}

uint64_t margay_counter(const margay_dataplane *dp, uint32_t reason) {
  uint64_t sum = 0;
  if (reason >= MARGAY_COUNTERS) return 0;
  for (uint32_t w = 0; w < dp->workers; w++) {
    const uint8_t *at = dp->memory + MARGAY_WORKERS + (size_t)w * MARGAY_WORKER_BYTES +
                        MARGAY_WORKER_COUNTERS + (size_t)reason * 8;
    sum += __atomic_load_n((const uint64_t *)(const void *)at, __ATOMIC_RELAXED);
  }
  return sum;
}

int margay_traps(margay_dataplane *dp, margay_trap *trap) {
  pthread_mutex_lock(&dp->traps_mutex);
  int found = dp->traps_count > 0;
  if (found) {
    *trap = dp->traps[dp->traps_first];
    dp->traps_first = (dp->traps_first + 1) % MARGAY_TRAPS_KEPT;
    dp->traps_count--;
  }
  pthread_mutex_unlock(&dp->traps_mutex);
  return found;
}

margay_statistics margay_stats(const margay_dataplane *dp) {
  pthread_mutex_t *mutex = (pthread_mutex_t *)&dp->traps_mutex;
  margay_statistics s = {
      .pushes = atomic_load(&dp->pushes),
      .rebuilds = atomic_load(&dp->rebuilds),
      .instances_added = atomic_load(&dp->instances_added),
      .huge_pages = margay_engine_huge_pages(dp->engine),
  };
  for (uint32_t w = 0; w < dp->workers; w++) s.frames += atomic_load(&dp->worker[w].frames);
  pthread_mutex_lock(mutex);
  s.policy_traps = dp->policy_traps;
  s.core_traps = dp->core_traps;
  s.traps_lost = dp->traps_lost;
  pthread_mutex_unlock(mutex);
  return s;
}
