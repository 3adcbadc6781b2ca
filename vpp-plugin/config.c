/* The plugin's section of startup.conf: margay { manual no-reassembly }.
 *
 *   manual          only `set margay input` enables interfaces; else every one is from its making
 *   no-reassembly   fragments are judged in the order that they come in; else VPP's shallow virtual
 *                   reassembly holds later ones until the first is there
 *
 * VPP calls this also where there is no such section, after all init functions. */
#include "margay.h"

static clib_error_t *
margay_config (vlib_main_t *vm, unformat_input_t *input)
{
  int fail_closed = 1;

  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "manual"))
	fail_closed = 0;
      else if (unformat (input, "no-reassembly"))
	margay_main.no_reassembly = 1;
      else
	return clib_error_return (0, "margay: unknown input `%U'", format_unformat_error, input);
    }
  margay_interfaces_start (fail_closed);
  return 0;
}

VLIB_CONFIG_FUNCTION (margay_config, "margay");
