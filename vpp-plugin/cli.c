/* The acting commands. Each prints one line when it has done its work, and an error that names the
 * file or object when it has not; then nothing has changed.
 *
 *   margay core -> margay records (Configure, Begin ...) -> margay module ... -> margay publish
 *   margay core <other> beside -> records, module, publish, bind, restore -> margay swap
 *   margay bind <interface> <endpoint>   set margay input <interface>   set margay mode ...
 *
 * Each is the twin of a message of margay.api. Those that push sleep while the control thread works
 * (jobs.h): main loop and workers run on. */
#include "jobs.h"
#include "flowlog.h"
#include "stats.h"

clib_error_t *
margay_file_name (unformat_input_t *input, margay_job_t *job)
{
  u8 *name = 0;
  clib_error_t *error = 0;
  if (!unformat (input, "%s", &name))
    return clib_error_return (0, "expected a file's name");
  if (vec_len (name) >= sizeof (job->file))
    error = clib_error_return (0, "%v: a name of more than %u bytes", name, sizeof (job->file) - 1);
  else
    clib_memcpy (job->file, name, vec_len (name));
  vec_free (name);
  return error;
}

clib_error_t *
margay_check_core (void)
{
  return margay_main.dataplane ?
	   0 :
	   clib_error_return (0, "no core is loaded: margay core <file>");
}

static clib_error_t *
unknown_input (unformat_input_t *input)
{
  return clib_error_return (0, "unknown input `%U'", format_unformat_error, input);
}

static clib_error_t *
core_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_open, margay_carry_open);
  margay_options *options = &job->options;
  clib_error_t *error = margay_file_name (input, job);

  job->threads = options->workers = vlib_get_n_threads ();
  options->prefetch = options->huge_pages = 1;
  while (!error && unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "pages %u", &options->memory_pages))
	;
      else if (unformat (input, "workers %u", &options->workers))
	;
      else if (unformat (input, "no-huge-pages"))
	options->huge_pages = 0;
      else if (unformat (input, "no-prefetch"))
	options->prefetch = 0;
      else if (unformat (input, "beside"))
	job->beside = 1;
      else
	error = unknown_input (input);
    }
  if (!error)
    error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "core loaded: %s, %u workers%s", job->file, options->workers,
		     job->beside ? ", beside" : "");
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (core_command, static) = {
  .path = "margay core",
  .short_help =
    "margay core <file> [pages <n>] [workers <n>] [no-huge-pages] [no-prefetch] [beside]",
  .function = core_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
records_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_stage, 0);
  clib_error_t *error = margay_check_core ();

  if (!error)
    error = margay_file_name (input, job);
  if (!error)
    error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "records staged: %s, %u bytes", job->file, job->taken);
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (records_command, static) = {
  .path = "margay records",
  .short_help = "margay records <file>: a stream of stage records",
  .function = records_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
module_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_module, 0);
  clib_error_t *error = margay_check_core ();

  job->kind = MARGAY_SLOT_STATE_GENERATED;
  if (!error && (!unformat (input, "%u", &job->slot) || job->slot == 0 ||
		 job->slot >= MARGAY_POLICY_SLOTS_MAX))
    error = clib_error_return (0, "expected a policy slot from 1 to %u",
			       MARGAY_POLICY_SLOTS_MAX - 1);
  if (!error && unformat (input, "user"))
    job->kind = MARGAY_SLOT_STATE_USER;
  if (!error)
    error = margay_file_name (input, job);
  if (!error)
    error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "module admitted: slot %u, %s", job->slot, job->file);
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (module_command, static) = {
  .path = "margay module",
  .short_help = "margay module <slot> [user] <file>",
  .function = module_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
publish_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_publish, 0);
  clib_error_t *error = margay_check_core ();

  if (!error && !unformat (input, "%u", &job->generation))
    error = clib_error_return (0, "expected a generation's number");
  if (!error)
    error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "generation published: %u", job->generation);
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (publish_command, static) = {
  .path = "margay publish",
  .short_help = "margay publish <generation>",
  .function = publish_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
bind_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_bind, margay_carry_bind);
  clib_error_t *error = margay_check_core ();
  u32 sw_if_index = ~0, endpoint = MARGAY_NO_ENDPOINT;

  if (!error &&
      !unformat (input, "%U", unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index))
    error = clib_error_return (0, "unknown interface `%U'", format_unformat_error, input);
  if (!error && !unformat (input, "none") && !unformat (input, "%u", &endpoint))
    error = clib_error_return (0, "expected an endpoint's index, or none");
  if (!error && margay_bind_prepare (job, sw_if_index, endpoint))
    error = clib_error_return (0, "%s", job->why);
  if (!error)
    error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "interface bound: sw-if-index %u to endpoint %d", job->sw_if_index,
		     (i32) job->endpoint);
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (bind_command, static) = {
  .path = "margay bind",
  .short_help = "margay bind <interface> <endpoint-index>|none",
  .function = bind_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
swap_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_swap, margay_carry_swap);
  clib_error_t *error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "core swapped: generation %u",
		     margay_generation (margay_main.dataplane));
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (swap_command, static) = {
  .path = "margay swap",
  .short_help = "margay swap: the core that was loaded beside takes the place of the running one",
  .function = swap_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
discard_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_job_t *job = margay_job_new (margay_work_discard, margay_carry_discard);
  clib_error_t *error = margay_job_await (vm, job);
  if (!error)
    vlib_cli_output (vm, "core discarded");
  margay_job_free (job);
  return error;
}

