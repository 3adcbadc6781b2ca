/* Packets of VPP's host stack (VCL applications, which have no interface that they come in by):
 * judged as from the interface of their endpoint, once, then looked up.
 *
 *   session-queue ─► tcp4-output ─► ip4-lookup in the endpoint's table: default route
 *                                     └► margay-ip4-host ─► ip4-lookup in the table via, marked
 *
 * They bear the interface from here on as if they had come in by it. An answer to one goes back by
 * the endpoint's own table. */
#include "frame.h"
#include "host.h"

static_always_inline uword
margay_host_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, int is_ip6)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;
  margay_picked_t judged;

  judged.n = 0;
  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    {
      vlib_buffer_t *b = bufs[i];
      margay_host_t *host =
	pool_elt_at_index (margay_hosts, vnet_buffer (b)->ip.adj_index[VLIB_TX]);
      vnet_buffer (b)->sw_if_index[VLIB_RX] = host->sw_if_index;
      vnet_buffer (b)->sw_if_index[VLIB_TX] = host->via_fib_index;
      if (host->is_gone)
	{
	  b->error = node->errors[MARGAY_REASON_UNKNOWN_ENDPOINT];
	  nexts[i] = MARGAY_NEXT_DROP;
	}
      else
	margay_pick (&judged, b, i);
    }
  /* An answer's table stands for itself: that of the interface. */
  margay_judge_picked (vm, node, &judged, nexts, is_ip6, MARGAY_AT_HOST);
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

VLIB_NODE_FN (margay_ip4_host_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_host_inline (vm, node, frame, 0);
}

VLIB_NODE_FN (margay_ip6_host_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_host_inline (vm, node, frame, 1);
}

#ifndef CLIB_MARCH_VARIANT
MARGAY_REGISTER_NODE (margay_ip4_host_node, "margay-ip4-host", "ip4-lookup");
MARGAY_REGISTER_NODE (margay_ip6_host_node, "margay-ip6-host", "ip6-lookup");
#endif
