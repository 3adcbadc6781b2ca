/* Counters, in the stats segment and for those who ask.
 *
 *   /net/margay/reasons            [thread][reason] packets; /net/margay/reason/<name> are links
 *   /net/margay/{sessions4,sessions6,generation,pushes,policy-traps,core-traps}   gauges
 *
 * Workers count in the program's memory, where the segment's collector reads them, as often as
 * `statseg { update-interval }` says (10 s by default); `show margay counters` and the API read
 * them at once. A core that was swapped leaves what it counted: sums never go back. */
#include "stats.h"
#include <vlib/stats/stats.h>

#define TRAPS_KEPT 64

typedef enum
{
  GAUGE_SESSIONS4,
  GAUGE_SESSIONS6,
  GAUGE_GENERATION,
  GAUGE_PUSHES,
  GAUGE_POLICY_TRAPS,
  GAUGE_CORE_TRAPS,
  GAUGES,
} gauge_t;
static char *gauge_names[GAUGES] = { "sessions4", "sessions6",	  "generation",
				     "pushes",	  "policy-traps", "core-traps" };

static struct
{
  u32 reasons;
  u64 kept[MARGAY_WORKERS_MAX][MARGAY_COUNTERS];
  margay_statistics engine_kept;
  margay_kept_trap_t traps[TRAPS_KEPT];
  u64 traps_noted;
} stats;

static u32
table_word (const margay_dataplane *dp, u32 table, u32 offset)
{
  return *(const volatile u32 *) (margay_memory (dp, 0) + MARGAY_ROOT + table + offset);
}

u32
margay_session_records (void)
{
  const margay_dataplane *dp = margay_main.dataplane;
  return table_word (dp, MARGAY_ROOT_SESSIONS4, MARGAY_TABLE_RECORDS_MAX) +
	 table_word (dp, MARGAY_ROOT_SESSIONS6, MARGAY_TABLE_RECORDS_MAX);
}

/* With what the ones before have counted. */
static margay_statistics
engine_sums (const margay_dataplane *dp)
{
  margay_statistics sums = margay_stats (dp);
  sums.pushes += stats.engine_kept.pushes;
  sums.rebuilds += stats.engine_kept.rebuilds;
  sums.frames += stats.engine_kept.frames;
  sums.policy_traps += stats.engine_kept.policy_traps;
  sums.core_traps += stats.engine_kept.core_traps;
  return sums;
}

void
margay_status_of (const margay_core_t *core, margay_status_t *s)
{
  const margay_dataplane *dp = core->dataplane;
  *s = (margay_status_t){
    .generation = margay_generation (dp),
    .workers = core->workers,
    .pages = core->pages,
    .huge_pages = core->huge_pages,
    .sessions4 = table_word (dp, MARGAY_ROOT_SESSIONS4, MARGAY_TABLE_LIVE),
    .sessions4_max = table_word (dp, MARGAY_ROOT_SESSIONS4, MARGAY_TABLE_RECORDS_MAX),
    .sessions6 = table_word (dp, MARGAY_ROOT_SESSIONS6, MARGAY_TABLE_LIVE),
    .sessions6_max = table_word (dp, MARGAY_ROOT_SESSIONS6, MARGAY_TABLE_RECORDS_MAX),
    .engine = core == margay_core_running () ? engine_sums (dp) : margay_stats (dp),
  };
  memcpy (s->core_sha256, core->sha256, 32);
  margay_staged_hash (dp, s->staged_sha256);
}

/* ---- Packets by reason ---------------------------------------------------------------------- */

static const u64 *
worker_counters (const margay_dataplane *dp, u32 worker)
{
  return (const u64 *) (margay_memory (dp, 0) + MARGAY_WORKERS +
			(size_t) worker * MARGAY_WORKER_BYTES + MARGAY_WORKER_COUNTERS);
}

