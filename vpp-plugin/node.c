/* The graph nodes: a frame of packets in, verdicts out. One margay_process a frame.
 *
 *   frame ─► slots + windows (headers copied in) ─► margay_process ─► apply
 *              pass:  next feature; rewritten headers copied back
 *              reply: the window becomes the packet, which ip4-lookup or ip6-lookup sends as the
 *                     node's own; counted under its reason
 *              else:  error-drop, with the reason as the node's error
 *
 * What the program passes on to another node as it is (Rewritten.ToPeer) wants a tunnel to that
 * node. There is none here yet: it is dropped, as no-tunnel-to-peer.
 *
 * Nothing is decided here. What the window holds: the first 64 bytes from the L3 header, and the
 * next 64 unless the headers surely end before (TCP and UDP straight behind a plain IP header: what
 * the program reads of them, 20 bytes, ends at 40 in IPv4 and at 60 in IPv6). Never more than the
 * packet's first buffer has; VPP keeps all headers there.
 *
 * ip4-input has checked version, length, TTL and header checksum, ip6-input version and hop limit,
 * which is what the slot flag `checked` says; lengths inside the packet the program checks itself.
 *
 * Compiled once for each CPU generation that VPP knows (MULTIARCH_SOURCES). */
#include "margay.h"
#include <vnet/feature/feature.h>
#include <vnet/ip/ip.h>

STATIC_ASSERT (sizeof (margay_slot) == MARGAY_SLOT_BYTES, "a slot is as layout.h says");
STATIC_ASSERT (VLIB_FRAME_SIZE == MARGAY_FRAME_PACKETS_MAX, "a VPP frame is a Margay frame");

typedef enum
{
  MARGAY_NEXT_DROP,
  MARGAY_NEXT_LOOKUP,
  MARGAY_N_NEXT,
} margay_next_t;

/* One error for each reason, under its own name, and those of the adapter alone. */
#define X(value, text) +1
enum
{
  MARGAY_ERROR_NO_TUNNEL = 0 MARGAY_REASONS (X),
  MARGAY_N_ERRORS,
};
#undef X

#define MARGAY_WINDOW_SHORT 64
#define MARGAY_PREFETCH	    8

/* Copies n bytes (1..128) and not one more, by two overlapping moves of a fixed size. */
static_always_inline void
margay_copy_window (u8 *to, const u8 *from, u32 n)
{
  if (n >= 64)
    {
      clib_memcpy_fast (to, from, 64);
      if (n > 64)
	clib_memcpy_fast (to + n - 64, from + n - 64, 64);
    }
  else if (n >= 32)
    {
      clib_memcpy_fast (to, from, 32);
      clib_memcpy_fast (to + n - 32, from + n - 32, 32);
    }
  else if (n >= 16)
    {
      clib_memcpy_fast (to, from, 16);
      clib_memcpy_fast (to + n - 16, from + n - 16, 16);
    }
  else
    for (u32 i = 0; i < n; i++)
      to[i] = from[i];
}

/* Whether the program reads nothing past the first 64 bytes. Safe on any byte: a header shorter
 * than the fields read here only makes this say no, or yes where the window holds it all anyway. */
static_always_inline int
margay_headers_are_short (const u8 *l3, u32 bytes, int is_ip6)
{
  if (bytes <= MARGAY_WINDOW_SHORT)
    return 1;
  u8 protocol = is_ip6 ? l3[6] : l3[9];
  int plain = is_ip6 || l3[0] == 0x45;
  return plain && (protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP);
}

static_always_inline u8
margay_slot_flags (vlib_buffer_t *b)
{
  u8 flags = MARGAY_SLOT_FLAG_CHECKED;
  if (PREDICT_FALSE (b->flags & (VNET_BUFFER_F_OFFLOAD | VNET_BUFFER_F_GSO |
				 VLIB_BUFFER_NEXT_PRESENT)))
    {
      if (b->flags & VNET_BUFFER_F_GSO)
	flags |= MARGAY_SLOT_FLAG_GSO;
      if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
	flags |= MARGAY_SLOT_FLAG_CHAINED;
      /* The L4 checksum is still to be made: the field holds the pseudo-header's sum. */
      if ((b->flags & VNET_BUFFER_F_OFFLOAD) &&
	  (vnet_buffer (b)->oflags &
	   (VNET_BUFFER_OFFLOAD_F_TCP_CKSUM | VNET_BUFFER_OFFLOAD_F_UDP_CKSUM)))
	flags |= MARGAY_SLOT_FLAG_PARTIAL_CHECKSUM;
    }
  return flags;
}

