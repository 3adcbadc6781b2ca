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

u32 margay_fragment_next[2];

static clib_error_t *
margay_fragment_init (vlib_main_t *vm)
{
  vlib_node_t *reassembly4 = vlib_get_node_by_name (vm, (u8 *) "ip4-sv-reassembly-custom-context");
  vlib_node_t *reassembly6 = vlib_get_node_by_name (vm, (u8 *) "ip6-sv-reassembly-custom-context");

  margay_fragment_next[0] =
    vlib_node_add_next (vm, reassembly4->index, margay_ip4_fragment_node.index);
  margay_fragment_next[1] =
    vlib_node_add_next (vm, reassembly6->index, margay_ip6_fragment_node.index);
  return 0;
}

VLIB_INIT_FUNCTION (margay_fragment_init);
#endif
