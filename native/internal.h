/* What dataplane.c (workers) and push.c (control) share; no caller includes it.
 *
 *   worker w:   target = generation << 1 | which store  written by control, read at a frame's start
 *               stores[0] ── in use ──┐
 *               stores[1]    idle     └─ the one that target names; the other belongs to control
 *               epoch     odd inside margay_process and margay_age, even outside
 *
 * Change-over: control writes target, then reads epoch. Even: the worker is outside, and whenever
 * it enters it will see the new target. Odd: control waits until the epoch moves on; from then on
 * the same holds. So an idle worker is changed over at once and a busy one at its frame's end, and
 * neither is ever stopped. */
#ifndef MARGAY_INTERNAL_H
#define MARGAY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "control.h"
#include "dataplane.h"
#include "engine.h"

/* After so many added modules a store is rebuilt aside: instances die only with their store. */
#define MARGAY_INSTANCES_MAX 1000u
#define MARGAY_TRAPS_KEPT 64u

typedef struct {
  margay_store *store;
  uint32_t added; /* modules instantiated since it was made */
  bool stale;     /* its table isn't that of any generation: rebuild before use */
} margay_side;

typedef struct {
  _Alignas(64) _Atomic uint32_t epoch;
  _Atomic uint64_t target;
  _Atomic uint64_t frames;
  margay_side side[2];
} margay_worker;

/* A module that a stream brought, until the next publish; without code it empties the slot. */
typedef struct {
  uint32_t slot;
  margay_code *code;
} margay_pending;

struct margay_dataplane {
  margay_control *control;
  bool own_control;
  margay_engine *engine;
  margay_code *core;
  margay_store *control_store;
  uint8_t *memory;
  size_t memory_bytes;
  uint32_t workers;
  bool private_memory;
  margay_worker *worker;

  /* Control's alone. */
  margay_code *slot[MARGAY_POLICY_SLOTS_MAX]; /* of the published generation */
  margay_pending pending[MARGAY_POLICY_SLOTS_MAX];
  uint32_t pending_count;

  _Atomic uint32_t generation, instances_added;
  _Atomic uint64_t pushes, rebuilds;

  pthread_mutex_t staged_mutex;
  uint8_t staged[32]; /* written by control */

  pthread_mutex_t traps_mutex;
  margay_trap traps[MARGAY_TRAPS_KEPT]; /* a ring */
  uint32_t traps_first, traps_count;
  uint64_t policy_traps, core_traps, traps_lost;
};

/* Sets the sentence that margay_last_error returns on this thread; returns `error`. */
int margay_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* On the control thread: a store for a worker, holding every module of the published generation. */
bool margay_side_make(margay_dataplane *dp, margay_side *side, margay_message *error);
void margay_pending_drop(margay_dataplane *dp);
void margay_trap_keep(margay_dataplane *dp, uint32_t worker, uint32_t slot, const char *message);
/* Runs a job on the control thread and brings its error back to this one. */
typedef int (*margay_task)(margay_dataplane *dp, const void *argument, margay_message *error,
                           margay_refusal *refusal);
int margay_on_control(margay_dataplane *dp, margay_task task, const void *argument);

static inline uint32_t margay_u32(const uint8_t *at) {
  uint32_t value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

#endif