static_always_inline void
margay_fill (vlib_main_t *vm, margay_thread_t *mt, vlib_buffer_t **b, u32 n, int is_ip6)
{
  margay_slot *slot = mt->slots;
  u8 *window = mt->windows;

  for (u32 i = 0; i < n; i++, slot++, window += MARGAY_WINDOW_BYTES)
    {
      if (i + 2 * MARGAY_PREFETCH < n)
	vlib_prefetch_buffer_header (b[i + 2 * MARGAY_PREFETCH], LOAD);
      if (i + MARGAY_PREFETCH < n)
	CLIB_PREFETCH (vlib_buffer_get_current (b[i + MARGAY_PREFETCH]), CLIB_CACHE_LINE_BYTES,
		       LOAD);
      const u8 *l3 = vlib_buffer_get_current (b[i]);
      u32 bytes = b[i]->current_length;
      u32 limit = margay_headers_are_short (l3, bytes, is_ip6) ? MARGAY_WINDOW_SHORT :
								  MARGAY_WINDOW_BYTES;
      u32 valid = clib_min (bytes, limit);
      margay_copy_window (window, l3, valid);
      *slot = (margay_slot){
	.interface_index = vnet_buffer (b[i])->sw_if_index[VLIB_RX],
	.packet_length = vlib_buffer_length_in_chain (vm, b[i]),
	.window_length = valid,
	.flags = margay_slot_flags (b[i]),
      };
    }
}

static_always_inline void
margay_trace_tuple (margay_trace_tuple_t *t, const u8 *l3, u32 bytes, int is_ip6, u8 *protocol)
{
  u32 l4 = is_ip6 ? 40 : (l3[0] & 15) * 4;
  clib_memset (t, 0, sizeof (*t));
  if (bytes < (is_ip6 ? 40 : 20))
    return;
  *protocol = is_ip6 ? l3[6] : l3[9];
  clib_memcpy (t->source, l3 + (is_ip6 ? 8 : 12), is_ip6 ? 16 : 4);
  clib_memcpy (t->destination, l3 + (is_ip6 ? 24 : 16), is_ip6 ? 16 : 4);
  if ((*protocol == IP_PROTOCOL_TCP || *protocol == IP_PROTOCOL_UDP ||
       *protocol == IP_PROTOCOL_SCTP) &&
      bytes >= l4 + 4)
    {
      t->source_port = l3[l4] << 8 | l3[l4 + 1];
      t->destination_port = l3[l4 + 2] << 8 | l3[l4 + 3];
    }
}

/* Where the slot says where a packet goes on to, that stands in its window length's place; the
 * window then holds what the buffer does. */
static_always_inline u32
margay_window_length (const margay_slot *slot, vlib_buffer_t *b)
{
  if (slot->rewritten & MARGAY_REWRITTEN_TO_PEER)
    return clib_min (b->current_length, MARGAY_WINDOW_SHORT);
  return slot->window_length;
}

/* Called before the window goes back: the buffer still holds the packet as it came. */
static_always_inline void
margay_add_trace (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t *b,
		  const margay_slot *slot, const u8 *window, const u32 *stages, int is_ip6)
{
  margay_trace_t *t = vlib_add_trace (vm, node, b, sizeof (*t));
  u32 valid = margay_window_length (slot, b);
  clib_memset (t->stages, 0, sizeof (t->stages));
  if (stages && slot->reason != MARGAY_REASON_ESTABLISHED)
    clib_memcpy (t->stages, stages, sizeof (t->stages));
  t->is_ip6 = is_ip6;
  t->protocol = 0;
  t->verdict = slot->verdict;
  t->reason = slot->reason;
  t->rewritten = slot->rewritten;
  t->direction = slot->direction;
  t->rule = slot->rule;
  t->backend = slot->backend;
  t->sw_if_index = slot->interface_index;
  t->packet_length = slot->packet_length;
  t->peer = slot->rewritten & MARGAY_REWRITTEN_TO_PEER ? slot->peer : 0;
  margay_trace_tuple (&t->before, vlib_buffer_get_current (b), valid, is_ip6, &t->protocol);
  u8 protocol_after = 0; /* an answer's own may be another */
  if (slot->verdict == MARGAY_VERDICT_REPLY)
    valid = slot->new_length;
  margay_trace_tuple (&t->after, window, valid, is_ip6, &protocol_after);
}

