/* Fragments as VPP's shallow virtual reassembly lets them go: the second half of the input node, a
 * sibling of it, so that the features behind are the same (fragment.h draws it). */
#include "fragment.h"

static_always_inline uword
margay_fragment_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame,
			int is_ip6)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;

  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    bufs[i]->current_config_index = bufs[i]->flow_id;
  margay_first_fragments_first (bufs, from, n, is_ip6);
  margay_judge (vm, node, bufs, nexts, n, is_ip6, MARGAY_AT_INPUT);
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
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
VLIB_REGISTER_NODE (margay_ip4_fragment_node) = {
  .name = "margay-ip4-fragment",
  .vector_size = sizeof (u32),
  .format_trace = format_margay_trace,
  .n_errors = MARGAY_N_ERRORS,
  .error_counters = margay_error_counters,
  .sibling_of = "margay-ip4-input",
};

VLIB_REGISTER_NODE (margay_ip6_fragment_node) = {
  .name = "margay-ip6-fragment",
  .vector_size = sizeof (u32),
  .format_trace = format_margay_trace,
  .n_errors = MARGAY_N_ERRORS,
  .error_counters = margay_error_counters,
  .sibling_of = "margay-ip6-input",
};

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
