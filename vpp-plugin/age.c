/* Aging: idle sessions end whether or not packets come.
 *
 *   margay-process (main thread, every 10 ms) ─► interrupt ─► margay-age (input node, each worker)
 *                                                              └─► margay_age(budget)
 *
 * A process node's stack is too small for Wasm; an input node runs on its thread's own stack, and
 * in interrupt state it costs nothing between ticks. A tick visits a hundredth of the tables (over
 * all threads), so that an idle session ends at most about a second late.
 * With a fixed clock (`margay clock set`) nothing ages but by `margay age`: tests say when. */
#include "flowlog.h"
#include "stats.h"

#define MARGAY_TICK_SECONDS   10e-3
#define MARGAY_TICKS_PER_LAP  100
#define MARGAY_AGE_BUDGET_MAX 131072

/* With workers, the main thread takes no packets, but owns worker 0 and may hold what a session
 * ended by `margay age` left behind: it takes part. */
VLIB_NODE_FN (margay_age_node)
(vlib_main_t *vm, vlib_node_runtime_t *node, vlib_frame_t *frame)
{
  margay_main_t *mm = &margay_main;
  u32 thread = vm->thread_index;

  if (!mm->dataplane || mm->clock.is_fixed || thread >= mm->workers)
    return 0;
  u32 budget = margay_session_records () / (MARGAY_TICKS_PER_LAP * vlib_get_n_threads ()) + 64;
  budget = clib_min (budget, MARGAY_AGE_BUDGET_MAX);
  u32 ended = margay_age (mm->dataplane, thread, margay_now_ms (vm), budget);
  mm->threads[thread].sessions_aged += ended;
  margay_flows_after (thread);
  return 0;
}

VLIB_REGISTER_NODE (margay_age_node) = {
  .name = "margay-age",
  .type = VLIB_NODE_TYPE_INPUT,
  .state = VLIB_NODE_STATE_INTERRUPT,
};

static void
log_traps (margay_main_t *mm)
{
  margay_trap trap;
  while (margay_traps (mm->dataplane, &trap))
    {
      margay_trap_note (&trap);
      if (trap.policy_slot)
	vlib_log_err (mm->log_class, "worker %u: policy slot %u trapped and denies from now on: %s",
		      trap.worker, trap.policy_slot, trap.message);
      else
	vlib_log_err (mm->log_class, "worker %u: the core trapped, its frame was dropped: %s",
		      trap.worker, trap.message);
    }
}

static uword
margay_process_fn (vlib_main_t *vm, vlib_node_runtime_t *rt, vlib_frame_t *frame)
{
  margay_main_t *mm = &margay_main;
  uword *events = 0;

  while (!mm->dataplane)
    {
      vlib_process_wait_for_event (vm);
      vlib_process_get_events (vm, &events);
      vec_reset_length (events);
    }
  vec_free (events);
  while (1)
    {
      vlib_process_suspend (vm, MARGAY_TICK_SECONDS);
      mm->clock.unix_seconds = (u32) unix_time_now ();
      if (!mm->clock.is_fixed)
	for (u32 i = 0; i < vlib_get_n_threads (); i++)
	  vlib_node_set_interrupt_pending (vlib_get_main_by_index (i), margay_age_node.index);
      log_traps (mm);
    }
  return 0;
}

VLIB_REGISTER_NODE (margay_process_node) = {
  .name = "margay-process",
  .type = VLIB_NODE_TYPE_PROCESS,
  .function = margay_process_fn,
};