/* Cuts the packet at the end that its own header names: behind it is padding of the link. */
static_always_inline void
margay_trim (vlib_main_t *vm, vlib_buffer_t *head, u32 length)
{
  vlib_buffer_t *b = head;
  u32 left = length;

  while (left > b->current_length && (b->flags & VLIB_BUFFER_NEXT_PRESENT))
    {
      left -= b->current_length;
      b = vlib_get_buffer (vm, b->next_buffer);
    }
  b->current_length = clib_min (left, b->current_length);
  if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    {
      vlib_buffer_free_one (vm, b->next_buffer);
      b->flags &= ~VLIB_BUFFER_NEXT_PRESENT;
    }
  head->flags &= ~VLIB_BUFFER_TOTAL_LENGTH_VALID;
}

/* Puts the answer in the packet's place: a packet of the node's own, so that its TTL stays, with
 * whole checksums. Its sender's table, as that of any packet from the interface, leads it back. */
static_always_inline void
margay_reply (vlib_main_t *vm, vlib_buffer_t *b, const u8 *window, u32 length)
{
  if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    vlib_buffer_free_one (vm, b->next_buffer);
  b->flags &= ~(VLIB_BUFFER_NEXT_PRESENT | VLIB_BUFFER_TOTAL_LENGTH_VALID |
		VNET_BUFFER_F_OFFLOAD | VNET_BUFFER_F_GSO);
  vnet_buffer (b)->oflags = 0;
  b->flags |= VNET_BUFFER_F_LOCALLY_ORIGINATED;
  vnet_buffer (b)->sw_if_index[VLIB_TX] = ~0;
  b->current_length = length;
  margay_copy_window (vlib_buffer_get_current (b), window, length);
}

static_always_inline void
margay_apply (vlib_main_t *vm, vlib_node_runtime_t *node, margay_thread_t *mt, vlib_buffer_t **b,
	      u16 *next, u32 n, int is_ip6)
{
  const margay_slot *slot = mt->slots;
  const u8 *window = mt->windows;

  for (u32 i = 0; i < n; i++, slot++, window += MARGAY_WINDOW_BYTES)
    {
      if (PREDICT_FALSE ((node->flags & VLIB_NODE_FLAG_TRACE) &&
			 (b[i]->flags & VLIB_BUFFER_IS_TRACED)))
	margay_add_trace (vm, node, b[i], slot, window, mt->stages[i], is_ip6);
      if (PREDICT_FALSE (slot->rewritten & MARGAY_REWRITTEN_TO_PEER))
	{
	  b[i]->error = node->errors[MARGAY_ERROR_NO_TUNNEL];
	  next[i] = MARGAY_NEXT_DROP;
	}
      else if (PREDICT_TRUE (slot->verdict == MARGAY_VERDICT_PASS))
	{
	  if (slot->rewritten & MARGAY_REWRITTEN_HEADER)
	    margay_copy_window (vlib_buffer_get_current (b[i]), window, slot->window_length);
	  if (PREDICT_FALSE (slot->new_length < slot->packet_length))
	    margay_trim (vm, b[i], slot->new_length);
	  vnet_feature_next_u16 (&next[i], b[i]);
	}
      else if (slot->verdict == MARGAY_VERDICT_REPLY && slot->new_length <= MARGAY_WINDOW_BYTES)
	{
	  u32 reason = slot->reason < MARGAY_COUNTERS ? slot->reason : 0;
	  margay_reply (vm, b[i], window, slot->new_length);
	  vlib_node_increment_counter (vm, node->node_index, reason, 1);
	  next[i] = MARGAY_NEXT_LOOKUP;
	}
      else
	{
	  u32 reason = slot->reason < MARGAY_COUNTERS ? slot->reason : 0;
	  b[i]->error = node->errors[reason];
	  next[i] = MARGAY_NEXT_DROP;
	}
    }
}

/* No verdicts to be had: everything is dropped, with one reason. */
static_always_inline void
margay_drop_all (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **b, u16 *next, u32 n,
		 u32 reason, int is_ip6)
{
  for (u32 i = 0; i < n; i++)
    {
      margay_slot slot = {
	.interface_index = vnet_buffer (b[i])->sw_if_index[VLIB_RX],
	.packet_length = vlib_buffer_length_in_chain (vm, b[i]),
	.window_length = clib_min (b[i]->current_length, MARGAY_WINDOW_BYTES),
	.verdict = MARGAY_VERDICT_DROP,
	.reason = reason,
      };
      if (b[i]->flags & VLIB_BUFFER_IS_TRACED)
	margay_add_trace (vm, node, b[i], &slot, vlib_buffer_get_current (b[i]), NULL, is_ip6);
      b[i]->error = node->errors[reason];
      next[i] = MARGAY_NEXT_DROP;
    }
}

