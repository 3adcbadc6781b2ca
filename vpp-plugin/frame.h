/* A frame judged: what all our nodes share. One margay_process a frame.
 *
 *   buffers ─► slots + windows ─► margay_process ─► apply
 *                pass:  marked; rewritten headers copied back
 *                reply: the window becomes the packet, which ip4-lookup or ip6-lookup sends as the
 *                       node's own; counted under its reason
 *                else:  error-drop, with the reason as the node's error
 *
 * Where a packet stands says what the program is told of it, and what becomes of it:
 *
 *             interface, hook                    passed as it is       passed rewritten
 *   input     the one it came in by, entering    next feature          next feature
 *   output    the host, leaving; if not VPP's    next feature          look-up
 *             own: copied, or as at input
 *   local     the host, leaving, if VPP made it  next feature          look-up
 *             else as at input
 *   error     the host, leaving                  look-up               look-up
 *   host      the one of the host stack's table  look-up in another    same
 *
 * What the program passes on to another node as it is (Rewritten.ToPeer) wants a tunnel to that
 * node. There is none here yet: it is dropped, as no-tunnel-to-peer.
 *
 * Nothing is decided here. ip4-input has checked version, length, TTL and header checksum,
 * ip6-input version and hop limit, which is what the slot flag `checked` says; VPP's own packets
 * are right in these. Lengths inside the packet the program checks itself.
 *
 * Compiled once for each CPU generation that VPP knows (MULTIARCH_SOURCES). */
#ifndef MARGAY_FRAME_H
#define MARGAY_FRAME_H
#include "flowlog.h"
#include "trace.h"
#include <vnet/feature/feature.h>

/* The first next nodes of every node that judges. */
typedef enum
{
  MARGAY_NEXT_DROP,
  MARGAY_NEXT_LOOKUP,
  MARGAY_N_NEXT,
} margay_next_t;

typedef enum
{
  MARGAY_AT_INPUT,
  MARGAY_AT_OUTPUT,
  MARGAY_AT_LOCAL,
  MARGAY_AT_ERROR,
  MARGAY_AT_HOST, /* interface and table stand in the buffer: the node put them there */
} margay_place_t;

/* What all our nodes have. */
#define MARGAY_NODE(text)                                                                         \
  .name = text, .vector_size = sizeof (u32), .format_trace = format_margay_trace,                 \
  .n_errors = MARGAY_N_ERRORS, .error_counters = margay_error_counters

#define MARGAY_REGISTER_NODE(variable, text, lookup)                                              \
  VLIB_REGISTER_NODE (variable) = {                                                               \
    MARGAY_NODE (text),                                                                           \
    .flags = VLIB_NODE_FLAG_TRACE_SUPPORTED,                                                      \
    .n_next_nodes = MARGAY_N_NEXT,                                                                \
    .next_nodes = { [MARGAY_NEXT_DROP] = "error-drop", [MARGAY_NEXT_LOOKUP] = lookup },           \
  }

/* With the next nodes of another. */
#define MARGAY_REGISTER_SIBLING(variable, text, sibling)                                          \
  VLIB_REGISTER_NODE (variable) = { MARGAY_NODE (text), .sibling_of = sibling }

#define MARGAY_PREFETCH 8
#define MARGAY_HOST_INTERFACE 0 /* VPP's local0 */

/* At output arcs the L3 header stands behind what ip4-rewrite has put in front. */
static_always_inline void
margay_to_l3 (vlib_buffer_t *b)
{
  vlib_buffer_advance (b, vnet_buffer (b)->ip.save_rewrite_length);
}

/* Nonzero where it is a fragment; of IPv6 where its header says so first, as every fragment's
 * does that VPP can put in order. */
static_always_inline u32
margay_fragment_bits (const u8 *l3, int is_ip6)
{
  return is_ip6 ? l3[6] == IP_PROTOCOL_IPV6_FRAGMENTATION :
		  *(const u16 *) (l3 + 6) & clib_host_to_net_u16 (0x3fff);
}

static_always_inline int
margay_is_multicast (const u8 *l3, int is_ip6)
{
  return is_ip6 ? l3[24] == 0xff : (l3[16] & 0xf0) == 0xe0;
}

/* Unmarked on its way out, though not VPP's own: a fragment or copy that VPP made of a packet of an
 * interface, which a session lets pass; or a packet that was decapsulated past the input arcs,
 * which is judged as the interface's. */
