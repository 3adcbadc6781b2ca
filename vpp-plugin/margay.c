/* The plugin itself: registration, the opening of the dataplane, interfaces.
 *
 * The engine is made on the first `margay core`, never in an init function: VPP's early
 * configuration installs its signal handlers after early init, and would replace Wasmtime's. */
#include "margay.h"
#include <vnet/feature/feature.h>
#include <vnet/plugin/plugin.h>
#include <vpp/app/version.h>

margay_main_t margay_main;

VLIB_PLUGIN_REGISTER () = {
  .version = "0.1.0",
  .version_required = VPP_BUILD_VER,
  .description = "Margay: policy, connection tracking and NAT in WebAssembly",
};

static clib_error_t *
margay_init (vlib_main_t *vm)
{
  margay_main.log_class = vlib_log_register_class ("margay", 0);
  return 0;
}

VLIB_INIT_FUNCTION (margay_init);

clib_error_t *
margay_open_core (vlib_main_t *vm, margay_options *options, u8 *file)
{
  margay_main_t *mm = &margay_main;
  char error[256] = "";

  if (mm->dataplane)
    return clib_error_return (0, "%s: a core is loaded already: %s (restart VPP to change it)",
			      file, mm->core_file);
  if (options->workers < vlib_get_n_threads () || options->workers > MARGAY_WORKERS_MAX)
    return clib_error_return (0, "workers %u: VPP has %u threads, and %u workers are the most",
			      options->workers, vlib_get_n_threads (), MARGAY_WORKERS_MAX);
  if (options->memory_pages && (options->memory_pages < 64 || options->memory_pages > 65536))
    return clib_error_return (0, "pages %u: from 64 to 65536 (64 KiB each)", options->memory_pages);

  margay_dataplane *dp = margay_open (options, error, sizeof (error));
  if (!dp)
    return clib_error_return (0, "%s: %s", file, error[0] ? error : margay_last_error ());

  vec_validate_aligned (mm->threads, options->workers - 1, CLIB_CACHE_LINE_BYTES);
  for (u32 i = 0; i < options->workers; i++)
    {
      margay_frame frame = margay_worker_frame (dp, i);
      mm->threads[i].slots = frame.slots;
      mm->threads[i].windows = frame.windows;
      mm->threads[i].stages = frame.stages;
    }
  mm->workers = options->workers;
  mm->core_file = format (0, "%s%c", file, 0);
  mm->clock.unix_seconds = (u32) unix_time_now ();

  /* Workers see the pointer only when all that hangs on it is there. */
  vlib_worker_thread_barrier_sync (vm);
  mm->dataplane = dp;
  vlib_worker_thread_barrier_release (vm);
  vlib_process_signal_event (vm, margay_process_node.index, 1, 0);
  return 0;
}

clib_error_t *
margay_input_enable (u32 sw_if_index, int is_enable)
{
  margay_main_t *mm = &margay_main;
  int rv;

  if (sw_if_index >= MARGAY_INTERFACES_MAX)
    return clib_error_return (0, "sw_if_index %u: the program knows interfaces below %u",
			      sw_if_index, MARGAY_INTERFACES_MAX);
  /* Enabling twice would count twice in VPP, and one disable would not undo it. */
  if (clib_bitmap_get (mm->inputs, sw_if_index) == (uword) is_enable)
    return 0;
  rv = vnet_feature_enable_disable ("ip4-unicast", "margay-ip4-input", sw_if_index, is_enable, 0,
				    0);
  if (!rv)
    rv = vnet_feature_enable_disable ("ip6-unicast", "margay-ip6-input", sw_if_index, is_enable, 0,
				      0);
  if (rv)
    return clib_error_return (0, "sw_if_index %u: feature arc refused (%d)", sw_if_index, rv);
  mm->inputs = clib_bitmap_set (mm->inputs, sw_if_index, is_enable);
  return 0;
}
