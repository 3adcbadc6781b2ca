/* The flow log: each worker's ring.
 *
 *   new, denied   from the slots of a frame, while its packets are still as they came
 *   ended         from the worker's limbo lists, where the core puts what it ends: what stands
 *                 above the record that headed the list last time. A record stays there at least
 *                 until its worker's next call, so that its keys can still be read.
 *
 * A ring has 1,024 flows and one writer; the main thread empties it every 10 ms (jobs.c), for
 * clients of the API (apiflow.c) and the CLI (flowshow.c). What finds a ring full is lost, and
 * counted. */
#include "flowlog.h"
#include "flow.h"

#define RING_FLOWS 1024u /* a power of two */

/* Of a worker's limbo lists, by family. */
typedef struct
{
  u32 open[2], closed[2];
} heads_t;

typedef struct
{
  CLIB_CACHE_LINE_ALIGN_MARK (cacheline0);
  volatile u32 written; /* by the worker */
  volatile u64 lost;
  heads_t heads; /* as they were last time */
  CLIB_CACHE_LINE_ALIGN_MARK (cacheline1);
  volatile u32 read; /* by the main thread */
  margay_flow_t flows[RING_FLOWS];
} ring_t;

static ring_t *rings[MARGAY_WORKERS_MAX];

static const u32 lists[2] = { MARGAY_WORKER_LIMBO4, MARGAY_WORKER_LIMBO6 };
static const u32 tables[2] = { MARGAY_ROOT_SESSIONS4, MARGAY_ROOT_SESSIONS6 };

static margay_flow_t *
next_flow (u32 thread)
{
  ring_t *ring = rings[thread];
  if (!ring)
    return 0;
  if (ring->written - __atomic_load_n (&ring->read, __ATOMIC_ACQUIRE) >= RING_FLOWS)
    {
      ring->lost++;
      return 0;
    }
  margay_flow_t *flow = &ring->flows[ring->written % RING_FLOWS];
  clib_memset (flow, 0, sizeof (*flow));
  flow->time_us = (u64) (unix_time_now () * 1e6);
  flow->worker = thread;
  return flow;
}

static void
write_flow (u32 thread)
{
  ring_t *ring = rings[thread];
  __atomic_store_n (&ring->written, ring->written + 1, __ATOMIC_RELEASE);
}

/* ---- A packet ------------------------------------------------------------------------------- */

void
margay_flow_note (margay_thread_t *mt, vlib_buffer_t *b, const margay_slot *slot, const u8 *window,
		  const u32 *stages, int is_ip6)
{
  u32 thread = mt - margay_main.threads;
  margay_flow_t *flow = next_flow (thread);
  u8 protocol_after;

  if (!flow)
    return;
  int is_new = slot->verdict == MARGAY_VERDICT_PASS;
  int to_peer = slot->rewritten & MARGAY_REWRITTEN_TO_PEER;
  flow->kind = is_new ? MARGAY_FLOW_NEW : MARGAY_FLOW_DENIED;
  flow->verdict = slot->verdict;
  flow->reason = slot->reason;
  flow->is_ip6 = is_ip6;
  flow->rule = slot->rule;
  flow->backend = slot->backend ? slot->backend - 1 : ~0;
  flow->peer = to_peer ? slot->peer : 0;
  flow->sw_if_index =
    slot->hook != MARGAY_SLOT_HOOK_ENTERING ? ~0 : vnet_buffer (b)->sw_if_index[VLIB_RX];
  clib_memcpy (flow->stages, stages, sizeof (flow->stages));
  margay_flow_of_packet (&flow->source, &flow->destination, &flow->protocol,
			 vlib_buffer_get_current (b), b->current_length, is_ip6);
  if (is_new && !to_peer && slot->rewritten & MARGAY_REWRITTEN_HEADER)
    margay_flow_of_packet (&flow->to_source, &flow->to_destination, &protocol_after, window,
			   slot->window_length, is_ip6);
  else
    {
      flow->to_source = flow->source;
      flow->to_destination = flow->destination;
    }
  write_flow (thread);
}

/* ---- What has ended ------------------------------------------------------------------------- */

static void
note_ended (u32 thread, const u8 *record, int is_ip6)
{
  margay_flow_t *flow = next_flow (thread);
  if (!flow)
    return;
  flow->kind = MARGAY_FLOW_ENDED;
  flow->verdict = MARGAY_VERDICT_PASS;
  flow->sw_if_index = ~0;
  margay_flow_of_session (flow, record, is_ip6);
  write_flow (thread);
}

