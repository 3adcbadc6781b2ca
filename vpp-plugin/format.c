/* Text of what the plugin shows: a traced packet, a session. Lines of key=value, for people and for
 * programs; the names are those of the layout, in kebab case. Addresses as VPP prints them. */
#include "flow.h"
#include <vnet/ip/format.h>
#include <vnet/ip/ip4_packet.h>
#include <vnet/ip/ip6_packet.h>

#define X(value, text) [value] = text,
static const char *const stage_names[] = { MARGAY_STAGE_LIST (X) };
static const char *const hook_names[] = { MARGAY_SLOT_HOOKS (X) };
#undef X

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
  const margay_flow_end_t *from = va_arg (*args, const margay_flow_end_t *);
  const margay_flow_end_t *to = va_arg (*args, const margay_flow_end_t *);
  int is_ip6 = va_arg (*args, int);
  const char *pattern = is_ip6 ? "[%U]:%u>[%U]:%u" : "%U:%u>%U:%u";
  return format (s, pattern, format_margay_address, from->address, is_ip6, from->port,
		 format_margay_address, to->address, is_ip6, to->port);
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
	      margay_verdict_text (t->verdict), margay_reason_text (t->reason), t->rule >> 16,
	      t->rule & 0xffff, t->direction ? "return" : "forward");
  /* The slot bears id + 1, for zero says that no Service was in play. */
  s = t->backend ? format (s, " backend=%u", t->backend - 1) : format (s, " backend=none");
  if (t->peer)
    s = format (s, " peer=%u", t->peer);
  s = format (s, " stages=%U", format_margay_stages, t->stages);
  s = format (s, " hook=%s sw-if-index=%u length=%u protocol=%u packet=%U", hook_names[t->hook],
	      t->sw_if_index, t->packet_length, t->protocol, format_margay_tuple, &t->source,
	      &t->destination, (int) t->is_ip6);
  if (t->rewritten)
    return format (s, " rewrite=%U", format_margay_tuple, &t->to_source, &t->to_destination,
		   (int) t->is_ip6);
  return format (s, " rewrite=none");
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
	      kinds[f->kind], f->time_us, f->worker, margay_verdict_text (f->verdict),
	      margay_reason_text (f->reason), f->is_ip6 ? 6 : 4, f->protocol);
  s = format_ends (s, f);
  return format (s, " rule=%u:%u backend=%d peer=%u sw-if-index=%d stages=%U", f->rule >> 16,
		 f->rule & 0xffff, (i32) f->backend, f->peer, (i32) f->sw_if_index,
		 format_margay_stages, f->stages);
}
