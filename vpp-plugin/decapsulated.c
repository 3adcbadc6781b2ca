/* What is decapsulated in the middle of the graph, past the input arcs: SRv6's End.DT, End.DX. The
 * inner packet lies in the same buffer, under the outer one's mark.
 *
 *   sr-localsid-d ─► margay-unmark-… ─► ip4/6-lookup, ip4/6-rewrite ─► output or local arc: judged
 *                                                     as from the interface that it came in by
 *
 * Decapsulation that leads to an interface of its own (IPIP, VXLAN, IPsec, GRE) needs none of this:
 * the inner packet passes that interface's input arc. MPLS never gets a mark. */
#include "margay.h"

static_always_inline uword
margay_unmark_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;

  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    bufs[i]->flags &= ~MARGAY_BUFFER_MARKS;
  vlib_buffer_enqueue_to_single_next (vm, node, from, 0, n);
  return n;
}

#define UNMARK(variable, to)                                                                      \
  VLIB_NODE_FN (variable)                                                                         \
  (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)                              \
  {                                                                                               \
    return margay_unmark_inline (vm, node, frame);                                               \
  }                                                                                               \
  VLIB_REGISTER_NODE (variable) = {                                                               \
    .name = "margay-unmark-" to,                                                                  \
    .vector_size = sizeof (u32),                                                                  \
    .n_next_nodes = 1,                                                                            \
    .next_nodes = { to },                                                                         \
  }
UNMARK (margay_unmark_ip4_lookup_node, "ip4-lookup");
UNMARK (margay_unmark_ip6_lookup_node, "ip6-lookup");
UNMARK (margay_unmark_ip4_rewrite_node, "ip4-rewrite");
UNMARK (margay_unmark_ip6_rewrite_node, "ip6-rewrite");

static clib_error_t *
margay_unmark_init (vlib_main_t *vm)
{
  margay_stand_between (vm, "sr-localsid-d", "ip4-lookup", margay_unmark_ip4_lookup_node.index);
  margay_stand_between (vm, "sr-localsid-d", "ip6-lookup", margay_unmark_ip6_lookup_node.index);
  margay_stand_between (vm, "sr-localsid-d", "ip4-rewrite", margay_unmark_ip4_rewrite_node.index);
  margay_stand_between (vm, "sr-localsid-d", "ip6-rewrite", margay_unmark_ip6_rewrite_node.index);
  return 0;
}

VLIB_INIT_FUNCTION (margay_unmark_init);
