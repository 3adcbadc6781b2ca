/* What bytes say of their flow: those of a packet, those of a session record. */
#include "flow.h"
#include <vnet/ip/ip.h>

void
margay_flow_of_packet (margay_flow_end_t *source, margay_flow_end_t *destination, u8 *protocol,
		       const u8 *l3, u32 bytes, int is_ip6)
{
  u32 l4 = is_ip6 ? 40 : (l3[0] & 15) * 4;

  if (bytes < (is_ip6 ? 40 : 20))
    return;
  *protocol = is_ip6 ? l3[6] : l3[9];
  clib_memcpy (source->address, l3 + (is_ip6 ? 8 : 12), is_ip6 ? 16 : 4);
  clib_memcpy (destination->address, l3 + (is_ip6 ? 24 : 16), is_ip6 ? 16 : 4);
  if ((*protocol == IP_PROTOCOL_TCP || *protocol == IP_PROTOCOL_UDP ||
       *protocol == IP_PROTOCOL_SCTP) &&
      bytes >= l4 + 4)
    {
      source->port = l3[l4] << 8 | l3[l4 + 1];
      destination->port = l3[l4 + 2] << 8 | l3[l4 + 3];
    }
}

/* ---- Session records ------------------------------------------------------------------------ */

static u32
word_at (const u8 *record, u32 offset)
{
  return *(const u32 *) (record + offset);
}

/* The offset of a field that both families have: of a record, of a key in it. */
#define FIELD(is_ip6, name) ((is_ip6) ? MARGAY_SESSION6_##name : MARGAY_SESSION4_##name)
#define KEY(is_ip6, name)   ((is_ip6) ? MARGAY_KEY6_##name : MARGAY_KEY4_##name)

static margay_flow_end_t
end_of (const u8 *address, u32 port, int is_ip6)
{
  margay_flow_end_t end = { .port = clib_net_to_host_u16 (port) };
  clib_memcpy (end.address, address, is_ip6 ? 16 : 4);
  return end;
}

void
margay_flow_of_session (margay_flow_t *flow, const u8 *r, int is_ip6)
{
  /* The opener's key, and the reply's: what a forward packet leaves with, turned round. */
  const u8 *key = r + MARGAY_SESSION_KEYS, *reply = key + FIELD (is_ip6, KEY_STRIDE);
  u32 ports = word_at (key, KEY (is_ip6, PORTS)), turned = word_at (reply, KEY (is_ip6, PORTS));
  u32 backend = word_at (r, FIELD (is_ip6, BACKEND));

  flow->is_ip6 = is_ip6;
  flow->protocol = r[FIELD (is_ip6, PROTOCOL)];
  flow->source = end_of (key + KEY (is_ip6, SOURCE), ports & 0xffff, is_ip6);
  flow->destination = end_of (key + KEY (is_ip6, DESTINATION), ports >> 16, is_ip6);
  flow->to_source = end_of (reply + KEY (is_ip6, DESTINATION), turned >> 16, is_ip6);
  flow->to_destination = end_of (reply + KEY (is_ip6, SOURCE), turned & 0xffff, is_ip6);
  flow->rule = word_at (r, MARGAY_SESSION_RULE);
  flow->backend = backend ? backend - 1 : ~0;
  flow->peer = *(const u16 *) (r + FIELD (is_ip6, PEER));
}

void
margay_session_read (margay_session_fields_t *to, const u8 *r, int is_ip6)
{
  const u8 *key = r + MARGAY_SESSION_KEYS, *reply = key + FIELD (is_ip6, KEY_STRIDE);

  clib_memset (to, 0, sizeof (*to));
  to->state = word_at (r, MARGAY_SESSION_STATE) & ~MARGAY_LIFE_MASK;
  to->seen_ms = word_at (r, MARGAY_SESSION_SEEN);
  to->source_endpoint = word_at (key, KEY (is_ip6, ENDPOINT));
  to->destination_endpoint = word_at (reply, KEY (is_ip6, ENDPOINT));
  to->generation = word_at (r, FIELD (is_ip6, GENERATION));
  margay_flow_of_session (&to->flow, r, is_ip6);
}
