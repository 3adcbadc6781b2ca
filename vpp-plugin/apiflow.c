/* The flow log's clients of the binary API: who listens, and the events that they get.
 *
 *   want_margay_flow_events ─► listener;  rings (flowlog.c) ─► margay_flow_event to each, 32 flows
 *
 * A client that doesn't read (1 MiB is waiting for it) misses events. `lost` in an event is what
 * the rings lost, the same for all clients, and what this one has missed itself. */
#include "apisend.h"
#include "jobs.h"
#define vl_endianfun
#include <margay/margay.api.h>
#undef vl_endianfun

#define EVENT_FLOWS   32
#define EVENTS_A_TURN 16
#define BACKLOG_BYTES (1u << 20)

typedef struct
{
  u32 client, pid;
  u64 lost; /* by this one's slowness */
} listener_t;

static listener_t *listeners;

static listener_t *
find_listener (u32 client)
{
  listener_t *l;
  vec_foreach (l, listeners)
    if (l->client == client)
      return l;
  return 0;
}

int
margay_flows_want (u32 client, u32 pid, int enable)
{
  listener_t *l = find_listener (client);

  if (!enable)
    {
      margay_flows_client_gone (client);
      return l ? 0 : VNET_API_ERROR_NO_SUCH_ENTRY;
    }
  if (!l)
    {
      listener_t new = { .client = client };
      vec_add1 (listeners, new);
      l = vec_end (listeners) - 1;
    }
  l->pid = pid;
  margay_flows_listen (1);
  margay_jobs_wake (); /* which tells them from now on */
  return 0;
}

void
margay_flows_client_gone (u32 client)
{
  listener_t *l = find_listener (client);
  if (!l)
    return;
  vec_del1 (listeners, l - listeners);
  if (!vec_len (listeners) && !margay_flows_shown ())
    margay_flows_listen (0);
}

u32
margay_flows_listeners (void)
{
  return vec_len (listeners);
}

static void
fill_flow (vl_api_margay_flow_t *m, const margay_flow_t *f)
{
  MARGAY_ENDS (m, f);
  m->time_us = f->time_us;
  m->kind = (vl_api_margay_flow_kind_t) f->kind;
  m->verdict = f->verdict;
  m->reason = f->reason;
  m->worker = f->worker;
  m->sw_if_index = f->sw_if_index;
  for (u32 i = 0; i < MARGAY_STAGES; i++)
    m->stages[i] = f->stages[i];
}
STATIC_ASSERT (ARRAY_LEN (((vl_api_margay_flow_t *) 0)->stages) == MARGAY_STAGES,
	       "the API tells all stages");

static void
send_flows (listener_t *l, const margay_flow_t *flows, u32 n)
{
  vl_api_registration_t *client = MARGAY_CLIENT (l->client);
  if (!client)
    return;
  /* A client by shared memory has a queue, and to send where it is full would wait for it. */
  if (!vl_api_can_send_msg (client) || vec_len (client->output_vector) > BACKLOG_BYTES)
    {
      l->lost += n;
      return;
    }
  vl_api_margay_flow_event_t *m =
    vl_msg_api_alloc_zero (sizeof (*m) + n * sizeof (vl_api_margay_flow_t));
  m->_vl_msg_id = margay_msg_id_base + VL_API_MARGAY_FLOW_EVENT;
  m->client_index = l->client;
  m->pid = l->pid;
  m->lost = margay_flows_count ().lost + l->lost;
  m->count = n;
  for (u32 i = 0; i < n; i++)
    fill_flow (&m->flows[i], &flows[i]);
  MARGAY_SEND (margay_flow_event, client, m);
}

void
margay_flows_tell (void)
{
  margay_flow_t flows[EVENT_FLOWS];
  listener_t *l;
  u32 n;

  for (u32 turn = 0; turn < EVENTS_A_TURN; turn++)
    {
      n = margay_flows_read (flows, EVENT_FLOWS);
      if (!n)
	return;
      margay_flows_keep (flows, n);
      vec_foreach (l, listeners)
	send_flows (l, flows, n);
    }
}
