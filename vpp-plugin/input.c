/* The input arcs, unicast and multicast: every packet that comes in by an interface is judged.
 *
 *   ip4/6-input ─► margay-ip4/6-input ─► next feature, marked
 *
 * Whatever mark a packet bears has been set before it was decapsulated, or by nobody that we know:
 * it is not honoured here. Frames with fragments take a second look (fragment.h). */
#include "fragment.h"

/* Takes out of a frame what is to be reassembled; what is left is put in order. */
static_always_inline u32
margay_split (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **b, u32 *from, u32 n,
	      int is_ip6)
{
  u32 sent[VLIB_FRAME_SIZE], next = 0, n_sent = 0, left = 0;

  for (u32 i = 0; i < n; i++)
    if (margay_can_reassemble (b[i], is_ip6))
      {
	b[i]->flow_id = b[i]->current_config_index;
	vnet_feature_arc_start (margay_fragment_arcs[is_ip6], 0, &next, b[i]);
	sent[n_sent++] = from[i];
      }
    else
      {
	b[left] = b[i];
	from[left++] = from[i];
      }
  if (n_sent)
    vlib_buffer_enqueue_to_single_next (vm, node, sent, next, n_sent);
  margay_first_fragments_first (b, from, left, is_ip6);
  return left;
}

static_always_inline uword
margay_input_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, int is_ip6)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame);
  u32 n = frame->n_vectors;

  vlib_get_buffers (vm, from, bufs, n);
  margay_begin_traces (vm, node, bufs, n);
  if (PREDICT_FALSE (!margay_main.dataplane))
    margay_drop_all (vm, node, bufs, nexts, n, MARGAY_REASON_NO_GENERATION, is_ip6,
		     MARGAY_AT_INPUT);
  else
    {
      margay_thread_t *mt = vec_elt_at_index (margay_main.threads, vm->thread_index);
      u32 fragments = margay_fill (vm, mt, bufs, n, is_ip6, MARGAY_AT_INPUT);
      if (PREDICT_FALSE (fragments && !margay_main.no_reassembly))
	{
	  n = margay_split (vm, node, bufs, from, n, is_ip6);
	  margay_fill (vm, mt, bufs, n, is_ip6, MARGAY_AT_INPUT);
	}
      if (PREDICT_TRUE (n))
	margay_run (vm, node, mt, bufs, nexts, n, is_ip6, MARGAY_AT_INPUT);
    }
  if (PREDICT_TRUE (n))
    vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return frame->n_vectors;
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
MARGAY_REGISTER_NODE (margay_ip4_input_node, "margay-ip4-input", "ip4-lookup");
MARGAY_REGISTER_NODE (margay_ip6_input_node, "margay-ip6-input", "ip6-lookup");

/* Behind the interface's own filters, before whatever ends a tunnel or forwards. */
VNET_FEATURE_INIT (margay_ip4_input_feature, static) = {
  .arc_name = "ip4-unicast",
  .node_name = "margay-ip4-input",
  .runs_after = VNET_FEATURES ("ip4-not-enabled", "ip4-policer-classify",
				"ip4-full-reassembly-feature", "ip4-sv-reassembly-feature"),
  .runs_before = VNET_FEATURES ("ipsec4-input-feature"),
};

VNET_FEATURE_INIT (margay_ip6_input_feature, static) = {
  .arc_name = "ip6-unicast",
  .node_name = "margay-ip6-input",
  .runs_after = VNET_FEATURES ("ip6-not-enabled", "ip6-policer-classify",
				"ip6-full-reassembly-feature", "ip6-sv-reassembly-feature"),
  .runs_before = VNET_FEATURES ("ipsec6-input-feature"),
};

VNET_FEATURE_INIT (margay_ip4_multicast_feature, static) = {
  .arc_name = "ip4-multicast",
  .node_name = "margay-ip4-input",
  .runs_after = VNET_FEATURES ("ip4-not-enabled"),
  .runs_before = VNET_FEATURES ("ip4-mfib-forward-lookup"),
};

VNET_FEATURE_INIT (margay_ip6_multicast_feature, static) = {
  .arc_name = "ip6-multicast",
  .node_name = "margay-ip6-input",
  .runs_after = VNET_FEATURES ("ip6-not-enabled"),
  .runs_before = VNET_FEATURES ("ip6-mfib-forward-lookup"),
};
#endif
