/* Fragments as VPP's shallow virtual reassembly lets them go: the second half of the input node, a
 * sibling of it, so that the features behind are the same (fragment.h draws it). */
#include "fragment.h"

#define ARC_WORDS_MAX 256 /* of an interface's features on an arc, in VPP's configuration heap */

/* Puts the packet back where it stood on the interface's arc. While reassembly held it, a feature
 * may have come or gone, or the interface itself: then its place is not there any more. */
static_always_inline int
margay_back_on_arc (vlib_buffer_t *b, int is_ip6)
{
  ip_lookup_main_t *lm = is_ip6 ? &ip6_main.lookup_main : &ip4_main.lookup_main;
  u8 arc = margay_is_multicast (vlib_buffer_get_current (b), is_ip6) ?
	     lm->mcast_feature_arc_index :
	     lm->ucast_feature_arc_index;
  vnet_feature_config_main_t *cm = vnet_feature_get_config_main (arc);
  u32 rx = vnet_buffer (b)->sw_if_index[VLIB_RX];

  if (!vnet_have_features (arc, rx))
    return 0;
  u32 begin = vec_elt (cm->config_index_by_sw_if_index, rx);
  b->current_config_index = b->flow_id;
  return b->flow_id > begin && b->flow_id - begin <= ARC_WORDS_MAX;
}

static_always_inline uword
margay_fragment_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame,
			int is_ip6)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), lost[VLIB_FRAME_SIZE], n = 0, n_lost = 0;

  vlib_get_buffers (vm, from, bufs, frame->n_vectors);
  for (u32 i = 0; i < frame->n_vectors; i++)
    if (PREDICT_TRUE (margay_back_on_arc (bufs[i], is_ip6)))
      {
	bufs[n] = bufs[i];
	from[n++] = from[i];
      }
    else
      {
	bufs[i]->error = node->errors[MARGAY_REASON_LATER_FRAGMENT];
	lost[n_lost++] = from[i];
      }
  if (n_lost)
    vlib_buffer_enqueue_to_single_next (vm, node, lost, MARGAY_NEXT_DROP, n_lost);
  if (!n)
    return frame->n_vectors;
  margay_first_fragments_first (bufs, from, n, is_ip6);
  margay_judge (vm, node, bufs, nexts, n, is_ip6, MARGAY_AT_INPUT);
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return frame->n_vectors;
}

VLIB_NODE_FN (margay_ip4_fragment_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_fragment_inline (vm, node, frame, 0);
}

VLIB_NODE_FN (margay_ip6_fragment_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_fragment_inline (vm, node, frame, 1);
}

#ifndef CLIB_MARCH_VARIANT
MARGAY_REGISTER_SIBLING (margay_ip4_fragment_node, "margay-ip4-fragment", "margay-ip4-input");
MARGAY_REGISTER_SIBLING (margay_ip6_fragment_node, "margay-ip6-fragment", "margay-ip6-input");

u8 margay_fragment_arcs[2];

VNET_FEATURE_ARC_INIT (margay_ip4_fragments, static) = {
  .arc_name = "margay-ip4-fragments",
  .start_nodes = VNET_FEATURES ("margay-ip4-input"),
  .last_in_arc = "margay-ip4-fragment",
  .arc_index_ptr = &margay_fragment_arcs[0],
};

VNET_FEATURE_ARC_INIT (margay_ip6_fragments, static) = {
  .arc_name = "margay-ip6-fragments",
  .start_nodes = VNET_FEATURES ("margay-ip6-input"),
  .last_in_arc = "margay-ip6-fragment",
  .arc_index_ptr = &margay_fragment_arcs[1],
};

VNET_FEATURE_INIT (margay_ip4_reassembly_feature, static) = {
  .arc_name = "margay-ip4-fragments",
  .node_name = "ip4-sv-reassembly-feature",
  .runs_before = VNET_FEATURES ("margay-ip4-fragment"),
};

VNET_FEATURE_INIT (margay_ip6_reassembly_feature, static) = {
  .arc_name = "margay-ip6-fragments",
  .node_name = "ip6-sv-reassembly-feature",
  .runs_before = VNET_FEATURES ("margay-ip6-fragment"),
};

VNET_FEATURE_INIT (margay_ip4_fragment_feature, static) = {
  .arc_name = "margay-ip4-fragments",
  .node_name = "margay-ip4-fragment",
};

VNET_FEATURE_INIT (margay_ip6_fragment_feature, static) = {
  .arc_name = "margay-ip6-fragments",
  .node_name = "margay-ip6-fragment",
};
#endif
