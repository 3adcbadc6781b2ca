/* IPv4 packets with options. ip4-input sends them, before any feature, to ip4-options, which punts
 * them or hands IGMP with a router alert to the host: past the arc. Here they are taken in front.
 *
 *   ip4-input ─► margay-ip4-options ─┬ interface without our arcs ─► ip4-options, as ever
 *                                    ├ source routes, bad options ─► dropped (RFC 7126, 3.3)
 *                                    ├ IGMP with a router alert: judged here ─► ip4-local
 *                                    └ others ─► the interface's arc, from its beginning
 *
 * The node is a sibling of ip4-input: a packet goes on as if ip4-input had sent it. Other options
 * stay in the packet; the program reads over them. */
#include "frame.h"

#define OPTION_END	    0
#define OPTION_NOP	    1
#define OPTION_LSRR	    131
#define OPTION_SSRR	    137
#define OPTION_ROUTER_ALERT 148

/* Next nodes of ip4-input, and so of this one: VPP installs no header that numbers them. */
typedef struct
{
  u32 drop, lookup, multicast, options, local;
} margay_options_nexts_t;
extern margay_options_nexts_t margay_options_nexts;

typedef enum
{
  OPTIONS_PLAIN,
  OPTIONS_ROUTER_ALERT,
  OPTIONS_SOURCE_ROUTE,
  OPTIONS_BAD,
} margay_options_kind_t;

/* ip4-input has made sure that the packet is as long as its header says, but not this buffer. */
static_always_inline margay_options_kind_t
margay_read_options (vlib_buffer_t *b)
{
  const u8 *l3 = vlib_buffer_get_current (b);
  u32 end = (l3[0] & 15) * 4;
  margay_options_kind_t kind = OPTIONS_PLAIN;

  if (end < 20 || end > b->current_length)
    return OPTIONS_BAD;
  for (u32 at = 20; at < end && l3[at] != OPTION_END;)
    {
      if (l3[at] == OPTION_NOP)
	{
	  at++;
	  continue;
	}
      if (at + 2 > end || l3[at + 1] < 2 || at + l3[at + 1] > end)
	return OPTIONS_BAD;
      if (l3[at] == OPTION_LSRR || l3[at] == OPTION_SSRR)
	return OPTIONS_SOURCE_ROUTE;
      if (l3[at] == OPTION_ROUTER_ALERT && l3[at + 1] == 4)
	kind = OPTIONS_ROUTER_ALERT;
      at += l3[at + 1];
    }
  return kind;
}

/* As ip4-input begins it. */
static_always_inline u16
margay_begin_arc (vlib_buffer_t *b)
{
  ip_lookup_main_t *lm = &ip4_main.lookup_main;
  ip4_header_t *ip = vlib_buffer_get_current (b);
  int is_multicast = ip4_address_is_multicast (&ip->dst_address);
  u32 next = is_multicast ? margay_options_nexts.multicast : margay_options_nexts.lookup;

  vnet_feature_arc_start (is_multicast ? lm->mcast_feature_arc_index :
					 lm->ucast_feature_arc_index,
			  vnet_buffer (b)->sw_if_index[VLIB_RX], &next, b);
  return next;
}

/* Judged as at the input arc; what passes goes to the host, as ip4-options would have it. */
static_always_inline void
margay_judge_alerts (vlib_main_t *vm, vlib_node_runtime_t *node, margay_picked_t *alerts,
		     u16 *nexts)
{
  margay_judge_picked (vm, node, alerts, nexts, 0, MARGAY_AT_HOST);
  for (u32 i = 0; i < alerts->n; i++)
    {
      vlib_buffer_t *b = alerts->b[i];
      u16 *next = &nexts[alerts->at[i]];
      if (*next != MARGAY_NEXT_LOOKUP)
	*next = margay_options_nexts.drop;
      else if (b->flags & VNET_BUFFER_F_LOCALLY_ORIGINATED) /* the program's answer */
	*next = margay_options_nexts.lookup;
      else
	{
	  ip_lookup_set_buffer_fib_index (ip4_main.fib_index_by_sw_if_index, b);
	  *next = margay_options_nexts.local;
	}
    }
}

VLIB_NODE_FN (margay_ip4_options_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  margay_main_t *mm = &margay_main;
  vlib_buffer_t *bufs[VLIB_FRAME_SIZE];
  u16 nexts[VLIB_FRAME_SIZE];
  u32 *from = vlib_frame_vector_args (frame), n = frame->n_vectors;
  margay_picked_t alerts;

  alerts.n = 0;
  vlib_get_buffers (vm, from, bufs, n);
  for (u32 i = 0; i < n; i++)
    {
      vlib_buffer_t *b = bufs[i];
      margay_options_kind_t kind = margay_read_options (b);
      if (!clib_bitmap_get (mm->inputs, vnet_buffer (b)->sw_if_index[VLIB_RX]))
	nexts[i] = margay_options_nexts.options;
      else if (kind == OPTIONS_SOURCE_ROUTE || kind == OPTIONS_BAD)
	{
	  b->error = node->errors[kind == OPTIONS_BAD ? MARGAY_ERROR_BAD_OPTIONS :
							MARGAY_ERROR_SOURCE_ROUTE];
	  nexts[i] = margay_options_nexts.drop;
	}
      else if (kind == OPTIONS_ROUTER_ALERT &&
	       ((ip4_header_t *) vlib_buffer_get_current (b))->protocol == IP_PROTOCOL_IGMP)
	margay_pick (&alerts, b, i);
      else
	nexts[i] = margay_begin_arc (b);
    }
  margay_judge_alerts (vm, node, &alerts, nexts);
  vlib_buffer_enqueue_to_next (vm, node, from, nexts, n);
  return n;
}

#ifndef CLIB_MARCH_VARIANT
MARGAY_REGISTER_SIBLING (margay_ip4_options_node, "margay-ip4-options", "ip4-input");

margay_options_nexts_t margay_options_nexts;

/* ip4-input's way to ip4-options leads here from now on, for all its siblings. */
static clib_error_t *
margay_options_init (vlib_main_t *vm)
{
  u32 input = vlib_get_node_by_name (vm, (u8 *) "ip4-input")->index;
  u32 options = vlib_get_node_by_name (vm, (u8 *) "ip4-options")->index;
  margay_options_nexts_t *nexts = &margay_options_nexts;

  /* What is a next already keeps its slot. */
  nexts->drop = vlib_node_add_named_next (vm, input, "error-drop");
  nexts->lookup = vlib_node_add_named_next (vm, input, "ip4-lookup");
  nexts->multicast = vlib_node_add_named_next (vm, input, "ip4-mfib-forward-lookup");
  margay_stand_between (vm, "ip4-input", "ip4-options", margay_ip4_options_node.index);
  nexts->options = vlib_node_add_next (vm, input, options);
  nexts->local = vlib_node_add_named_next (vm, input, "ip4-local");
  return 0;
}

VLIB_INIT_FUNCTION (margay_options_init);
#endif
