/* The plugin itself: registration, the names of its errors, the opening of the dataplane.
 *
 * The engine is made on the first `margay core`, never in an init function: VPP's early
 * configuration installs its signal handlers after early init, and would replace Wasmtime's. */
#include "margay.h"
#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

margay_main_t margay_main;

VLIB_PLUGIN_REGISTER () = {
  .version = "0.1.0",
  .version_required = VPP_BUILD_VER,
  .description = "Margay: policy, connection tracking and NAT in WebAssembly",
};

#define X(value, text)                                                                            \
  [value] = { .name = text, .desc = text, .severity = VL_COUNTER_SEVERITY_ERROR },
vlib_error_desc_t margay_error_counters[MARGAY_N_ERRORS] = {
  MARGAY_REASONS (X)
  X (MARGAY_ERROR_NO_TUNNEL, "no-tunnel-to-peer")
  X (MARGAY_ERROR_SOURCE_ROUTE, "source-route")
  X (MARGAY_ERROR_BAD_OPTIONS, "bad-options")
};
#undef X

static clib_error_t *
margay_init (vlib_main_t *vm)
{
  margay_main.log_class = vlib_log_register_class ("margay", 0);
  /* Workers read it while it changes: it never moves. */
  clib_bitmap_validate (margay_main.inputs, MARGAY_INTERFACES_MAX);
  for (u32 i = 0; i < MARGAY_INTERFACES_MAX; i++)
    margay_main.interface_of[i] = MARGAY_INTERFACE_UNBOUND;
  return 0;
}

VLIB_INIT_FUNCTION (margay_init);
