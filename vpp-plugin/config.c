/* The plugin's section of startup.conf.
 *
 *   margay {
 *     manual                        only `set margay input` enables interfaces; else all are,
 *                                   from their making
 *     no-reassembly                 fragments are judged in the order that they come in; else VPP's
 *                                   shallow virtual reassembly holds later ones until the first is
 *                                   there
 *     core <file>                   loaded as soon as the main loop runs
 *     pages <n>                     of 64 KiB, for its memory
 *     huge-pages | no-huge-pages    whether the kernel is asked for huge ones (it is)
 *     cores <list>                  CPUs of the control thread, as in 0,2-3; else any but
 *                                   the workers' own
 *   }
 *
 * VPP calls this also where there is no such section, after all init functions. */
#include "jobs.h"

static margay_job_t *first; /* what `core` asks for */

static clib_error_t *
margay_config (vlib_main_t *vm, unformat_input_t *input)
{
  int fail_closed = 1;
  uword *cpus = 0;
  u8 *file = 0;
  u32 pages = 0;
  u8 huge_pages = 1;

  while (unformat_check_input (input) != UNFORMAT_END_OF_INPUT)
    {
      if (unformat (input, "manual"))
	fail_closed = 0;
      else if (unformat (input, "no-reassembly"))
	margay_main.no_reassembly = 1;
      else if (unformat (input, "pages %u", &pages))
	;
      else if (unformat (input, "no-huge-pages"))
	huge_pages = 0;
      else if (unformat (input, "huge-pages"))
	huge_pages = 1;
      else if (unformat (input, "cores %U", unformat_bitmap_list, &cpus))
	;
      else if (unformat (input, "core %s", &file)) /* behind cores, which it begins */
	;
      else
	return clib_error_return (0, "margay: unknown input `%U'", format_unformat_error, input);
    }
  margay_control_cpus (cpus);
  clib_bitmap_free (cpus);
  margay_interfaces_start (fail_closed);
  if (!file)
    return 0;
  if (vec_len (file) >= sizeof (first->file))
    return clib_error_return (0, "margay: core %v: a name of more than %u bytes", file,
			      sizeof (first->file) - 1);
  first = margay_job_new (margay_work_open, margay_carry_open);
  clib_memcpy (first->file, file, vec_len (file));
  vec_free (file);
  first->options.memory_pages = pages;
  first->options.huge_pages = huge_pages;
  return 0;
}

VLIB_CONFIG_FUNCTION (margay_config, "margay");

/* Nobody waits for it: the log has what came of it. Until it is there, everything is dropped. */
static void
say (margay_job_t *job)
{
  if (job->retval)
    vlib_log_err (margay_main.log_class, "startup.conf: %s", job->why);
  else
    vlib_log_notice (margay_main.log_class, "core loaded: %s", job->file);
}

void
margay_startup (void)
{
  margay_job_t *job = first;

  first = 0;
  if (!job)
    return;
  job->finish = say;
  job->options.prefetch = 1;
  job->threads = job->options.workers = vlib_get_n_threads ();
  if (margay_job_post (job))
    {
      say (job);
      margay_job_free (job);
    }
}
