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
  for (u32 i = 0; i < MARGAY_INTERFACES_MAX; i++)
    margay_main.interface_of[i] = MARGAY_INTERFACE_UNBOUND;
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
