/* Packet bytes to the program and back: windows and slots.
 *
 *   buffer ─► window: the first 64 bytes from the L3 header, and the next 64 unless the headers
 *             surely end before (TCP and UDP straight behind a plain IP header: what the program
 *             reads of them, 20 bytes, ends at 40 in IPv4 and at 60 in IPv6)
 *   window ─► buffer: where the program has rewritten headers, or has made an answer
 *
 * VPP keeps headers in a packet's first buffer; where a chain has less there than a window (after
 * reassembly), the window is gathered from the chain, and scattered back. */
#ifndef MARGAY_WINDOW_H
#define MARGAY_WINDOW_H
#include "margay.h"
#include <vnet/ip/ip.h>

STATIC_ASSERT (sizeof (margay_slot) == MARGAY_SLOT_BYTES, "a slot is as layout.h says");
STATIC_ASSERT (VLIB_FRAME_SIZE == MARGAY_FRAME_PACKETS_MAX, "a VPP frame is a Margay frame");

#define MARGAY_WINDOW_SHORT 64

/* Copies n bytes (1..128) and not one more, by two overlapping moves of a fixed size. */
static_always_inline void
margay_copy_window (u8 *to, const u8 *from, u32 n)
{
  if (n >= 64)
    {
      clib_memcpy_fast (to, from, 64);
      if (n > 64)
	clib_memcpy_fast (to + n - 64, from + n - 64, 64);
    }
  else if (n >= 32)
    {
      clib_memcpy_fast (to, from, 32);
      clib_memcpy_fast (to + n - 32, from + n - 32, 32);
    }
  else if (n >= 16)
    {
      clib_memcpy_fast (to, from, 16);
      clib_memcpy_fast (to + n - 16, from + n - 16, 16);
    }
  else
    for (u32 i = 0; i < n; i++)
      to[i] = from[i];
}

/* Whether the program reads nothing past the first 64 bytes. Safe on any byte: a header shorter
 * than the fields read here only makes this say no, or yes where the window holds it all anyway. */
static_always_inline int
margay_headers_are_short (const u8 *l3, u32 bytes, int is_ip6)
{
  if (bytes <= MARGAY_WINDOW_SHORT)
    return 1;
  u8 protocol = is_ip6 ? l3[6] : l3[9];
  int plain = is_ip6 || l3[0] == 0x45;
  return plain && (protocol == IP_PROTOCOL_TCP || protocol == IP_PROTOCOL_UDP);
}

/* A window over a chain whose first buffer is shorter: n bytes, to the window or from it. */
static_always_inline u32
margay_walk_chain (vlib_main_t *vm, vlib_buffer_t *b, u8 *window, u32 n, int is_back)
{
  u32 done = 0;

  while (1)
    {
      u32 bytes = clib_min (n - done, b->current_length);
      u8 *at = vlib_buffer_get_current (b);
      if (is_back)
	clib_memcpy (at, window + done, bytes);
      else
	clib_memcpy (window + done, at, bytes);
      done += bytes;
      if (done == n || !(b->flags & VLIB_BUFFER_NEXT_PRESENT))
	return done;
      b = vlib_get_buffer (vm, b->next_buffer);
    }
}

/* Copies the window in; answers how many bytes of it are valid. */
static_always_inline u32
margay_read_window (vlib_main_t *vm, vlib_buffer_t *b, u8 *window, int is_ip6)
{
  const u8 *l3 = vlib_buffer_get_current (b);
  u32 bytes = b->current_length;

  if (PREDICT_FALSE (bytes < MARGAY_WINDOW_BYTES && (b->flags & VLIB_BUFFER_NEXT_PRESENT)))
    return margay_walk_chain (vm, b, window, MARGAY_WINDOW_BYTES, 0);
  u32 limit =
    margay_headers_are_short (l3, bytes, is_ip6) ? MARGAY_WINDOW_SHORT : MARGAY_WINDOW_BYTES;
  u32 valid = clib_min (bytes, limit);
  margay_copy_window (window, l3, valid);
  return valid;
}

static_always_inline void
margay_write_window (vlib_main_t *vm, vlib_buffer_t *b, const u8 *window, u32 n)
{
  if (PREDICT_TRUE (n <= b->current_length))
    margay_copy_window (vlib_buffer_get_current (b), window, n);
  else
    margay_walk_chain (vm, b, (u8 *) window, n, 1);
}

static_always_inline u8
margay_slot_flags (vlib_buffer_t *b)
{
  u8 flags = MARGAY_SLOT_FLAG_CHECKED;
  if (PREDICT_FALSE (b->flags & (VNET_BUFFER_F_OFFLOAD | VNET_BUFFER_F_GSO |
				 VLIB_BUFFER_NEXT_PRESENT)))
    {
      if (b->flags & VNET_BUFFER_F_GSO)
	flags |= MARGAY_SLOT_FLAG_GSO;
      if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
	flags |= MARGAY_SLOT_FLAG_CHAINED;
      /* The L4 checksum is still to be made: the field holds the pseudo-header's sum. */
      if ((b->flags & VNET_BUFFER_F_OFFLOAD) &&
	  (vnet_buffer (b)->oflags &
	   (VNET_BUFFER_OFFLOAD_F_TCP_CKSUM | VNET_BUFFER_OFFLOAD_F_UDP_CKSUM)))
	flags |= MARGAY_SLOT_FLAG_PARTIAL_CHECKSUM;
    }
  return flags;
}

/* Cuts the packet at the end that its own header names: behind it is padding of the link. */
static_always_inline void
margay_trim (vlib_main_t *vm, vlib_buffer_t *head, u32 length)
{
  vlib_buffer_t *b = head;
  u32 left = length;

  while (left > b->current_length && (b->flags & VLIB_BUFFER_NEXT_PRESENT))
    {
      left -= b->current_length;
      b = vlib_get_buffer (vm, b->next_buffer);
    }
  b->current_length = clib_min (left, b->current_length);
  if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    {
      vlib_buffer_free_one (vm, b->next_buffer);
      b->flags &= ~VLIB_BUFFER_NEXT_PRESENT;
    }
  head->flags &= ~VLIB_BUFFER_TOTAL_LENGTH_VALID;
}

/* Puts the answer in the packet's place: a packet of the node's own, so that its TTL stays, with
 * whole checksums. Its sender's table, as that of any packet from the interface, leads it back. */
static_always_inline void
margay_reply (vlib_main_t *vm, vlib_buffer_t *b, const u8 *window, u32 length)
{
  if (b->flags & VLIB_BUFFER_NEXT_PRESENT)
    vlib_buffer_free_one (vm, b->next_buffer);
  b->flags &= ~(VLIB_BUFFER_NEXT_PRESENT | VLIB_BUFFER_TOTAL_LENGTH_VALID |
		VNET_BUFFER_F_OFFLOAD | VNET_BUFFER_F_GSO | MARGAY_BUFFER_MARKS);
  vnet_buffer (b)->oflags = 0;
  b->flags |= VNET_BUFFER_F_LOCALLY_ORIGINATED | MARGAY_BUFFER_F_JUDGED;
  vnet_buffer (b)->sw_if_index[VLIB_TX] = ~0;
  b->current_length = length;
  margay_copy_window (vlib_buffer_get_current (b), window, length);
}

#endif
