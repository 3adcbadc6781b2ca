/* The reading commands: `show margay`, `show margay counters`, `show margay sessions`.
 * They read the shared memory beside running workers: each line is whole, their set is of no one
 * moment. */
#include "margay.h"

#define MARGAY_SHOW_SESSIONS_MAX 10000

/* Printed, not returned: at an error of a subcommand VPP runs the command above it. */
static int
has_core (vlib_main_t *vm)
{
  if (!margay_main.dataplane)
    vlib_cli_output (vm, "no core is loaded: margay core <file>");
  return margay_main.dataplane != 0;
}

static u32
table_word (u32 table, u32 offset)
{
  size_t bytes;
  const u8 *memory = margay_memory (margay_main.dataplane, &bytes);
  return *(const u32 *) (memory + MARGAY_ROOT + table + offset);
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
  u64 aged = 0;

  show_inputs (vm);
  if (!mm->dataplane)
    {
      vlib_cli_output (vm, "core none: enabled interfaces drop everything (no-generation)");
      return 0;
    }
  margay_statistics stats = margay_stats (mm->dataplane);
  for (u32 i = 0; i < mm->workers; i++)
    aged += mm->threads[i].sessions_aged;
  vlib_cli_output (vm, "core %s workers=%u generation=%u", mm->core_file, mm->workers,
		   margay_generation (mm->dataplane));
  vlib_cli_output (vm, "sessions4 live=%u budget=%u",
		   table_word (MARGAY_ROOT_SESSIONS4, MARGAY_TABLE_LIVE),
		   table_word (MARGAY_ROOT_SESSIONS4, MARGAY_TABLE_RECORDS_MAX));
  vlib_cli_output (vm, "sessions6 live=%u budget=%u",
		   table_word (MARGAY_ROOT_SESSIONS6, MARGAY_TABLE_LIVE),
		   table_word (MARGAY_ROOT_SESSIONS6, MARGAY_TABLE_RECORDS_MAX));
  vlib_cli_output (vm, "engine pushes=%lu rebuilds=%lu frames=%lu policy-traps=%lu core-traps=%lu",
		   stats.pushes, stats.rebuilds, stats.frames, stats.policy_traps,
		   stats.core_traps);
  vlib_cli_output (vm, "clock %s ms=%u seconds=%u aged=%lu", mm->clock.is_fixed ? "fixed" : "auto",
		   margay_now_ms (vm), margay_now_seconds (), aged);
  return 0;
}

VLIB_CLI_COMMAND (show_command, static) = {
  .path = "show margay",
  .short_help = "show margay",
  .function = show_fn,
};

static clib_error_t *
show_counters_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  if (!has_core (vm))
    return 0;
#define X(value, text)                                                                            \
  {                                                                                               \
    u64 packets = margay_counter (margay_main.dataplane, value);                                  \
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
};

static int
compare_lines (void *a, void *b)
{
  return strcmp (*(char **) a, *(char **) b);
}

/* The lines of one table's live sessions, as C strings; stops at max lines. */
static u8 **
table_lines (u8 **lines, u32 table, int is_ip6, u32 max)
{
  size_t bytes;
  const u8 *memory = margay_memory (margay_main.dataplane, &bytes);
  u32 record_bytes = is_ip6 ? MARGAY_SESSION6_BYTES : MARGAY_SESSION4_BYTES;
  u64 records = table_word (table, MARGAY_TABLE_RECORDS);
  u32 end = table_word (table, MARGAY_TABLE_UNUSED_NEXT);

  for (u32 i = 1; records && i < end && vec_len (lines) < max; i++)
    {
      u64 at = records + (u64) i * record_bytes;
      if (at + record_bytes > bytes)
	break;
      margay_session_t session = { .record = memory + at, .is_ip6 = is_ip6 };
      u32 state = *(const u32 *) (session.record + MARGAY_SESSION_STATE);
      if ((state & MARGAY_LIFE_MASK) == MARGAY_LIFE_LIVE)
	vec_add1 (lines, format (0, "%U%c", format_margay_session, &session, 0));
    }
  return lines;
}

static clib_error_t *
show_sessions_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u32 max = MARGAY_SHOW_SESSIONS_MAX;
  u8 **lines = 0, **line;

  if (!has_core (vm))
    return 0;
  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "max %u", &max))
	continue;
      vlib_cli_output (vm, "unknown input `%U'", format_unformat_error, input);
      return 0;
    }
  lines = table_lines (lines, MARGAY_ROOT_SESSIONS4, 0, max);
  lines = table_lines (lines, MARGAY_ROOT_SESSIONS6, 1, max);
  vec_sort_with_function (lines, compare_lines);
  vec_foreach (line, lines)
    {
      vlib_cli_output (vm, "%s", *line);
      vec_free (*line);
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
};
