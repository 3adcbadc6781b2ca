/* ICMP errors of VPP's own, on their way to the look-up.
 *
 *   ip4/6-icmp-error ─► margay-ip4/6-error ─► ip4/6-lookup, marked
 *
 * An error about a packet that was masqueraded is addressed to the node itself, and ip4-local drops
 * what seems to come from the node's own addresses before its arc begins: so they are judged here,
 * by the session that they quote, and un-NATed. In the manual mode only those about packets of an
 * interface with our arcs; others meet the output arc, if there is one. */
#include "frame.h"

static_always_inline uword
margay_error_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, int is_ip6)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;
  margay_picked_t judged;

  judged.n = 0;
  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    if (clib_bitmap_get (margay_main.inputs, vnet_buffer (bufs[i])->sw_if_index[VLIB_RX]))
      margay_pick (&judged, bufs[i], i);
    else
      nexts[i] = MARGAY_NEXT_LOOKUP;
  margay_judge_picked (vm, node, &judged, nexts, is_ip6, MARGAY_AT_ERROR);
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

VLIB_NODE_FN (margay_ip4_error_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_error_inline (vm, node, frame, 0);
}

VLIB_NODE_FN (margay_ip6_error_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_error_inline (vm, node, frame, 1);
}

#ifndef CLIB_MARCH_VARIANT
MARGAY_REGISTER_NODE (margay_ip4_error_node, "margay-ip4-error", "ip4-lookup");
MARGAY_REGISTER_NODE (margay_ip6_error_node, "margay-ip6-error", "ip6-lookup");

static clib_error_t *
margay_error_init (vlib_main_t *vm)
{
  margay_stand_between (vm, "ip4-icmp-error", "ip4-lookup", margay_ip4_error_node.index);
  margay_stand_between (vm, "ip6-icmp-error", "ip6-lookup", margay_ip6_error_node.index);
  return 0;
}

VLIB_INIT_FUNCTION (margay_error_init);
#endif