void
margay_stats_keep (const margay_dataplane *dp)
{
  for (u32 w = 0; w < margay_main.workers; w++)
    for (u32 r = 0; r < MARGAY_COUNTERS; r++)
      stats.kept[w][r] += worker_counters (dp, w)[r];
  stats.engine_kept = engine_sums (dp);
}

u64
margay_packets (u32 reason)
{
  u64 sum = margay_main.dataplane ? margay_counter (margay_main.dataplane, reason) : 0;
  for (u32 w = 0; w < MARGAY_WORKERS_MAX; w++)
    sum += stats.kept[w][reason];
  return sum;
}

u64
margay_sessions_aged (void)
{
  u64 aged = 0;
  for (u32 i = 0; i < vec_len (margay_main.threads); i++)
    aged += margay_main.threads[i].sessions_aged;
  return aged;
}

static void
collect_reasons (vlib_stats_collector_data_t *data)
{
  const margay_dataplane *dp = margay_main.dataplane;
  counter_t **counters = data->entry->data;
  for (u32 w = 0; dp && w < vec_len (counters) && w < margay_main.workers; w++)
    {
      const u64 *of = worker_counters (dp, w);
      for (u32 r = 0; r < MARGAY_COUNTERS; r++)
	counters[w][r] = stats.kept[w][r] + __atomic_load_n (&of[r], __ATOMIC_RELAXED);
    }
}

static void
collect_gauge (vlib_stats_collector_data_t *data)
{
  const margay_dataplane *dp = margay_main.dataplane;
  if (!dp)
    return;
  margay_statistics engine = engine_sums (dp);
  const u64 values[GAUGES] = {
    [GAUGE_SESSIONS4] = table_word (dp, MARGAY_ROOT_SESSIONS4, MARGAY_TABLE_LIVE),
    [GAUGE_SESSIONS6] = table_word (dp, MARGAY_ROOT_SESSIONS6, MARGAY_TABLE_LIVE),
    [GAUGE_GENERATION] = margay_generation (dp),
    [GAUGE_PUSHES] = engine.pushes,
    [GAUGE_POLICY_TRAPS] = engine.policy_traps,
    [GAUGE_CORE_TRAPS] = engine.core_traps,
  };
  data->entry->value = values[data->private_data];
}

/* When the number of threads is known. */
static clib_error_t *
margay_stats_start (vlib_main_t *vm)
{
  stats.reasons = vlib_stats_add_counter_vector ("/net/margay/reasons");
  vlib_stats_validate (stats.reasons, vlib_get_n_threads () - 1, MARGAY_COUNTERS - 1);
  for (u32 r = 0; r < MARGAY_COUNTERS; r++)
    {
      const char *name = margay_reason_text (r);
      if (strcmp (name, "unknown"))
	vlib_stats_add_symlink (stats.reasons, r, "/net/margay/reason/%s", name);
    }
  vlib_stats_collector_reg_t reg = { .collect_fn = collect_reasons,
				     .entry_index = stats.reasons };
  vlib_stats_register_collector_fn (&reg);
  for (u32 g = 0; g < GAUGES; g++)
    {
      vlib_stats_collector_reg_t gauge = {
	.collect_fn = collect_gauge,
	.entry_index = vlib_stats_add_gauge ("/net/margay/%s", gauge_names[g]),
	.private_data = g,
      };
      vlib_stats_register_collector_fn (&gauge);
    }
  return 0;
}

VLIB_MAIN_LOOP_ENTER_FUNCTION (margay_stats_start);

/* ---- Traps ---------------------------------------------------------------------------------- */

void
margay_trap_note (const margay_trap *trap)
{
  margay_kept_trap_t *kept = &stats.traps[stats.traps_noted % TRAPS_KEPT];
  kept->number = ++stats.traps_noted;
  kept->trap = *trap;
}

const margay_kept_trap_t *
margay_trap_kept (u32 index)
{
  u64 kept = clib_min (stats.traps_noted, TRAPS_KEPT);
  return index < kept ? &stats.traps[(stats.traps_noted - kept + index) % TRAPS_KEPT] : 0;
}
