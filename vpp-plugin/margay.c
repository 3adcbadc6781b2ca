/* The plugin itself: registration, the names of its errors, its place in VPP's graph. */
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

void
margay_stand_between (vlib_main_t *vm, char *from, char *to, u32 node_index)
{
  u32 from_index = vlib_get_node_by_name (vm, (u8 *) from)->index;
  u32 to_index = vlib_get_node_by_name (vm, (u8 *) to)->index;
  vlib_node_add_next_with_slot (vm, from_index, node_index,
				vlib_node_get_next (vm, from_index, to_index));
}

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