static_always_inline int
margay_is_of_interface (vlib_buffer_t *b, u32 rx)
{
  return !(b->flags & (VNET_BUFFER_F_LOCALLY_ORIGINATED | MARGAY_BUFFER_F_DELIVERED)) &&
	 rx != MARGAY_HOST_INTERFACE && clib_bitmap_get (margay_main.inputs, rx);
}

static_always_inline u8
margay_hook (vlib_buffer_t *b, const u8 *l3, int is_ip6, margay_place_t place)
{
  u32 rx = vnet_buffer (b)->sw_if_index[VLIB_RX];

  switch (place)
    {
    case MARGAY_AT_OUTPUT:
      if (!margay_is_of_interface (b, rx))
	return MARGAY_SLOT_HOOK_LEAVING;
      return margay_fragment_bits (l3, is_ip6) || margay_is_multicast (l3, is_ip6) ?
	       MARGAY_SLOT_HOOK_COPIED :
	       MARGAY_SLOT_HOOK_ENTERING;
    case MARGAY_AT_LOCAL:
      return rx == MARGAY_HOST_INTERFACE || (b->flags & VNET_BUFFER_F_LOCALLY_ORIGINATED) ?
	       MARGAY_SLOT_HOOK_LEAVING :
	       MARGAY_SLOT_HOOK_ENTERING;
    case MARGAY_AT_ERROR:
      return MARGAY_SLOT_HOOK_LEAVING;
    case MARGAY_AT_INPUT:
    case MARGAY_AT_HOST:
      break;
    }
  return MARGAY_SLOT_HOOK_ENTERING;
}

/* Whose packet it is: what enters is its interface's, all else the host's. */
static_always_inline void
margay_set_origin (margay_slot *slot, vlib_buffer_t *b, const u8 *l3, int is_ip6,
		   margay_place_t place)
{
  slot->hook = margay_hook (b, l3, is_ip6, place);
  slot->interface_index =
    margay_interface_of (slot->hook == MARGAY_SLOT_HOOK_ENTERING ?
			   vnet_buffer (b)->sw_if_index[VLIB_RX] :
			   MARGAY_HOST_INTERFACE);
}

/* Answers nonzero where a fragment is among them. */
static_always_inline u32
margay_fill (vlib_main_t *vm, margay_thread_t *mt, vlib_buffer_t **b, u32 n, int is_ip6,
	     margay_place_t place)
{
  margay_slot *slot = mt->slots;
  u8 *window = mt->windows;
  u32 fragments = 0;

  for (u32 i = 0; i < n; i++, slot++, window += MARGAY_WINDOW_BYTES)
    {
      if (i + 2 * MARGAY_PREFETCH < n)
	vlib_prefetch_buffer_header (b[i + 2 * MARGAY_PREFETCH], LOAD);
      if (i + MARGAY_PREFETCH < n)
	CLIB_PREFETCH (vlib_buffer_get_current (b[i + MARGAY_PREFETCH]), CLIB_CACHE_LINE_BYTES,
		       LOAD);
      u32 valid = margay_read_window (vm, b[i], window, is_ip6);
      fragments |= margay_fragment_bits (window, is_ip6);
      *slot = (margay_slot){
	.packet_length = vlib_buffer_length_in_chain (vm, b[i]),
	.window_length = valid,
	.flags = margay_slot_flags (b[i]),
      };
      margay_set_origin (slot, b[i], window, is_ip6, place);
    }
  return fragments;
}

/* To the look-up by the table of the interface that it came in by; the host's own by table 0. */
static_always_inline void
margay_to_lookup (vlib_buffer_t *b, const margay_slot *slot)
{
  vnet_buffer (b)->sw_if_index[VLIB_TX] = ~0;
  vnet_buffer (b)->oflags &=
    ~(VNET_BUFFER_OFFLOAD_F_TNL_MASK | VNET_BUFFER_OFFLOAD_F_OUTER_IP_CKSUM |
      VNET_BUFFER_OFFLOAD_F_OUTER_UDP_CKSUM);
  /* Its TTL has been counted down already, or is VPP's own. */
  if (slot->hook != MARGAY_SLOT_HOOK_ENTERING)
    b->flags |= VNET_BUFFER_F_LOCALLY_ORIGINATED;
}

