/* The embedded dataplane: the packet program in a Wasm engine, behind a small API.
 *
 *   control thread (its own)        worker threads (the caller's)
 *   stage / module / publish   ──►  margay_process(dp, worker, ...)
 *        │                               ▲ frame boundary: change over to the store that is ready
 *        └─► idle store of each worker ──┘
 *
 * All engines that are not Node go through this file: the Node addon, the VPP plugin and later the
 * AF_PACKET loop. It moves bytes and knows nothing of policy or NAT.
 *
 * Life-cycle: margay_open, stage a Configure record, then pushes (margay_module*, margay_stage*,
 * margay_publish) beside margay_process on any number of threads, margay_close.
 *
 * Threads: margay_process and margay_age of one worker belong to one thread at a time. Every other
 * call may come from any thread; pushes are carried out, in order, by a control thread (its own, or
 * one that several dataplanes share), and the caller waits for the answer. A job that was posted
 * to that thread (control.h) may make all these calls itself.
 *
 * Errors: calls return 0 or a negative margay_error; margay_last_error() has the sentence. */
#ifndef MARGAY_DATAPLANE_H
#define MARGAY_DATAPLANE_H

#include <stddef.h>
#include <stdint.h>
#include "layout.h"

typedef struct margay_dataplane margay_dataplane;

typedef struct {
  const uint8_t *core;      /* the bytes of margay.wasm; copied */
  size_t core_length;
  uint32_t memory_pages;    /* 64 KiB each; 0 = 1,024. Fixed for the dataplane's life */
  uint32_t workers;         /* 1..MARGAY_WORKERS_MAX */
  int prefetch;             /* 0 = the prefetch import does nothing (bench) */
  int huge_pages;           /* 1 = madvise(MADV_HUGEPAGE) on the linear memory */
  int private_memory;       /* 1 = the core was built with a private memory; one worker (bench).
                               One store then serves worker and control: don't push meanwhile */
  struct margay_control *control; /* whose thread carries out pushes; NULL = its own. It must
                               outlive the dataplane */
  int keep_affinity;        /* 1 = its own control thread stays on the opener's CPUs; 0 = it may
                               run on any: a host may have pinned the opener to one CPU */
} margay_options;

/* One packet as the program sees it; the layout is assembly/layout.ts, pinned in dataplane.c. What
 * came out holds a window_length still, unless rewritten says MARGAY_REWRITTEN_TO_PEER: then the
 * packet goes on unchanged to the node of that number. */
typedef struct {
  uint32_t interface_index;
  uint32_t packet_length;
  union {
    uint16_t window_length;
    uint16_t peer;
  };
  uint8_t flags;
  uint8_t hook;
  uint8_t verdict, reason, rewritten, direction;
  uint32_t rule, session, backend, new_length;
} margay_slot;

/* Where a worker's next frame is written: 256 slots, 256 windows of 128 bytes; and, to be read,
 * what each policy stage said of each packet: by enum margay_stage, policy slot << 16 | rule, 0 =
 * not asked. They hold where a packet's reason isn't established. */
typedef struct {
  margay_slot *slots;
  uint8_t *windows;
  const uint32_t (*stages)[MARGAY_STAGES_BYTES / 4];
} margay_frame;

typedef enum {
  MARGAY_OK = 0,
  MARGAY_REFUSED = -1,       /* the core refused a record or a module: margay_last_error */
  MARGAY_ENGINE = -2,        /* Wasmtime refused: compile, instantiate, memory */
  MARGAY_BAD_ARGUMENT = -3,
  MARGAY_CORE_TRAPPED = -4,  /* margay_process: every slot of the frame says drop, core-trapped */
} margay_error;

/* What the core said when a call returned MARGAY_REFUSED. */
typedef struct {
  uint32_t error;  /* enum margay_stage_error */
  uint32_t record; /* ordinal of the refused record in the stream, 0-based */
  uint32_t detail; /* byte offset, index or value, by error */
} margay_refusal;

margay_dataplane *margay_open(const margay_options *options, char *error, size_t error_length);
void margay_close(margay_dataplane *dp);

/* Carry out a stream of stage records (layout.h). All or nothing: on a refusal, what was being
 * staged is abandoned and the published generation runs on. Module records in the stream are
 * admitted by the core, then compiled and kept for the next publish. */