static_always_inline uword
margay_input_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, int is_ip6)
{
  margay_main_t *mm = &margay_main;
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame);
  u32 n = frame->n_vectors, worker = vm->thread_index;

  vlib_get_buffers (vm, from, bufs, n);
  if (PREDICT_FALSE (!mm->dataplane))
    margay_drop_all (vm, node, bufs, nexts, n, MARGAY_REASON_NO_GENERATION, is_ip6);
  else
    {
      margay_thread_t *mt = vec_elt_at_index (mm->threads, worker);
      margay_fill (vm, mt, bufs, n, is_ip6);
      int rv = margay_process (mm->dataplane, worker, n, margay_now_ms (vm), margay_now_seconds ());
      /* After a trap in the core every slot says so; after any other error none can be trusted.
       * Without a Configure record, the core refuses to run. */
      if (PREDICT_TRUE (rv == MARGAY_OK || rv == MARGAY_CORE_TRAPPED))
	margay_apply (vm, node, mt, bufs, nexts, n, is_ip6);
      else
	margay_drop_all (vm, node, bufs, nexts, n,
			 margay_generation (mm->dataplane) ? MARGAY_REASON_CORE_TRAPPED :
							     MARGAY_REASON_NO_GENERATION,
			 is_ip6);
    }
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

VLIB_NODE_FN (margay_ip4_input_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_input_inline (vm, node, frame, 0);
}

VLIB_NODE_FN (margay_ip6_input_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_input_inline (vm, node, frame, 1);
}

#ifndef CLIB_MARCH_VARIANT
#define X(value, text)                                                                            \
  [value] = { .name = text, .desc = text, .severity = VL_COUNTER_SEVERITY_ERROR },
static vlib_error_desc_t margay_error_counters[] = {
  MARGAY_REASONS (X)
  X (MARGAY_ERROR_NO_TUNNEL, "no-tunnel-to-peer")
};
#undef X
STATIC_ASSERT (ARRAY_LEN (margay_error_counters) == MARGAY_N_ERRORS, "reasons count up from 0");

VLIB_REGISTER_NODE (margay_ip4_input_node) = {
  .name = "margay-ip4-input",
  .vector_size = sizeof (u32),
  .format_trace = format_margay_trace,
  .type = VLIB_NODE_TYPE_INTERNAL,
  .n_errors = ARRAY_LEN (margay_error_counters),
  .error_counters = margay_error_counters,
  .n_next_nodes = MARGAY_N_NEXT,
  .next_nodes = { [MARGAY_NEXT_DROP] = "error-drop", [MARGAY_NEXT_LOOKUP] = "ip4-lookup" },
};

VLIB_REGISTER_NODE (margay_ip6_input_node) = {
  .name = "margay-ip6-input",
  .vector_size = sizeof (u32),
  .format_trace = format_margay_trace,
  .type = VLIB_NODE_TYPE_INTERNAL,
  .n_errors = ARRAY_LEN (margay_error_counters),
  .error_counters = margay_error_counters,
  .n_next_nodes = MARGAY_N_NEXT,
  .next_nodes = { [MARGAY_NEXT_DROP] = "error-drop", [MARGAY_NEXT_LOOKUP] = "ip6-lookup" },
};

/* Behind the interface's own filters, before whatever ends a tunnel or forwards. */
VNET_FEATURE_INIT (margay_ip4_input_feature, static) = {
  .arc_name = "ip4-unicast",
  .node_name = "margay-ip4-input",
  .runs_after = VNET_FEATURES ("ip4-policer-classify", "ip4-full-reassembly-feature",
				"ip4-sv-reassembly-feature"),
  .runs_before = VNET_FEATURES ("ipsec4-input-feature"),
};

VNET_FEATURE_INIT (margay_ip6_input_feature, static) = {
  .arc_name = "ip6-unicast",
  .node_name = "margay-ip6-input",
  .runs_after = VNET_FEATURES ("ip6-policer-classify", "ip6-full-reassembly-feature",
				"ip6-sv-reassembly-feature"),
  .runs_before = VNET_FEATURES ("ipsec6-input-feature"),
};
#endif
