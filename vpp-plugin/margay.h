/* The VPP adapter: what its files share.
 *
 *   ip4/ip6-input ─► margay-ip4/6-input (node.c) ─► ip4/6-lookup        one per worker, per frame
 *                        │ frame ─► slots + windows ─► margay_process ─► verdicts
 *   CLI (cli.c, show.c) ─┴─► native/dataplane.h ─► Wasm engine
 *   margay-age (age.c): ends idle sessions, traffic or not
 *
 * Dataplane worker number = VPP thread index: 0 is the main thread.
 *
 * Life-cycle: the plugin registers nodes and commands at start; `margay core` opens the dataplane
 * (after VPP's early configuration, which would otherwise take the engine's signal handlers away).
 * There is one dataplane for the life of the process. Until it is there, and until a generation is
 * published, an enabled interface drops everything (no-generation).
 *
 * Limits: multicast, and IPv4 packets with options, do not pass the unicast arc: VPP sends them to
 * its multicast tables or punts them, it never forwards them by its unicast routes. */
#ifndef MARGAY_VPP_H
#define MARGAY_VPP_H

#include <vlib/vlib.h>
#include <vnet/vnet.h>
#include "dataplane.h"

/* A worker's frame region in the shared memory, looked up once. */
typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (cacheline0);
  margay_slot *slots;
  u8 *windows;
  const u32 (*stages)[MARGAY_STAGES_BYTES / 4];
  u64 sessions_aged;
} margay_thread_t;

/* Where nowMs and nowSeconds come from. */
typedef struct
{
  u8 is_fixed;	    /* `margay clock set`: both below hold, and nothing ages by itself */
  u32 fixed_ms;
  u32 fixed_seconds;
  u32 unix_seconds; /* refreshed by the aging process, so that a frame makes no system call */
} margay_clock_t;

typedef struct
{
  margay_dataplane *dataplane; /* 0 until `margay core` */
  margay_thread_t *threads;    /* by thread index */
  u32 workers;
  margay_clock_t clock;
  u8 *core_file;	      /* C string */
  clib_bitmap_t *inputs;      /* interfaces that `set margay input` enabled */
  vlib_log_class_t log_class;
} margay_main_t;

extern margay_main_t margay_main;
extern vlib_node_registration_t margay_age_node;
extern vlib_node_registration_t margay_process_node;

always_inline u32
margay_now_ms (vlib_main_t *vm)
{
  margay_clock_t *clock = &margay_main.clock;
  return clock->is_fixed ? clock->fixed_ms : (u32) (u64) (vlib_time_now (vm) * 1e3);
}

always_inline u32
margay_now_seconds (void)
{
  margay_clock_t *clock = &margay_main.clock;
  return clock->is_fixed ? clock->fixed_seconds : clock->unix_seconds;
}

/* margay.c */
clib_error_t *margay_open_core (vlib_main_t *vm, margay_options *options, u8 *file);
clib_error_t *margay_input_enable (u32 sw_if_index, int is_enable);

/* age.c: session records in both tables, by their budget */
u32 margay_session_records (void);

/* format.c */
const char *margay_verdict_name (u32 verdict);
const char *margay_reason_name (u32 reason);
format_function_t format_margay_trace;
format_function_t format_margay_session;

/* What a traced packet keeps: the verdict and both ends of the rewrite, addresses as 128 bits. */
typedef struct
{
  u8 source[16], destination[16];
  u16 source_port, destination_port; /* host order */
} margay_trace_tuple_t;

typedef struct
{
  u8 is_ip6, protocol, verdict, reason, rewritten, direction;
  u32 rule, backend, sw_if_index, packet_length, peer;
  u32 stages[MARGAY_STAGES]; /* policy slot << 16 | rule, 0 = not asked */
  margay_trace_tuple_t before, after;
} margay_trace_t;

/* A line of `show margay sessions`: a record of the IPv4 or the IPv6 table. */
typedef struct
{
  const u8 *record;
  u8 is_ip6;
} margay_session_t;

#endif