static_always_inline u16
margay_pass (vlib_main_t *vm, vlib_buffer_t *b, const margay_slot *slot, const u8 *window,
	     int is_ip6, margay_place_t place)
{
  int is_rewritten = slot->rewritten & MARGAY_REWRITTEN_HEADER;
  u16 next = MARGAY_NEXT_LOOKUP;

  if (is_rewritten)
    margay_write_window (vm, b, window, slot->window_length);
  if (PREDICT_FALSE (slot->new_length < slot->packet_length))
    margay_trim (vm, b, slot->new_length);
  b->flags = (b->flags & ~MARGAY_BUFFER_MARKS) | MARGAY_BUFFER_F_JUDGED;
  if (place == MARGAY_AT_HOST || place == MARGAY_AT_ERROR)
    return next;
  if (place == MARGAY_AT_OUTPUT || place == MARGAY_AT_LOCAL)
    {
      if (is_rewritten)
	{
	  margay_to_lookup (b, slot);
	  return next;
	}
      if (place == MARGAY_AT_OUTPUT)
	vlib_buffer_advance (b, -(word) vnet_buffer (b)->ip.save_rewrite_length);
      else if (!margay_fragment_bits (window, is_ip6))
	b->flags ^= MARGAY_BUFFER_MARKS;
    }
  vnet_feature_next_u16 (&next, b);
  return next;
}

/* What is most of a busy frame at an input arc: passed whole, its headers rewritten or not. */
static_always_inline int
margay_is_plain (const margay_slot *slot)
{
  return (slot->verdict == MARGAY_VERDICT_PASS) & !(slot->rewritten & MARGAY_REWRITTEN_TO_PEER) &
	 (slot->new_length == slot->packet_length);
}

static_always_inline u16
margay_finish (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b,
	       const margay_slot *slot, const u8 *window, int is_ip6, margay_place_t place)
{
  u32 reason = slot->reason < MARGAY_ERROR_NO_TUNNEL ? slot->reason : 0;

  if (PREDICT_FALSE (slot->rewritten & MARGAY_REWRITTEN_TO_PEER))
    reason = MARGAY_ERROR_NO_TUNNEL;
  else if (PREDICT_TRUE (slot->verdict == MARGAY_VERDICT_PASS))
    return margay_pass (vm, b, slot, window, is_ip6, place);
  else if (slot->verdict == MARGAY_VERDICT_REPLY && slot->new_length <= MARGAY_WINDOW_BYTES)
    {
      margay_reply (vm, b, window, slot->new_length);
      vlib_node_increment_counter (vm, node->node_index, reason, 1);
      return MARGAY_NEXT_LOOKUP;
    }
  b->error = node->errors[reason];
  return MARGAY_NEXT_DROP;
}

/* The same way on as the packet before it, where that stood at the same place of the same arc. */
typedef struct
{
  u32 from, to;
  u16 next;
} margay_step_t;

static_always_inline u16
margay_next_feature (vlib_buffer_t *b, margay_step_t *step)
{
  if (PREDICT_FALSE (b->current_config_index != step->from))
    {
      step->from = b->current_config_index;
      vnet_feature_next_u16 (&step->next, b);
      step->to = b->current_config_index;
    }
  b->current_config_index = step->to;
  return step->next;
}

static_always_inline void
margay_apply (vlib_main_t *vm, vlib_node_runtime_t *node, margay_thread_t *mt, vlib_buffer_t **b,
	      u16 *next, u32 n, int is_ip6, margay_place_t place)
{
  const margay_slot *slot = mt->slots;
  const u8 *window = mt->windows;
  int is_logged = margay_main.log_flows, is_traced = node->flags & VLIB_NODE_FLAG_TRACE;
  margay_step_t step = { .from = ~0 };

  for (u32 i = 0; i < n; i++, slot++, window += MARGAY_WINDOW_BYTES)
    {
      if (i + MARGAY_PREFETCH < n)
	{
	  vlib_prefetch_buffer_header (b[i + MARGAY_PREFETCH], STORE);
	  CLIB_PREFETCH (vlib_buffer_get_current (b[i + MARGAY_PREFETCH / 2]),
			 CLIB_CACHE_LINE_BYTES, STORE);
	}
      if (PREDICT_FALSE (is_traced && (b[i]->flags & VLIB_BUFFER_IS_TRACED)))
	margay_add_trace (vm, node, b[i], slot, window, mt->stages[i], is_ip6);
      if (PREDICT_FALSE (is_logged))
	margay_log_flow (mt, b[i], slot, window, mt->stages[i], is_ip6);
      if (PREDICT_TRUE (place == MARGAY_AT_INPUT && margay_is_plain (slot)))
	{
	  if (slot->rewritten)
	    margay_write_window (vm, b[i], window, slot->window_length);
	  b[i]->flags = (b[i]->flags & ~MARGAY_BUFFER_MARKS) | MARGAY_BUFFER_F_JUDGED;
	  next[i] = margay_next_feature (b[i], &step);
	}
      else
	next[i] = margay_finish (vm, node, b[i], slot, window, is_ip6, place);
    }
}

