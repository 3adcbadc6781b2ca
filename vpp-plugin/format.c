/* Text of what the plugin shows: a traced packet, a session. Lines of key=value, for people and for
 * programs; the names are those of the layout, in kebab case. Addresses as VPP prints them. */
#include "flow.h"
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

u8 *
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
	      t->hook == MARGAY_SLOT_HOOK_COPIED	 ? "copied" :
	      t->hook == MARGAY_SLOT_HOOK_LEAVING ? "leaving" :
						    "entering");
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
  to->state = word_at (r, MARGAY_SESSION_STATE) & ~MARGAY_LIFE_MASK;
  to->seen_ms = word_at (r, MARGAY_SESSION_SEEN);
  to->source_endpoint = word_at (key, KEY (is_ip6, ENDPOINT));
  to->destination_endpoint = word_at (reply, KEY (is_ip6, ENDPOINT));
  to->generation = word_at (r, FIELD (is_ip6, GENERATION));
  margay_flow_of_session (&to->flow, r, is_ip6);
}

static u8 *
format_end (u8 *s, const char *name, const margay_flow_end_t *end, int is_ip6)
{
  return format (s, " %s=%U %s-port=%u", name, format_margay_address, end->address, is_ip6, name,
		 end->port);
}

static u8 *
format_ends (u8 *s, const margay_flow_t *f)
{
  s = format_end (s, "source", &f->source, f->is_ip6);
  s = format_end (s, "destination", &f->destination, f->is_ip6);
  s = format_end (s, "to-source", &f->to_source, f->is_ip6);
  return format_end (s, "to-destination", &f->to_destination, f->is_ip6);
}

u8 *
format_margay_session (u8 *s, va_list *args)
{
  margay_session_t *m = va_arg (*args, margay_session_t *);
  margay_session_fields_t f;

  clib_memset (&f, 0, sizeof (f));
  margay_session_read (&f, m->record, m->is_ip6);
  s = format (s, "family=%u protocol=%u", m->is_ip6 ? 6 : 4, f.flow.protocol);
  s = format_ends (s, &f.flow);
  /* The record's own number of a backend: id + 1, zero without a Service. */
  return format (s,
		 " flags=%u seen-ms=%u rule=%u source-endpoint=%u destination-endpoint=%u"
		 " generation=%u backend=%u peer=%u",
		 f.state, f.seen_ms, f.flow.rule, f.source_endpoint, f.destination_endpoint,
		 f.generation, f.flow.backend + 1, f.flow.peer);
}

u8 *
format_margay_flow (u8 *s, va_list *args)
{
  static const char *kinds[] = { "new", "denied", "ended" };
  margay_flow_t *f = va_arg (*args, margay_flow_t *);
  s = format (s, "%s time-us=%lu worker=%u verdict=%s reason=%s family=%u protocol=%u",
	      kinds[f->kind], f->time_us, f->worker, margay_verdict_name (f->verdict),
	      margay_reason_name (f->reason), f->is_ip6 ? 6 : 4, f->protocol);
  s = format_ends (s, f);
  return format (s, " rule=%u:%u backend=%d peer=%u sw-if-index=%d stages=%U", f->rule >> 16,
		 f->rule & 0xffff, (i32) f->backend, f->peer, (i32) f->sw_if_index,
		 format_margay_stages, f->stages);
}
