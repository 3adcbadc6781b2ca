/* The reading commands: `show margay`, and of it counters, sessions, interfaces, traps, uploads.
 * They read the shared memory beside running workers: each line is whole, their set is of no one
 * moment. What is long is read in short stretches, between which the main loop runs. */
#include "jobs.h"
#include "flow.h"
#include "stats.h"

#define MARGAY_SHOW_SESSIONS_MAX 10000
#define STRETCH			 256

/* Printed, not returned: at an error of a subcommand VPP runs the command above it. */
static int
has_core (vlib_main_t *vm)
{
  if (!margay_main.dataplane)
    vlib_cli_output (vm, "no core is loaded: margay core <file>");
  return margay_main.dataplane != 0;
}

static void
breathe (vlib_main_t *vm)
{
  if (vlib_in_process_context (vm) &&
      (vlib_get_n_threads () < 2 || !vlib_worker_thread_barrier_held ()))
    vlib_process_suspend (vm, 10e-6);
}

static void
show_inputs (vlib_main_t *vm)
{
  margay_main_t *mm = &margay_main;
  u32 sw_if_index;
  clib_bitmap_foreach (sw_if_index, mm->inputs)
    vlib_cli_output (vm, "input %U sw-if-index=%u", format_vnet_sw_if_index_name,
		     vnet_get_main (), sw_if_index, sw_if_index);
}

static clib_error_t *
show_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_main_t *mm = &margay_main;
  margay_core_t *core = margay_core_running ();
  margay_flow_counts_t flows = margay_flows_count ();
  margay_status_t s;

  show_inputs (vm);
  vlib_cli_output (vm, "mode %s control-cores=%U jobs=%d",
		   mm->fail_closed ? "fail-closed" : "manual", format_margay_control_cpus,
		   margay_jobs_waiting ());
  if (!core)
    {
      vlib_cli_output (vm, "core none: enabled interfaces drop everything (no-generation)");
      return 0;
    }
  margay_status_of (core, &s);
  vlib_cli_output (vm, "core %s workers=%u generation=%u", core->file, s.workers, s.generation);
  vlib_cli_output (vm, "memory pages=%u huge-pages=%u layout=%u", s.pages, s.huge_pages,
		   MARGAY_LAYOUT_VERSION);
  vlib_cli_output (vm, "sha256 core=%U staged=%U", format_hex_bytes, s.core_sha256, 32,
		   format_hex_bytes, s.staged_sha256, 32);
  vlib_cli_output (vm, "sessions4 live=%u budget=%u", s.sessions4, s.sessions4_max);
  vlib_cli_output (vm, "sessions6 live=%u budget=%u", s.sessions6, s.sessions6_max);
  vlib_cli_output (vm, "engine pushes=%lu rebuilds=%lu frames=%lu policy-traps=%lu core-traps=%lu",
		   s.engine.pushes, s.engine.rebuilds, s.engine.frames, s.engine.policy_traps,
		   s.engine.core_traps);
  vlib_cli_output (vm, "flows log=%s noted=%lu lost=%lu", mm->log_flows ? "on" : "off",
		   flows.noted, flows.lost);
  vlib_cli_output (vm, "clock %s ms=%u seconds=%u aged=%lu", mm->clock.is_fixed ? "fixed" : "auto",
		   margay_now_ms (vm), margay_now_seconds (), margay_sessions_aged ());
  return 0;
}

VLIB_CLI_COMMAND (show_command, static) = {
  .path = "show margay",
  .short_help = "show margay [counters|sessions|interfaces|traps|uploads|flows]",
  .function = show_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
show_counters_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  if (!has_core (vm))
    return 0;
#define X(value, text)                                                                            \
  {                                                                                               \
    u64 packets = margay_packets (value);                                                         \
    if (packets)                                                                                  \
      vlib_cli_output (vm, "%s %lu", text, packets);                                              \
  }
  MARGAY_REASONS (X)
#undef X
  return 0;
}

VLIB_CLI_COMMAND (show_counters_command, static) = {
  .path = "show margay counters",
  .short_help = "packets by reason, those above zero",
  .function = show_counters_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
show_interfaces_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_core_t *core = margay_core_running ();
  vnet_main_t *vnm = vnet_get_main ();
  vnet_sw_interface_t *si;

  pool_foreach (si, vnm->interface_main.sw_interfaces)
    {
      u32 i = si->sw_if_index;
      int is_known = i < MARGAY_INTERFACE_UNBOUND;
      int is_bound = is_known && margay_main.interface_of[i] == i;
      vlib_cli_output (vm, "%U sw-if-index=%u enabled=%u bound=%u endpoint=%d",
		       format_vnet_sw_if_index_name, vnm, i, i,
		       (u32) clib_bitmap_get (margay_main.inputs, i), is_bound,
		       is_bound && core ? (i32) core->endpoints[i] : -1);
    }
  return 0;
}