int margay_stage(margay_dataplane *dp, const uint8_t *records, size_t length);

/* Admit and compile one module for a policy slot: a Module record around the bytes. kind is
 * MARGAY_SLOT_STATE_GENERATED or _USER. */
int margay_module(margay_dataplane *dp, uint32_t slot, uint32_t kind, const uint8_t *wasm,
                  size_t length);

/* Publish the staged generation: instantiate new modules in every idle store, make the generation
 * visible, change every worker over at its next frame boundary (an idle one at once), then bring
 * the other store of each worker up. Returns when no worker uses an older generation. */
int margay_publish(margay_dataplane *dp, uint32_t generation);

/* What has been staged since the dataplane was opened, as a running hash: at first 32 zeros, then
 * h = SHA-256(h || SHA-256(bytes)) for each call that was carried out: the bytes of its stream (a
 * module's: its Module record), of a publish its generation (u32, little-endian). A call that was
 * refused leaves h = SHA-256(h || 32 bytes of 255). Streams of nothing but Bind records don't count
 * where they are carried out. Two dataplanes with equal hashes were told the same. */
void margay_staged_hash(const margay_dataplane *dp, uint8_t hash[32]);

uint32_t margay_generation(const margay_dataplane *dp);
margay_frame margay_worker_frame(margay_dataplane *dp, uint32_t worker);

/* Run one frame. A slot whose verdict is reply holds an answer: the first new_length bytes of its
 * window are a packet to be sent to where the slot's packet came from. A trap in a policy: its slot
 * becomes deny, the frame is run again, the trap is kept for margay_traps(). A trap in the core:
 * MARGAY_CORE_TRAPPED. After MARGAY_BAD_ARGUMENT the slots are as they were: pass no packet. */
int margay_process(margay_dataplane *dp, uint32_t worker, uint32_t count, uint32_t now_ms,
                   uint32_t now_seconds);
/* End idle sessions: visits at most budget records; returns how many it ended. */
uint32_t margay_age(margay_dataplane *dp, uint32_t worker, uint32_t now_ms, uint32_t budget);

/* Takes session records of a family (4 or 6) as they once stood in the memory, `seen` by the clock
 * that is to be from now on; `records` is a multiple of a record's size, 32 KiB at most. On the
 * worker's own thread, between frames. Returns how many found room and were not known; 0 where the
 * core trapped, which margay_traps() tells. */
int margay_restore(margay_dataplane *dp, uint32_t worker, uint32_t family, const uint8_t *records,
                   size_t length);

/* Session records of a family bear numbers from 1 to below this; more may come meanwhile. */
uint32_t margay_sessions_end(const margay_dataplane *dp, uint32_t family);
/* Copies one (MARGAY_SESSION4_BYTES or 6) beside running workers: 1 if it is live and the copy
 * whole, else 0. */
int margay_session_copy(const margay_dataplane *dp, uint32_t family, uint32_t number,
                        uint8_t *record);

/* The linear memory, for readers (counters, session dump). Nobody writes it but the core; hosts
 * write only slots, windows and the staging buffer. */
const uint8_t *margay_memory(const margay_dataplane *dp, size_t *bytes);
uint64_t margay_counter(const margay_dataplane *dp, uint32_t reason); /* all workers added up */

typedef struct {
  uint32_t worker, policy_slot; /* policy_slot 0 = the core trapped */
  char message[240];
} margay_trap;
/* Takes the oldest trap not yet reported; returns 0 when there is none. */
int margay_traps(margay_dataplane *dp, margay_trap *trap);

typedef struct {
  uint64_t pushes, rebuilds, frames, policy_traps, core_traps;
  uint64_t traps_lost;      /* not kept for margay_traps(), because 64 were waiting */
  uint32_t instances_added; /* since the last rebuild, most of any store */
  uint32_t huge_pages;      /* 1 = the kernel took the advice */
} margay_statistics;
margay_statistics margay_stats(const margay_dataplane *dp);

const char *margay_last_error(void); /* of the calling thread */
margay_refusal margay_last_refusal(void);
/* Text of an enum value in kebab case; "unknown" for a value that has none. */
const char *margay_reason_text(uint32_t reason);
const char *margay_verdict_text(uint32_t verdict);
const char *margay_stage_error_text(uint32_t error);

#endif
