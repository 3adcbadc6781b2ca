/* The flow log for people: `margay flows on`, then `show margay flows`.
 *
 * While it is on, the newest 256 flows are kept; `off` forgets them. Clients of the API have theirs
 * besides. */
#include "flow.h"
#include "jobs.h"

#define KEPT 256

static margay_flow_t kept[KEPT];
static u64 count; /* since it was turned on */
static u8 is_on;

int
margay_flows_shown (void)
{
  return is_on;
}

void
margay_flows_keep (const margay_flow_t *flows, u32 n)
{
  for (u32 i = 0; is_on && i < n; i++)
    kept[count++ % KEPT] = flows[i];
}

static clib_error_t *
flows_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  int wanted = unformat (input, "on");
  if (!wanted && !unformat (input, "off"))
    return clib_error_return (0, "expected on or off");
  if (!wanted)
    count = 0;
  is_on = wanted;
  margay_flows_listen (wanted || margay_flows_listeners () > 0);
  margay_jobs_wake ();
  vlib_cli_output (vm, "flow log %s", wanted ? "on" : "off");
  return 0;
}

VLIB_CLI_COMMAND (flows_command, static) = {
  .path = "margay flows",
  .short_help = "margay flows on|off: what show margay flows is to show",
  .function = flows_fn,
  .is_mp_safe = 1,
};

static clib_error_t *
show_flows_fn (vlib_main_t *vm, unformat_input_t *input, vlib_cli_command_t *cmd)
{
  u64 first = count > KEPT ? count - KEPT : 0;
  if (!is_on)
    vlib_cli_output (vm, "the flow log is off: margay flows on");
  for (u64 i = first; i < count; i++)
    vlib_cli_output (vm, "%U", format_margay_flow, &kept[i % KEPT]);
  u64 lost = margay_flows_count ().lost;
  if (lost)
    vlib_cli_output (vm, "lost %lu since VPP's start", lost);
  return 0;
}

VLIB_CLI_COMMAND (show_flows_command, static) = {
  .path = "show margay flows",
  .short_help = "the newest 256 flows since margay flows on, oldest first",
  .function = show_flows_fn,
  .is_mp_safe = 1,
};
