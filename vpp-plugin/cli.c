/* The acting commands. Each prints one line when it has done its work, and an error that names the
 * file or object when it has not; then nothing has changed.
 *
 *   margay core -> margay records (Configure, Begin ...) -> margay module ... -> margay publish
 *   margay bind <interface> <endpoint>   set margay input <interface>
 *
 * Pushing commands are mp-safe: workers run on while the control thread works. */
#include "margay.h"
#include <vppinfra/unix.h>

/* A file's bytes, named by the next word of the input. The name comes back as a C string. */
static clib_error_t *
read_file (unformat_input_t *input, u8 **name, u8 **bytes)
{
  clib_error_t *error;

  if (!unformat (input, "%s", name))
    return clib_error_return (0, "expected a file's name");
  vec_add1 (*name, 0);
  error = clib_file_contents ((char *) *name, bytes);
  if (error)
    {
      u8 *why = error->code ? format (0, "%s", strerror (error->code)) :
			      format (0, "%U", format_clib_error, error);
      clib_error_free (error);
      error = clib_error_return (0, "%s: %v", *name, why);
      vec_free (why);
      return error;
    }
  if (vec_len (*bytes) == 0)
    return clib_error_return (0, "%s: the file is empty", *name);
  return 0;
}

static clib_error_t *
check_core (void)
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
  margay_options options = { .prefetch = 1, .huge_pages = 1 };
  u8 *name = 0, *bytes = 0;
  clib_error_t *error = read_file (input, &name, &bytes);

  options.workers = vlib_get_n_threads ();
  while (!error && unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "pages %u", &options.memory_pages))
	;
      else if (unformat (input, "workers %u", &options.workers))
	;
      else if (unformat (input, "no-huge-pages"))
	options.huge_pages = 0;
      else if (unformat (input, "no-prefetch"))
	options.prefetch = 0;
      else
	error = unknown_input (input);
    }
  if (!error)
    {
      options.core = bytes;
      options.core_length = vec_len (bytes);
      error = margay_open_core (vm, &options, name);
    }
  if (!error)
    vlib_cli_output (vm, "core loaded: %s, %u workers", name, options.workers);
  vec_free (bytes);
  vec_free (name);
  return error;
}

VLIB_CLI_COMMAND (core_command, static) = {
  .path = "margay core",
  .short_help = "margay core <file> [pages <n>] [workers <n>] [no-huge-pages] [no-prefetch]",
  .function = core_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
records_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u8 *name = 0, *bytes = 0;
  clib_error_t *error = check_core ();

  if (!error)
    error = read_file (input, &name, &bytes);
  if (!error && margay_stage (margay_main.dataplane, bytes, vec_len (bytes)) != MARGAY_OK)
    error = clib_error_return (0, "%s: %s", name, margay_last_error ());
  if (!error)
    vlib_cli_output (vm, "records staged: %s, %u bytes", name, vec_len (bytes));
  vec_free (bytes);
  vec_free (name);
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
  u8 *name = 0, *bytes = 0;
  u32 slot = 0, kind = MARGAY_SLOT_STATE_GENERATED;
  clib_error_t *error = check_core ();

  if (!error && (!unformat (input, "%u", &slot) || slot == 0 || slot >= MARGAY_POLICY_SLOTS_MAX))
    error = clib_error_return (0, "expected a policy slot from 1 to %u",
			       MARGAY_POLICY_SLOTS_MAX - 1);
  if (!error && unformat (input, "user"))
    kind = MARGAY_SLOT_STATE_USER;
  if (!error)
    error = read_file (input, &name, &bytes);
  if (!error &&
      margay_module (margay_main.dataplane, slot, kind, bytes, vec_len (bytes)) != MARGAY_OK)
    error = clib_error_return (0, "slot %u, %s: %s", slot, name, margay_last_error ());
  if (!error)
    vlib_cli_output (vm, "module admitted: slot %u, %s", slot, name);
  vec_free (bytes);
  vec_free (name);
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
  u32 generation;
  clib_error_t *error = check_core ();

  if (error)
    return error;
  if (!unformat (input, "%u", &generation))
    return clib_error_return (0, "expected a generation's number");
  if (margay_publish (margay_main.dataplane, generation) != MARGAY_OK)
    return clib_error_return (0, "generation %u: %s", generation, margay_last_error ());
  vlib_cli_output (vm, "generation published: %u", generation);
  return 0;
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
  u32 sw_if_index = ~0, endpoint = MARGAY_NO_ENDPOINT, incarnation;
  clib_error_t *error = check_core ();

  if (error)
    return error;
  if (!unformat (input, "%U", unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index))
    return clib_error_return (0, "unknown interface `%U'", format_unformat_error,
			      input);
  if (!unformat (input, "none") && !unformat (input, "%u", &endpoint))
    return clib_error_return (0, "expected an endpoint's index, or none");
  incarnation = margay_interface_incarnation (sw_if_index);
  if (endpoint == MARGAY_NO_ENDPOINT)
    margay_interface_unbound (sw_if_index);

  /* A Bind record: its header is u16 kind, u16 flags, u32 length of the body. */
  u8 record[MARGAY_RECORD_HEADER_BYTES + MARGAY_BIND_BYTES] = { MARGAY_RECORD_KIND_BIND };
  u32 length = MARGAY_BIND_BYTES;
  u8 *body = record + MARGAY_RECORD_HEADER_BYTES;
  clib_memcpy (record + 4, &length, 4);
  clib_memcpy (body + MARGAY_BIND_INTERFACE, &sw_if_index, 4);
  clib_memcpy (body + MARGAY_BIND_ENDPOINT, &endpoint, 4);
  if (margay_stage (margay_main.dataplane, record, sizeof (record)) != MARGAY_OK)
    return clib_error_return (0, "%s", margay_last_error ());
  margay_interface_bound (sw_if_index, incarnation, endpoint);
  vlib_cli_output (vm, "interface bound: sw-if-index %u to endpoint %d", sw_if_index,
		   (i32) endpoint);
  return 0;
}

VLIB_CLI_COMMAND (bind_command, static) = {
  .path = "margay bind",
  .short_help = "margay bind <interface> <endpoint-index>|none",
  .function = bind_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
input_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 sw_if_index = ~0;
  int is_enable;
  clib_error_t *error;

  if (!unformat (input, "%U", unformat_vnet_sw_interface, vnet_get_main (), &sw_if_index))
    return clib_error_return (0, "unknown interface `%U'",
			      format_unformat_error, input);
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

static clib_error_t *
age_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 ms, budget;
  clib_error_t *error = check_core ();

  if (error)
    return error;
  if (!unformat (input, "%u %u", &ms, &budget))
    return clib_error_return (0, "expected <ms> <budget>");
  /* Worker 0 is the main thread's own, and this is the main thread. */
  vlib_cli_output (vm, "sessions ended: %u",
		   margay_age (margay_main.dataplane, vm->thread_index, ms, budget));
  return 0;
}

VLIB_CLI_COMMAND (age_command, static) = {
  .path = "margay age",
  .short_help = "margay age <ms> <budget>: visit at most so many session records",
  .function = age_fn,
};
