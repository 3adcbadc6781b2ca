/* Text of what the plugin shows: a traced packet, a session. Lines of key=value, for people and for
 * programs; the names are those of the layout, in kebab case. Addresses as VPP prints them. */
#include "margay.h"
#include <vnet/ip/format.h>
#include <vnet/ip/ip4_packet.h>
#include <vnet/ip/ip6_packet.h>

#define X(value, text) [value] = text,
static const char *verdict_names[] = { MARGAY_VERDICTS (X) };
static const char *reason_names[] = { MARGAY_REASONS (X) };
static const char *stage_names[] = { MARGAY_STAGE_LIST (X) };
#undef X

const char *
margay_verdict_name (u32 verdict)
{
  return verdict < ARRAY_LEN (verdict_names) ? verdict_names[verdict] : "unknown";
}

const char *
margay_reason_name (u32 reason)
{
  return reason < ARRAY_LEN (reason_names) ? reason_names[reason] : "unknown";
}

static u8 *
format_margay_address (u8 *s, va_list *args)
{
  const u8 *address = va_arg (*args, const u8 *);
  int is_ip6 = va_arg (*args, int);
  return is_ip6 ? format (s, "%U", format_ip6_address, address) :
		  format (s, "%U", format_ip4_address, address);
}

static u8 *
format_margay_tuple (u8 *s, va_list *args)
{
  margay_trace_tuple_t *t = va_arg (*args, margay_trace_tuple_t *);
  int is_ip6 = va_arg (*args, int);
  const char *pattern = is_ip6 ? "[%U]:%u>[%U]:%u" : "%U:%u>%U:%u";
  return format (s, pattern, format_margay_address, t->source, is_ip6, t->source_port,
		 format_margay_address, t->destination, is_ip6, t->destination_port);
}

/* "egress:3:0,ingress:5:2": the stages that were asked, each with policy slot and rule. */
static u8 *
format_margay_stages (u8 *s, va_list *args)
{
  const u32 *stages = va_arg (*args, const u32 *);
  const char *between = "";
  for (u32 i = 0; i < MARGAY_STAGES; i++)
    if (stages[i])
      {
	s = format (s, "%s%s:%u:%u", between, stage_names[i], stages[i] >> 16, stages[i] & 0xffff);
	between = ",";
      }
  return *between ? s : format (s, "none");
}

u8 *
format_margay_trace (u8 *s, va_list *args)
{
  CLIB_UNUSED (vlib_main_t * vm) = va_arg (*args, vlib_main_t *);
  CLIB_UNUSED (vlib_node_t * node) = va_arg (*args, vlib_node_t *);
  margay_trace_t *t = va_arg (*args, margay_trace_t *);

  s = format (s, "margay: verdict=%s reason=%s rule=%u:%u direction=%s",
	      margay_verdict_name (t->verdict), margay_reason_name (t->reason), t->rule >> 16,
	      t->rule & 0xffff, t->direction ? "return" : "forward");
  /* The slot bears id + 1, for zero says that no Service was in play. */
  s = t->backend ? format (s, " backend=%u", t->backend - 1) : format (s, " backend=none");
  if (t->peer)
    s = format (s, " peer=%u", t->peer);
  s = format (s, " stages=%U", format_margay_stages, t->stages);
  s = format (s, " hook=%s",
	      t->hook == MARGAY_SLOT_HOOK_LEAVING ? "leaving" : "entering");
  s = format (s, " sw-if-index=%u length=%u protocol=%u packet=%U", t->sw_if_index,
	      t->packet_length, t->protocol, format_margay_tuple, &t->before, (int) t->is_ip6);
  if (t->rewritten)
    s = format (s, " rewrite=%U", format_margay_tuple, &t->after, (int) t->is_ip6);
  else
    s = format (s, " rewrite=none");
  return s;
}

static u32
word_at (const u8 *record, u32 offset)
{
  return *(const u32 *) (record + offset);
}

/* The offset of a field that both families have: of a record, of a key in it. */
#define FIELD(m, name) ((m)->is_ip6 ? MARGAY_SESSION6_##name : MARGAY_SESSION4_##name)
#define KEY(m, name)   ((m)->is_ip6 ? MARGAY_KEY6_##name : MARGAY_KEY4_##name)

/* One end of a tuple: an address, and a port in wire order. */
static u8 *
format_end (u8 *s, const margay_session_t *m, const char *name, const u8 *address, u16 port)
{
  return format (s, " %s=%U %s-port=%u", name, format_margay_address, address, m->is_ip6, name,
		 clib_net_to_host_u16 (port));
}

u8 *
format_margay_session (u8 *s, va_list *args)
{
  margay_session_t *m = va_arg (*args, margay_session_t *);
  const u8 *r = m->record;
  /* The opener's key, and the reply's: what a forward packet leaves with, turned round. */
  const u8 *key = r + MARGAY_SESSION_KEYS, *reply = key + FIELD (m, KEY_STRIDE);
  u32 ports = word_at (key, KEY (m, PORTS)), reply_ports = word_at (reply, KEY (m, PORTS));

  s = format (s, "family=%u protocol=%u", m->is_ip6 ? 6 : 4, r[FIELD (m, PROTOCOL)]);
  s = format_end (s, m, "source", key + KEY (m, SOURCE), ports & 0xffff);
  s = format_end (s, m, "destination", key + KEY (m, DESTINATION), ports >> 16);
  s = format_end (s, m, "to-source", reply + KEY (m, DESTINATION), reply_ports >> 16);
  s = format_end (s, m, "to-destination", reply + KEY (m, SOURCE), reply_ports & 0xffff);
  return format (s,
		 " flags=%u seen-ms=%u rule=%u source-endpoint=%u destination-endpoint=%u"
		 " generation=%u backend=%u peer=%u",
		 word_at (r, MARGAY_SESSION_STATE) & ~MARGAY_LIFE_MASK,
		 word_at (r, MARGAY_SESSION_SEEN), word_at (r, MARGAY_SESSION_RULE),
		 word_at (key, KEY (m, ENDPOINT)), word_at (reply, KEY (m, ENDPOINT)),
		 word_at (r, FIELD (m, GENERATION)), word_at (r, FIELD (m, BACKEND)),
		 *(const u16 *) (r + FIELD (m, PEER)));
}
