/* The VPP adapter: what its files share.
 *
 *   ip4/6-input ─► margay-ip4/6-input ─► lookup ─┬► rewrite ─► margay-ip4/6-output ─► interface
 *    unicast, multicast │  judge, mark           └► receive ─► margay-ip4/6-local  ─► host stack
 *                       ├─► reassembly ─► margay-ip4/6-fragment       (input.c, fragment.c)
 *   ip4/6-icmp-error ─► margay-ip4/6-error ─► lookup    (error.c)
 *   ip4-input ─► margay-ip4-options (options.c)   host stack's table ─► margay-ip4/6-host (host.c)
 *
 *   API (api.c, ...), CLI (cli.c, ...) ─► jobs.h: control thread ─► native/dataplane.h ─► engine
 *   margay-age (age.c): ends idle sessions, traffic or not
 *
 * Dataplane worker number = VPP thread index: 0 is the main thread.
 *
 * The mark. A packet that came in by an interface is judged once, by the input arc, which always
 * clears the mark and sets it on what it passes. Output and local arcs pass what is marked, and
 * judge what isn't as the host's own. A buffer that was delivered to the host loses the mark and is
 * `delivered`: what VPP makes out of it there (echo replies, TCP resets) is the host's own; what it
 * punts goes on as judged (output.c).
 *
 * Life-cycle: the plugin registers nodes and commands at start; `margay core` opens the dataplane
 * (never an init function: VPP's early configuration would take the engine's signal handlers away).
 * Another one takes its place between two frames (core.c). Until it is there, and until a
 * generation is published, an enabled interface drops everything (no-generation). Every interface
 * is enabled when it is made, unless startup.conf says `margay { manual }` (interface.c).
 *
 * Limits: what is not IP (ARP, MPLS, bridged frames) does not pass the arcs. */
#ifndef MARGAY_VPP_H
#define MARGAY_VPP_H

#include <vlib/vlib.h>
#include <vnet/vnet.h>
#include <vnet/buffer.h>
#include "dataplane.h"

/* From the end of what VPP leaves free: it takes bits from the front. */
#define MARGAY_BUFFER_F_JUDGED	  VNET_BUFFER_F_AVAIL9
#define MARGAY_BUFFER_F_DELIVERED VNET_BUFFER_F_AVAIL8
#define MARGAY_BUFFER_MARKS	  (MARGAY_BUFFER_F_JUDGED | MARGAY_BUFFER_F_DELIVERED)

/* What is never bound in the program: the number of all interfaces that nobody has bound. */
#define MARGAY_INTERFACE_UNBOUND (MARGAY_INTERFACES_MAX - 1)

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
  clib_bitmap_t *inputs;      /* interfaces with our arcs on */
  u8 log_flows;		      /* somebody listens to flows: flowlog.h */
  u8 fail_closed;	      /* new interfaces get our arcs at once */
  u8 no_reassembly;	      /* fragments are judged as they come */
  u8 is_started;	      /* startup.conf has been read */
  vlib_log_class_t log_class;
  /* By sw_if_index: the program's number of the interface, the same once it is bound. */
  u32 interface_of[MARGAY_INTERFACES_MAX];
  u32 incarnations[MARGAY_INTERFACES_MAX]; /* how many interfaces of that number have gone */
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

always_inline u32
margay_session_bytes (u32 family)
{
  return family == 6 ? MARGAY_SESSION6_BYTES : MARGAY_SESSION4_BYTES;
}

/* What the program calls an interface. Workers read it, the main thread writes it. */
always_inline u32
margay_interface_of (u32 sw_if_index)
{
  return margay_main.interface_of[clib_min (sw_if_index, MARGAY_INTERFACE_UNBOUND)];
}

/* One error of a node for each reason, under its own name, and those of the adapter alone. */
#define X(value, text) +1
enum
{
  MARGAY_ERROR_NO_TUNNEL = 0 MARGAY_REASONS (X),
  MARGAY_ERROR_SOURCE_ROUTE,
  MARGAY_ERROR_BAD_OPTIONS,
  MARGAY_N_ERRORS,
};
#undef X
extern vlib_error_desc_t margay_error_counters[MARGAY_N_ERRORS];

/* interface.c: on the main thread */
void margay_interfaces_start (int fail_closed);
clib_error_t *margay_input_enable (u32 sw_if_index, int is_enable);
void margay_mode_set (int fail_closed);
u32 margay_interface_incarnation (u32 sw_if_index);
/* A bind that was begun in that incarnation has been carried out; of another one it is void. */
void margay_interface_bound (u32 sw_if_index, u32 incarnation, u32 endpoint);
void margay_interface_unbound (u32 sw_if_index);

/* margay.c: what node `from` and its siblings send to `to` goes to another node instead. */
void margay_stand_between (vlib_main_t *vm, char *from, char *to, u32 node_index);

/* dpo.c */
void margay_host_stack_interface_gone (u32 sw_if_index);
clib_error_t *margay_host_stack_add_del (u32 table_id, u32 sw_if_index, u32 via_table_id,
					 int is_add);

/* format.c */
format_function_t format_margay_trace;

#endif
