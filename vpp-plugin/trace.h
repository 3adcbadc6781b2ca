/* What a traced packet keeps. format.c prints it.
 *
 * A node of ours can also be where tracing begins (`trace add margay-ip4-input <n>`): then the next
 * packets judged are traced, whatever brought them. */
#ifndef MARGAY_TRACE_H
#define MARGAY_TRACE_H
#include "flow.h"
#include "window.h"

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
  clib_memset (t, 0, sizeof (*t));
  if (stages && slot->reason != MARGAY_REASON_ESTABLISHED)
    clib_memcpy (t->stages, stages, sizeof (t->stages));
  t->is_ip6 = is_ip6;
  t->verdict = slot->verdict;
  t->reason = slot->reason;
  t->rewritten = slot->rewritten;
  t->direction = slot->direction;
  t->hook = slot->hook;
  t->rule = slot->rule;
  t->backend = slot->backend;
  t->sw_if_index = vnet_buffer (b)->sw_if_index[VLIB_RX];
  t->packet_length = slot->packet_length;
  t->peer = slot->rewritten & MARGAY_REWRITTEN_TO_PEER ? slot->peer : 0;
  margay_flow_of_packet (&t->source, &t->destination, &t->protocol, vlib_buffer_get_current (b),
			 clib_min (valid, b->current_length), is_ip6);
  u8 protocol_after; /* an answer's own may be another */
  if (slot->verdict == MARGAY_VERDICT_REPLY)
    valid = slot->new_length;
  margay_flow_of_packet (&t->to_source, &t->to_destination, &protocol_after, window, valid, is_ip6);
}

/* Traces the next packets that nobody traces yet, where that has been asked for of this node. */
static_always_inline void
margay_begin_traces (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **b, u32 n)
{
  u32 left = vlib_get_trace_count (vm, node);

  if (PREDICT_TRUE (left == 0))
    return;
  for (u32 i = 0; i < n && left; i++)
    if (!(b[i]->flags & VLIB_BUFFER_IS_TRACED) && vlib_trace_buffer (vm, node, 0, b[i], 1))
      left--;
  vlib_set_trace_count (vm, node, left);
  node->flags |= VLIB_NODE_FLAG_TRACE; /* VPP then tells the next nodes that traced packets come */
}

#endif
