/* Text of what the plugin shows: a traced packet, a session. Lines of key=value, for people and for
 * programs; the names are those of the layout, in kebab case. Addresses as VPP prints them. */
#include "margay.h"
#include <vnet/ip/format.h>
#include <vnet/ip/ip4_packet.h>
#include <vnet/ip/ip6_packet.h>

#define X(value, text) [value] = text,
static const char *verdict_names[] = { MARGAY_VERDICTS (X) };
static const char *reason_names[] = { MARGAY_REASONS (X) };
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

/* The offset of a field that both families have. */
#define FIELD(m, name) ((m)->is_ip6 ? MARGAY_SESSION6_##name : MARGAY_SESSION4_##name)

u8 *
format_margay_session (u8 *s, va_list *args)
{
  margay_session_t *m = va_arg (*args, margay_session_t *);
  const u8 *r = m->record;
  int is_ip6 = m->is_ip6;
  /* Ports stand in wire order, the source in the low half. */
  u32 ports = word_at (r, FIELD (m, PORTS)), to_ports = word_at (r, FIELD (m, TO_PORTS));

  s = format (s, "family=%u protocol=%u", is_ip6 ? 6 : 4, r[FIELD (m, PROTOCOL)]);
  s = format (s, " source=%U source-port=%u destination=%U destination-port=%u",
	      format_margay_address, r + FIELD (m, SOURCE), is_ip6,
	      clib_net_to_host_u16 (ports & 0xffff), format_margay_address,
	      r + FIELD (m, DESTINATION), is_ip6, clib_net_to_host_u16 (ports >> 16));
  s = format (s, " to-source=%U to-source-port=%u to-destination=%U to-destination-port=%u",
	      format_margay_address, r + FIELD (m, TO_SOURCE), is_ip6,
	      clib_net_to_host_u16 (to_ports & 0xffff), format_margay_address,
	      r + FIELD (m, TO_DESTINATION), is_ip6, clib_net_to_host_u16 (to_ports >> 16));
  return format (s,
		 " flags=%u seen-ms=%u rule=%u source-endpoint=%u destination-endpoint=%u"
		 " generation=%u backend=%u",
		 word_at (r, MARGAY_SESSION_STATE) & ~MARGAY_LIFE_MASK,
		 word_at (r, MARGAY_SESSION_SEEN), word_at (r, MARGAY_SESSION_RULE),
		 word_at (r, FIELD (m, SOURCE_ENDPOINT)),
		 word_at (r, FIELD (m, DESTINATION_ENDPOINT)), word_at (r, FIELD (m, GENERATION)),
		 word_at (r, FIELD (m, BACKEND)));
}