/* No verdicts to be had: everything is dropped, with one reason. */
static_always_inline void
margay_drop_all (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **b, u16 *next, u32 n,
		 u32 reason, int is_ip6, margay_place_t place)
{
  for (u32 i = 0; i < n; i++)
    {
      margay_slot slot = {
	.packet_length = vlib_buffer_length_in_chain (vm, b[i]),
	.window_length = clib_min (b[i]->current_length, MARGAY_WINDOW_BYTES),
	.verdict = MARGAY_VERDICT_DROP,
	.reason = reason,
      };
      margay_set_origin (&slot, b[i], vlib_buffer_get_current (b[i]), is_ip6, place);
      if (b[i]->flags & VLIB_BUFFER_IS_TRACED)
	margay_add_trace (vm, node, b[i], &slot, vlib_buffer_get_current (b[i]), NULL, is_ip6);
      b[i]->error = node->errors[reason];
      next[i] = MARGAY_NEXT_DROP;
    }
}

/* Judges what fill has put into the slots. */
static_always_inline void
margay_run (vlib_main_t *vm, vlib_node_runtime_t *node, margay_thread_t *mt, vlib_buffer_t **b,
	    u16 *next, u32 n, int is_ip6, margay_place_t place)
{
  margay_dataplane *dp = margay_main.dataplane;
  int rv = margay_process (dp, vm->thread_index, n, margay_now_ms (vm), margay_now_seconds ());

  /* After a trap in the core every slot says so; after any other error none can be trusted.
   * Without a Configure record, the core refuses to run. */
  if (PREDICT_TRUE (rv == MARGAY_OK || rv == MARGAY_CORE_TRAPPED))
    margay_apply (vm, node, mt, b, next, n, is_ip6, place);
  else
    margay_drop_all (vm, node, b, next, n,
		     margay_generation (dp) ? MARGAY_REASON_CORE_TRAPPED :
					      MARGAY_REASON_NO_GENERATION,
		     is_ip6, place);
}

/* Judges at most a frame of packets, as they come. */
static_always_inline void
margay_judge (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **b, u16 *next, u32 n,
	      int is_ip6, margay_place_t place)
{
  margay_begin_traces (vm, node, b, n);
  if (PREDICT_FALSE (!margay_main.dataplane))
    margay_drop_all (vm, node, b, next, n, MARGAY_REASON_NO_GENERATION, is_ip6, place);
  else
    {
      margay_thread_t *mt = vec_elt_at_index (margay_main.threads, vm->thread_index);
      margay_fill (vm, mt, b, n, is_ip6, place);
      margay_run (vm, node, mt, b, next, n, is_ip6, place);
    }
}

/* Those of a frame that are to be judged, while the others have their next nodes already. */
typedef struct
{
  u32 n; /* 0 at first */
  vlib_buffer_t *b[VLIB_FRAME_SIZE];
  u16 at[VLIB_FRAME_SIZE], next[VLIB_FRAME_SIZE];
} margay_picked_t;

static_always_inline void
margay_pick (margay_picked_t *picked, vlib_buffer_t *b, u32 at)
{
  picked->b[picked->n] = b;
  picked->at[picked->n++] = at;
}

/* Their next nodes go where they stand in the frame. */
static_always_inline void
margay_judge_picked (vlib_main_t *vm, vlib_node_runtime_t *node, margay_picked_t *picked,
		     u16 *nexts, int is_ip6, margay_place_t place)
{
  if (!picked->n)
    return;
  margay_judge (vm, node, picked->b, picked->next, picked->n, is_ip6, place);
  for (u32 i = 0; i < picked->n; i++)
    nexts[picked->at[i]] = picked->next[i];
}

#endif
