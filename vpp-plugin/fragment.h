/* Fragments, apart from whole packets: the input node sends them through VPP's shallow virtual
 * reassembly, which holds later fragments until the first has come; fragment.c takes them back.
 *
 *   input ─┬─ whole packets ───────────────────────────────────────► judged
 *          ├─ TCP, UDP, ICMP ─► ip4/6-sv-reassembly-feature ─► margay-ip4/6-fragment ─► judged
 *          └─ other protocols: VPP's reassembly knows no others and would drop them ──► judged
 *
 * The way through reassembly is a feature arc of our own, so that only fragments pay for it. (Its
 * custom-context node would do for IPv4; that for IPv6 reads its next node where it has just written
 * ports.) Meanwhile the buffer's flow_id holds where the packet stands on the interface's own arc.
 *
 * The program makes a session by the first fragment and carries later ones by a table of theirs: in
 * each frame first fragments go in front.
 *
 * Limits: VPP holds 3 fragments of a packet that come before its first, for 100 ms
 * (set ip4/ip6 reassembly parameters). */
#ifndef MARGAY_FRAGMENT_H
#define MARGAY_FRAGMENT_H
#include "frame.h"

/* By family: the arc through reassembly; it is on for interface 0, which stands for all. */
extern u8 margay_fragment_arcs[2];

static_always_inline int
margay_is_later_fragment (const u8 *l3, int is_ip6)
{
  if (!is_ip6)
    return (*(const u16 *) (l3 + 6) & clib_host_to_net_u16 (0x1fff)) != 0;
  return l3[6] == IP_PROTOCOL_IPV6_FRAGMENTATION &&
	 (*(const u16 *) (l3 + 42) & clib_host_to_net_u16 (0xfff8)) != 0;
}

/* Not the IPv6 packet that is a fragment in name alone: whole, with a fragment header. */
static_always_inline int
margay_can_reassemble (vlib_buffer_t *b, int is_ip6)
{
  const u8 *l3 = vlib_buffer_get_current (b);
  u8 protocol = is_ip6 ? l3[40] : l3[9];

  if (b->current_length < (is_ip6 ? 48 : 20) || !margay_fragment_bits (l3, is_ip6))
    return 0;
  if (is_ip6 && !(*(const u16 *) (l3 + 42) & clib_host_to_net_u16 (0xfff9)))
    return 0;
  return protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP ||
	 protocol == (is_ip6 ? IP_PROTOCOL_ICMP6 : IP_PROTOCOL_ICMP);
}

/* First fragments and whole packets in front, later fragments behind, each in their order. */
static_always_inline void
margay_first_fragments_first (vlib_buffer_t **b, u32 *from, u32 n, int is_ip6)
{
  vlib_buffer_t *later[VLIB_FRAME_SIZE];
  u32 later_from[VLIB_FRAME_SIZE], in_front = 0, behind = 0;

  for (u32 i = 0; i < n; i++)
    {
      const u8 *l3 = vlib_buffer_get_current (b[i]);
      if (b[i]->current_length >= (is_ip6 ? 48 : 20) && margay_is_later_fragment (l3, is_ip6))
	{
	  later[behind] = b[i];
	  later_from[behind++] = from[i];
	}
      else
	{
	  b[in_front] = b[i];
	  from[in_front++] = from[i];
	}
    }
  for (u32 i = 0; i < behind; i++)
    {
      b[in_front + i] = later[i];
      from[in_front + i] = later_from[i];
    }
}

#endif