VLIB_CLI_COMMAND (discard_command, static) = {
  .path = "margay discard",
  .short_help = "margay discard: closes the core that was loaded beside",
  .function = discard_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
abandon_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  vlib_cli_output (vm, "uploads abandoned: %u", margay_uploads_abandon (MARGAY_NO_CLIENT));
  return 0;
}

VLIB_CLI_COMMAND (abandon_command, static) = {
  .path = "margay uploads abandon",
  .short_help = "margay uploads abandon: those of all clients of the API",
  .function = abandon_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
mode_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  int fail_closed = unformat (input, "fail-closed");
  if (!fail_closed && !unformat (input, "manual"))
    return clib_error_return (0, "expected fail-closed or manual");
  margay_mode_set (fail_closed);
  vlib_cli_output (vm, "mode %s", fail_closed ? "fail-closed" : "manual");
  return 0;
}

VLIB_CLI_COMMAND (mode_command, static) = {
  .path = "set margay mode",
  .short_help = "set margay mode fail-closed|manual: whether all interfaces are enabled",
  .function = mode_fn,
};

static clib_error_t *
input_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 sw_if_index = ~0;
  int is_enable;
  clib_error_t *error;

  if (!unformat (input, "%U", unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index))
    return clib_error_return (0, "unknown interface `%U'", format_unformat_error, input);
  is_enable = !unformat (input, "disable");
  error = margay_input_enable (sw_if_index, is_enable);
  if (!error)
    vlib_cli_output (vm, "input %s: sw-if-index %u", is_enable ? "enabled" : "disabled",
		     sw_if_index);
  return error;
}

VLIB_CLI_COMMAND (input_command, static) = {
  .path = "set margay input",
  .short_help = "set margay input <interface> [disable]",
  .function = input_fn,
};

static clib_error_t *
clock_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  margay_clock_t *clock = &margay_main.clock;
  u32 ms, seconds = clock->fixed_seconds;

  if (unformat (input, "auto"))
    {
      clock->is_fixed = 0;
      vlib_cli_output (vm, "clock auto");
      return 0;
    }
  if (!unformat (input, "set %u", &ms))
    return clib_error_return (0, "expected auto, or set <ms> [seconds <unix>]");
  if (unformat (input, "seconds %u", &seconds))
    ;
  else if (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    return unknown_input (input);
  clock->fixed_ms = ms;
  clock->fixed_seconds = seconds;
  clock->is_fixed = 1;
  vlib_cli_output (vm, "clock fixed: %u ms, %u seconds", ms, seconds);
  return 0;
}

VLIB_CLI_COMMAND (clock_command, static) = {
  .path = "margay clock",
  .short_help = "margay clock set <ms> [seconds <unix>] | auto",
  .function = clock_fn,
};

/* A long sweep is made in short stretches. Worker 0 is the main thread's own, and this is it. */
static clib_error_t *
age_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 ms, budget, ended = 0;
  clib_error_t *error = margay_check_core ();

  if (error)
    return error;
  if (!unformat (input, "%u %u", &ms, &budget))
    return clib_error_return (0, "expected <ms> <budget>");
  budget = clib_min (budget, margay_session_records ());
  while (budget)
    {
      u32 stretch = clib_min (budget, 2048);
      ended += margay_age (margay_main.dataplane, vm->thread_index, ms, stretch);
      margay_flows_after (vm->thread_index);
      budget -= stretch;
      if (budget && vlib_in_process_context (vm))
	vlib_process_suspend (vm, 10e-6);
    }
  vlib_cli_output (vm, "sessions ended: %u", ended);
  return 0;
}

VLIB_CLI_COMMAND (age_command, static) = {
  .path = "margay age",
  .short_help = "margay age <ms> <budget>: visit at most so many session records",
  .function = age_fn,
  .is_mp_safe = 1,
};

/* For each family and thread, as VPP's own limits are; a trace takes memory of VPP's heap. */
void
margay_trace_set (vlib_main_t *vm, u32 packets)
{
  const u32 most = 10000;
  static const char *nodes[] = { "margay-ip4-input", "margay-ip6-input" };

  vlib_worker_thread_barrier_sync (vm);
  if (!vnet_trace_placeholder)
    vec_validate_aligned (vnet_trace_placeholder, 2048, CLIB_CACHE_LINE_BYTES);
  for (u32 i = 0; i < ARRAY_LEN (nodes); i++)
    {
      vlib_node_t *node = vlib_get_node_by_name (vm, (u8 *) nodes[i]);
      if (!node)
	continue;
      trace_update_capture_options (0, node->index, 0, 0); /* it adds; 0 begins anew */
      if (packets)
	trace_update_capture_options (clib_min (packets, most), node->index, 0, 0);
    }
  vlib_worker_thread_barrier_release (vm);
}

static clib_error_t *
trace_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 packets;
  if (!unformat (input, "%u", &packets))
    return clib_error_return (0, "expected a number of packets, 0 for none");
  margay_trace_set (vm, packets);
  vlib_cli_output (vm, "packets traced: the next %u", packets);
  return 0;
}

VLIB_CLI_COMMAND (trace_command, static) = {
  .path = "margay trace",
  .short_help = "margay trace <packets>: of each family and thread; show trace has them",
  .function = trace_fn,
};
