/* The dataplane that VPP's threads run, and its change for another; all on the main thread.
 *
 *   open ─► carry: in place (workers see the pointer when all that hangs on it is there)
 *   swap ─► carry: under the barrier, with its binds; the one before is closed afterwards
 *
 * What the closed ones have counted stays counted (stats.c). Sessions are for the client to carry
 * over: save, restore, then swap. */
#include "jobs.h"
#include "flow.h"
#include "flowlog.h"
#include "stats.h"

static margay_core_t *running;

margay_core_t *
margay_core_running (void)
{
  return running;
}

static void
put_in_place (margay_core_t *core)
{
  margay_main_t *mm = &margay_main;
  u32 threads = clib_max (core->workers, vlib_get_n_threads ());

  vec_validate_aligned (mm->threads, threads - 1, CLIB_CACHE_LINE_BYTES);
  for (u32 i = 0; i < core->workers; i++)
    {
      margay_frame frame = margay_worker_frame (core->dataplane, i);
      mm->threads[i].slots = frame.slots;
      mm->threads[i].windows = frame.windows;
      mm->threads[i].stages = frame.stages;
    }
  mm->workers = core->workers;
  mm->dataplane = core->dataplane;
  running = core;
  margay_flows_reset ();
}

void
margay_carry_open (margay_job_t *job)
{
  vlib_main_t *vm = vlib_get_main ();
  if (job->beside)
    return;
  margay_main.clock.unix_seconds = (u32) unix_time_now ();
  vlib_worker_thread_barrier_sync (vm);
  put_in_place (job->core);
  vlib_worker_thread_barrier_release (vm);
  vlib_process_signal_event (vm, margay_process_node.index, 1, 0);
}

void
margay_carry_discard (margay_job_t *job)
{
  free (job->core);
}

/* Its threads may still be inside when the pointer changes; so it happens between two frames. */
void
margay_carry_swap (margay_job_t *job)
{
  vlib_main_t *vm = vlib_get_main ();
  margay_core_t *core = job->core;
  margay_trap trap;

  vlib_worker_thread_barrier_sync (vm);
  while (margay_traps (job->replaced->dataplane, &trap))
    margay_trap_note (&trap);
  margay_stats_keep (job->replaced->dataplane);
  put_in_place (core);
  for (u32 i = 0; i < MARGAY_INTERFACE_UNBOUND; i++)
    if (core->endpoints[i] != MARGAY_NO_ENDPOINT)
      margay_interface_bound (i, core->incarnations[i], core->endpoints[i]);
    else if (margay_main.interface_of[i] != MARGAY_INTERFACE_UNBOUND)
      margay_interface_unbound (i);
  vlib_worker_thread_barrier_release (vm);

  margay_job_t *last = margay_job_new (margay_work_discard, margay_carry_discard);
  last->replaced = job->replaced;
  if (margay_job_post (last)) /* the queue is full: it stays open, and this is said */
    {
      vlib_log_err (margay_main.log_class, "%s: not closed: %s", job->replaced->file, last->why);
      margay_job_free (last);
    }
}

int
margay_bind_prepare (margay_job_t *job, u32 sw_if_index, u32 endpoint)
{
  job->sw_if_index = sw_if_index;
  job->endpoint = endpoint;
  if (!vnet_sw_interface_is_api_valid (vnet_get_main (), sw_if_index))
    return margay_job_fail (job, VNET_API_ERROR_INVALID_SW_IF_INDEX,
			    "sw-if-index %u: there is none", sw_if_index);
  if (sw_if_index >= MARGAY_INTERFACE_UNBOUND)
    return margay_job_fail (job, VNET_API_ERROR_INVALID_SW_IF_INDEX,
			    "sw-if-index %u: the program knows those below %u", sw_if_index,
			    MARGAY_INTERFACE_UNBOUND);
  job->incarnation = margay_interface_incarnation (sw_if_index);
  return 0;
}

void
margay_carry_bind (margay_job_t *job)
{
  margay_core_t *core = job->core;
  core->endpoints[job->sw_if_index] = job->endpoint;
  core->incarnations[job->sw_if_index] = job->incarnation;
  if (core != running)
    return;
  if (job->endpoint == MARGAY_NO_ENDPOINT)
    margay_interface_unbound (job->sw_if_index);
  else
    margay_interface_bound (job->sw_if_index, job->incarnation, job->endpoint);
}

void
margay_carry_restore (margay_job_t *job)
{
  if (!job->bytes.data) /* done already, into the one beside */
    return;
  u32 thread = vlib_get_main ()->thread_index;
  int taken = margay_restore (job->core->dataplane, thread, job->family, job->bytes.data,
			      job->bytes.length);
  if (taken < 0)
    margay_job_fail (job, VNET_API_ERROR_INVALID_VALUE, "%s", margay_last_error ());
  job->taken = clib_max (taken, 0); /* its bytes go back with the job */
  margay_flows_after (thread);
}

/* What it had opened beside goes with it. */
void
margay_client_gone (u32 client)
{
  margay_uploads_abandon (client);
  if (!running)
    return;
  margay_job_t *job = margay_job_new (margay_work_discard, margay_carry_discard);
  job->client = client;
  if (margay_job_post (job))
    margay_job_free (job);
}
