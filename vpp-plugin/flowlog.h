/* Flows told to those who listen: new ones, denied ones, ended ones.
 *
 *   worker: margay_log_flow ─► its ring (one writer, one reader) ─► main: margay_flows_tell
 *
 * Costs a branch a frame while nobody listens. What a ring or a client has no room for is lost and
 * counted: packets never wait. See flowlog.c. */
#ifndef MARGAY_FLOWLOG_H
#define MARGAY_FLOWLOG_H
#include "margay.h"

void margay_flow_note (margay_thread_t *mt, vlib_buffer_t *b, const margay_slot *slot,
		       const u8 *window, const u32 *stages, int is_ip6);
/* On that thread, after any call that may have ended sessions. */
void margay_flows_ended (u32 thread);

/* Whether a packet begins a session, or is refused: what goes on as before is told by nobody. */
static_always_inline int
margay_flow_is_told (const margay_slot *slot)
{
  if (slot->verdict == MARGAY_VERDICT_PASS)
    return slot->session && slot->direction == 0 &&
	   (slot->reason == MARGAY_REASON_ALLOWED || slot->reason == MARGAY_REASON_FORWARDED);
  return 1;
}

/* Once for each packet of a frame, in order, before its buffer is touched. */
static_always_inline void
margay_log_flow (margay_thread_t *mt, vlib_buffer_t *b, const margay_slot *slot, const u8 *window,
		 const u32 *stages, int is_ip6)
{
  if (slot == mt->slots)
    margay_flows_ended (mt - margay_main.threads);
  if (margay_flow_is_told (slot))
    margay_flow_note (mt, b, slot, window, stages, is_ip6);
}

static_always_inline void
margay_flows_after (u32 thread)
{
  if (PREDICT_FALSE (margay_main.log_flows))
    margay_flows_ended (thread);
}

#endif