/* The records of a list from its head to before `end`, or to its end. */
static void
walk (u32 thread, const u8 *records, size_t bytes, u32 head, u32 end, int is_ip6)
{
  u32 size = margay_session_bytes (is_ip6 ? 6 : 4);
  u32 left = RING_FLOWS; /* more would be lost anyway */
  while (head && head != end && left--)
    {
      size_t at = (size_t) head * size;
      if (at + size > bytes)
	return;
      note_ended (thread, records + at, is_ip6);
      head = *(const u32 *) (records + at + MARGAY_SESSION_NEXT);
    }
}

static heads_t
read_heads (const u8 *memory, u32 thread)
{
  const u8 *worker = memory + MARGAY_WORKERS + thread * MARGAY_WORKER_BYTES;
  heads_t heads;
  for (u32 f = 0; f < 2; f++)
    {
      heads.open[f] = *(const u32 *) (worker + lists[f]);
      heads.closed[f] = *(const u32 *) (worker + lists[f] + 4);
    }
  return heads;
}

void
margay_flows_ended (u32 thread)
{
  ring_t *ring = thread < MARGAY_WORKERS_MAX ? rings[thread] : 0;
  size_t bytes;

  if (!ring || !margay_main.dataplane || thread >= margay_main.workers)
    return;
  const u8 *memory = margay_memory (margay_main.dataplane, &bytes);
  heads_t before = ring->heads, now = read_heads (memory, thread);
  ring->heads = now;
  for (int f = 0; f < 2; f++)
    {
      u32 at = *(const u32 *) (memory + MARGAY_ROOT + tables[f] + MARGAY_TABLE_RECORDS);
      int is_closed = now.closed[f] != before.closed[f];
      if (!at)
	continue;
      /* A list that was closed since begins with what has ended since, then what was open. */
      if (is_closed)
	walk (thread, memory + at, bytes - at, now.closed[f], before.open[f], f);
      walk (thread, memory + at, bytes - at, now.open[f], is_closed ? 0 : before.open[f], f);
    }
}

/* ---- Readers, on the main thread ------------------------------------------------------------ */

/* Learns where the lists begin: what has ended before is told by nobody. */
void
margay_flows_reset (void)
{
  for (u32 w = 0; margay_main.dataplane && w < margay_main.workers; w++)
    if (rings[w])
      rings[w]->heads = read_heads (margay_memory (margay_main.dataplane, 0), w);
}

/* Rings stay once they are there: a worker may be writing. */
void
margay_flows_listen (int is_on)
{
  if (is_on)
    for (u32 i = 0; i < vlib_get_n_threads () && i < MARGAY_WORKERS_MAX; i++)
      if (!rings[i])
	{
	  ring_t *ring = clib_mem_alloc_aligned (sizeof (ring_t), CLIB_CACHE_LINE_BYTES);
	  clib_memset (ring, 0, sizeof (*ring));
	  __atomic_store_n (&rings[i], ring, __ATOMIC_RELEASE);
	}
  if (margay_main.log_flows == is_on)
    return;
  vlib_worker_thread_barrier_sync (vlib_get_main ());
  margay_flows_reset ();
  margay_main.log_flows = is_on;
  vlib_worker_thread_barrier_release (vlib_get_main ());
}

u32
margay_flows_read (margay_flow_t *flows, u32 most)
{
  u32 n = 0;
  for (u32 i = 0; i < MARGAY_WORKERS_MAX; i++)
    {
      ring_t *ring = rings[i];
      while (ring && n < most && ring->read != __atomic_load_n (&ring->written, __ATOMIC_ACQUIRE))
	{
	  flows[n++] = ring->flows[ring->read % RING_FLOWS];
	  __atomic_store_n (&ring->read, ring->read + 1, __ATOMIC_RELEASE);
	}
    }
  return n;
}

margay_flow_counts_t
margay_flows_count (void)
{
  margay_flow_counts_t counts = { 0 };
  for (u32 i = 0; i < MARGAY_WORKERS_MAX; i++)
    if (rings[i])
      {
	counts.noted += rings[i]->written;
	counts.lost += rings[i]->lost;
      }
  return counts;
}