VLIB_CLI_COMMAND (show_interfaces_command, static) = {
  .path = "show margay interfaces",
  .short_help = "all interfaces: whether enabled, and whose they are",
  .function = show_interfaces_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
show_traps_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  const margay_kept_trap_t *kept;
  for (u32 i = 0; (kept = margay_trap_kept (i)); i++)
    vlib_cli_output (vm, "trap %lu worker=%u policy-slot=%u %s", kept->number, kept->trap.worker,
		     kept->trap.policy_slot, kept->trap.message);
  return 0;
}

VLIB_CLI_COMMAND (show_traps_command, static) = {
  .path = "show margay traps",
  .short_help = "the newest 64 traps; policy slot 0 is the core itself",
  .function = show_traps_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
show_uploads_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_uploads_show (vm);
  return 0;
}

VLIB_CLI_COMMAND (show_uploads_command, static) = {
  .path = "show margay uploads",
  .short_help = "bytes that clients of the API have brought and not used yet",
  .function = show_uploads_fn,
  .is_mp_safe = 1,
};

/* ---- Sessions ------------------------------------------------------------------------------- */

/* The lines of one family's live sessions, as C strings; stops at max lines. */
static u8 **
family_lines (vlib_main_t *vm, u8 **lines, u32 family, u32 max)
{
  u8 record[MARGAY_SESSION6_BYTES];
  margay_session_t session = { .record = record, .is_ip6 = family == 6 };

  for (u32 i = 1; i < margay_sessions_end (margay_main.dataplane, family); i++)
    {
      if (vec_len (lines) >= max)
	break;
      if (margay_session_copy (margay_main.dataplane, family, i, record))
	vec_add1 (lines, format (0, "%U%c", format_margay_session, &session, 0));
      if (i % STRETCH == 0)
	breathe (vm);
    }
  return lines;
}

/* Merges sorted runs, ever longer ones. */
static u8 **
sort_lines (vlib_main_t *vm, u8 **lines)
{
  u32 n = vec_len (lines), done = 0;
  u8 **to = 0;

  if (n < 2)
    return lines;
  vec_validate (to, n - 1);
  for (u32 run = 1; run < n; run *= 2)
    {
      for (u32 first = 0; first < n; first += 2 * run)
	{
	  u32 a = first, a_end = clib_min (first + run, n);
	  u32 b = a_end, b_end = clib_min (first + 2 * run, n);
	  for (u32 i = first; i < b_end; i++)
	    {
	      int is_a = b == b_end ||
			 (a < a_end && strcmp ((char *) lines[a], (char *) lines[b]) <= 0);
	      to[i] = is_a ? lines[a++] : lines[b++];
	      if (++done % (4 * STRETCH) == 0)
		breathe (vm);
	    }
	}
      u8 **swapped = lines;
      lines = to;
      to = swapped;
    }
  vec_free (to);
  return lines;
}

static clib_error_t *
show_sessions_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 max = MARGAY_SHOW_SESSIONS_MAX;
  u8 **lines = 0;

  if (!has_core (vm))
    return 0;
  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "max %u", &max))
	continue;
      vlib_cli_output (vm, "unknown input `%U'", format_unformat_error, input);
      return 0;
    }
  lines = family_lines (vm, lines, 4, max);
  lines = family_lines (vm, lines, 6, max);
  lines = sort_lines (vm, lines);
  for (u32 i = 0; i < vec_len (lines); i++)
    {
      vlib_cli_output (vm, "%s", lines[i]);
      vec_free (lines[i]);
      if (i % STRETCH == STRETCH - 1)
	breathe (vm);
    }
  if (vec_len (lines) == max)
    vlib_cli_output (vm, "... at most %u shown: show margay sessions max <n>", max);
  vec_free (lines);
  return 0;
}

VLIB_CLI_COMMAND (show_sessions_command, static) = {
  .path = "show margay sessions",
  .short_help = "show margay sessions [max <n>]: live sessions, sorted, one a line",
  .function = show_sessions_fn,
  .is_mp_safe = 1,
};
