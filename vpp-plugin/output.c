/* The output and local arcs: what has the mark passes, what has none is judged; and the punt arcs.
 *
 *   ip4/6-rewrite, -midchain ─► margay-ip4/6-output ─► interface-output
 *   ip4/6-receive, -local ────► margay-ip4/6-local ──► the host stack; delivered, no more judged
 *   ip4/6-punt ───────────────► margay-ip4/6-punt ───► redirected: judged again
 *
 * What has no mark is VPP's own: ICMP errors, fragments that VPP has made, answers made in a buffer
 * that had been delivered (ping, TCP reset), the host stack's packets; or it came in by an
 * interface without our arcs. What the program rewrites here goes back to the look-up, marked.
 *
 * Delivery is where the buffer is the host's. Fragments are not delivered yet: they come back
 * whole. What is punted (no listener here) and redirected goes on as the packet that it was. */
#include "frame.h"

/* Whether the whole frame is marked and goes the same way; then it does. */
static_always_inline int
margay_pass_frame (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_buffer_t **b, u32 *from, u32 n)
{
  u32 marked = MARGAY_BUFFER_F_JUDGED, config = b[0]->current_config_index, other = 0;
  u16 next = 0;

  for (u32 i = 0; i < n; i++)
    {
      marked &= b[i]->flags;
      other |= b[i]->current_config_index ^ config;
    }
  if (!marked || other)
    return 0;
  vnet_feature_next_u16 (&next, b[0]);
  config = b[0]->current_config_index;
  for (u32 i = 1; i < n; i++)
    b[i]->current_config_index = config;
  vlib_buffer_enqueue_to_single_next (vm, node, from, next, n);
  return 1;
}

static_always_inline u16
margay_pass_marked (vlib_buffer_t *b, int is_ip6, margay_place_t place)
{
  u16 next = 0;

  if (place == MARGAY_AT_LOCAL &&
      !margay_fragment_bits (vlib_buffer_get_current (b), is_ip6))
    b->flags ^= MARGAY_BUFFER_MARKS;
  vnet_feature_next_u16 (&next, b);
  return next;
}

static_always_inline uword
margay_guard_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame, int is_ip6,
		     margay_place_t place)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;
  margay_picked_t unmarked;

  unmarked.n = 0;
  vlib_get_buffers (vm, from, bufs, n);
  if (place == MARGAY_AT_OUTPUT && PREDICT_TRUE (margay_pass_frame (vm, node, bufs, from, n)))
    return n;
  for (u32 i = 0; i < n; i++)
    if ((bufs[i]->flags & MARGAY_BUFFER_MARKS) == MARGAY_BUFFER_F_JUDGED)
      nexts[i] = margay_pass_marked (bufs[i], is_ip6, place);
    else
      {
	vlib_buffer_t *b = bufs[i];
	/* Some of VPP's own packets name no interface; the look-up would go by it. */
	if (vnet_buffer (b)->sw_if_index[VLIB_RX] == ~0)
	  vnet_buffer (b)->sw_if_index[VLIB_RX] = MARGAY_HOST_INTERFACE;
	if (place == MARGAY_AT_OUTPUT)
	  margay_to_l3 (b);
	margay_pick (&unmarked, b, i);
      }
  margay_judge_picked (vm, node, &unmarked, nexts, is_ip6, place);
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

VLIB_NODE_FN (margay_ip4_output_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_guard_inline (vm, node, frame, 0, MARGAY_AT_OUTPUT);
}

VLIB_NODE_FN (margay_ip6_output_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_guard_inline (vm, node, frame, 1, MARGAY_AT_OUTPUT);
}

VLIB_NODE_FN (margay_ip4_local_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_guard_inline (vm, node, frame, 0, MARGAY_AT_LOCAL);
}

VLIB_NODE_FN (margay_ip6_local_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_guard_inline (vm, node, frame, 1, MARGAY_AT_LOCAL);
}

static_always_inline uword
margay_punt_inline (vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;

  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    {
      if (bufs[i]->flags & MARGAY_BUFFER_F_DELIVERED)
	bufs[i]->flags ^= MARGAY_BUFFER_MARKS;
      vnet_feature_next_u16 (&nexts[i], bufs[i]);
    }
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

VLIB_NODE_FN (margay_ip4_punt_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_punt_inline (vm, node, frame);
}

VLIB_NODE_FN (margay_ip6_punt_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  return margay_punt_inline (vm, node, frame);
}

#ifndef CLIB_MARCH_VARIANT
MARGAY_REGISTER_NODE (margay_ip4_output_node, "margay-ip4-output", "ip4-lookup");
MARGAY_REGISTER_NODE (margay_ip6_output_node, "margay-ip6-output", "ip6-lookup");
MARGAY_REGISTER_NODE (margay_ip4_local_node, "margay-ip4-local", "ip4-lookup");
MARGAY_REGISTER_NODE (margay_ip6_local_node, "margay-ip6-local", "ip6-lookup");
MARGAY_REGISTER_NODE (margay_ip4_punt_node, "margay-ip4-punt", "ip4-lookup");
MARGAY_REGISTER_NODE (margay_ip6_punt_node, "margay-ip6-punt", "ip6-lookup");

/* Before what makes new buffers of a packet, which bear no mark: segments, encrypted packets. */
VNET_FEATURE_INIT (margay_ip4_output_feature, static) = {
  .arc_name = "ip4-output",
  .node_name = "margay-ip4-output",
  .runs_before = VNET_FEATURES ("ip4-outacl", "gso-ip4", "ipsec4-output-feature",
				 "ip4-sv-reassembly-output-feature"),
};

VNET_FEATURE_INIT (margay_ip6_output_feature, static) = {
  .arc_name = "ip6-output",
  .node_name = "margay-ip6-output",
  .runs_before = VNET_FEATURES ("ip6-outacl", "gso-ip6", "ipsec6-output-feature",
				 "ip6-sv-reassembly-output-feature"),
};

VNET_FEATURE_INIT (margay_ip4_local_feature, static) = {
  .arc_name = "ip4-local",
  .node_name = "margay-ip4-local",
  .runs_before = VNET_FEATURES ("ip4-local-end-of-arc"),
};

VNET_FEATURE_INIT (margay_ip6_local_feature, static) = {
  .arc_name = "ip6-local",
  .node_name = "margay-ip6-local",
  .runs_before = VNET_FEATURES ("ip6-local-end-of-arc"),
};

VNET_FEATURE_INIT (margay_ip4_punt_feature, static) = {
  .arc_name = "ip4-punt",
  .node_name = "margay-ip4-punt",
  .runs_before = VNET_FEATURES ("ip4-punt-redirect"),
};

VNET_FEATURE_INIT (margay_ip6_punt_feature, static) = {
  .arc_name = "ip6-punt",
  .node_name = "margay-ip6-punt",
  .runs_before = VNET_FEATURES ("ip6-punt-redirect"),
};
#endif
