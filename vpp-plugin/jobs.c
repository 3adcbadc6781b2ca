/* The way of a job from the main thread to the control thread and back; the contract is in jobs.h.
 *
 *   post ─► control thread ─► done list + eventfd ─► main loop's poll ─► margay-jobs: carry, finish
 *
 * The control thread is started with the first job: `margay { cores <list> }` says on which CPUs,
 * else on any but the workers' own. It is not one of VPP's threads: nothing there may use VPP's
 * vectors or messages. */
#include "jobs.h"
#include "flow.h"
#include <sys/eventfd.h>
#include <vlib/file.h>

static struct
{
  margay_control *control;
  margay_control_options options;
  int wake; /* eventfd */
  u32 waiting;
  pthread_mutex_t mutex;
  margay_job_t *done, **done_last;
} jobs = { .wake = -1, .mutex = PTHREAD_MUTEX_INITIALIZER };

extern vlib_node_registration_t margay_jobs_node;

void
margay_control_cpus (clib_bitmap_t *cpus)
{
  u32 cpu;
  clib_memset (jobs.options.cpus, 0, sizeof (jobs.options.cpus));
  clib_bitmap_foreach (cpu, cpus)
    if (cpu < MARGAY_CPUS_MAX)
      jobs.options.cpus[cpu / 64] |= 1ULL << cpu % 64;
}

/* Those that this machine has. */
u8 *
format_margay_control_cpus (u8 *s, va_list *args)
{
  const char *between = "";
  u32 cpus = clib_min ((u32) sysconf (_SC_NPROCESSORS_CONF), MARGAY_CPUS_MAX);
  for (u32 cpu = 0; cpu < cpus; cpu++)
    if (jobs.options.cpus[cpu / 64] >> cpu % 64 & 1)
      {
	s = format (s, "%s%u", between, cpu);
	between = ",";
      }
  return *between ? s : format (s, "any");
}

static clib_error_t *
woken (clib_file_t *file)
{
  u64 count;
  if (read (file->file_descriptor, &count, sizeof (count)) == sizeof (count))
    margay_jobs_wake ();
  return 0;
}

/* Where nobody says which: any but those of the workers, who would wait for it. */
static void
choose_cpus (void)
{
  u32 chosen = 0;
  for (u32 i = 0; i < ARRAY_LEN (jobs.options.cpus); i++)
    chosen += jobs.options.cpus[i] != 0;
  if (chosen || vlib_get_n_threads () < 2)
    return;
  clib_memset (jobs.options.cpus, 0xff, sizeof (jobs.options.cpus));
  for (u32 i = 1; i < vlib_get_n_threads (); i++)
    {
      u32 cpu = vlib_worker_threads[i].cpu_id; /* ~0: on none of its own */
      if (cpu < MARGAY_CPUS_MAX)
	jobs.options.cpus[cpu / 64] &= ~(1ULL << cpu % 64);
    }
}

/* The main thread's first job makes what all jobs need. */
static const char *
start (void)
{
  if (jobs.control)
    return 0;
  if (jobs.wake < 0)
    {
      jobs.wake = eventfd (0, EFD_NONBLOCK | EFD_CLOEXEC);
      if (jobs.wake < 0)
	return "no eventfd can be had";
      clib_file_t file = {
	.read_function = woken,
	.file_descriptor = jobs.wake,
	.description = format (0, "margay jobs"),
      };
      clib_file_add (&file_main, &file);
      jobs.done_last = &jobs.done;
    }
  choose_cpus ();
  jobs.control = margay_control_start (&jobs.options);
  return jobs.control ? 0 : "no control thread can be made: are the cores right?";
}

margay_job_t *
margay_job_new (int (*work) (margay_job_t *), void (*carry) (margay_job_t *))
{
  margay_job_t *job = calloc (1, sizeof (*job));
  job->work = work;
  job->carry = carry;
  job->client = MARGAY_NO_CLIENT;
  return job;
}

static int
run (void *argument)
{
  margay_job_t *job = argument;
  job->retval = job->work (job);
  return 0;
}

static void
done (void *argument, int answer)
{
  margay_job_t *job = argument;
  const u64 one = 1;

  job->next = 0;
  pthread_mutex_lock (&jobs.mutex);
  *jobs.done_last = job;
  jobs.done_last = &job->next;
  pthread_mutex_unlock (&jobs.mutex);
  while (write (jobs.wake, &one, sizeof (one)) < 0 && errno == EINTR)
    ;
}

static void
post_now (margay_job_t *job)
{
  job->post = (margay_post){ .job = run, .done = done, .argument = job };
  jobs.waiting++;
  margay_control_post (jobs.control, &job->post);
}

/* On the main thread. Bytes that no work has used go back by the control thread. */
void
margay_job_free (margay_job_t *job)
{
  if (job->bytes.data && jobs.control && job->work != margay_work_free)
    {
      margay_job_t *last = margay_job_new (margay_work_free, 0);
      last->bytes = job->bytes;
      post_now (last); /* beyond the limit: there are no more of these than of others */
    }
  free (job);
}

int
margay_job_post (margay_job_t *job)
{
  const char *why = start ();

  if (why)
    return margay_job_fail (job, VNET_API_ERROR_SYSCALL_ERROR_1, "%s", why);
  if (jobs.waiting >= MARGAY_JOBS_MAX)
    return margay_job_fail (job, VNET_API_ERROR_LIMIT_EXCEEDED, "%u jobs are waiting already",
			    jobs.waiting);
  job->options.control = jobs.control;
  post_now (job);
  return 0;
}

int
margay_jobs_waiting (void)
{
  return jobs.waiting;
}

void
margay_jobs_wake (void)
{
  vlib_process_signal_event (vlib_get_main (), margay_jobs_node.index, 1, 0);
}

/* A command runs in a process, which may sleep; but not while somebody holds all workers, as VPP
 * does for a command inside an API message. */
clib_error_t *
margay_job_await (vlib_main_t *vm, margay_job_t *job)
{
  if (!vlib_in_process_context (vm) ||
      (vlib_get_n_threads () > 1 && vlib_worker_thread_barrier_held ()))
    return clib_error_return (0, "this command waits, and here all workers would wait with it: "
				 "use its API message");
  job->awaited = 1;
  if (!margay_job_post (job))
    while (!job->is_finished)
      vlib_process_suspend (vm, 1e-3);
  return job->retval ? clib_error_return (0, "%s", job->why) : 0;
}

static margay_job_t *
take_done (void)
{
  pthread_mutex_lock (&jobs.mutex);
  margay_job_t *job = jobs.done;
  if (job)
    jobs.done = job->next;
  if (!jobs.done)
    jobs.done_last = &jobs.done;
  pthread_mutex_unlock (&jobs.mutex);
  return job;
}

static void
end_jobs (vlib_main_t *vm)
{
  margay_job_t *job;

  while ((job = take_done ()))
    {
      jobs.waiting--;
      if (!job->retval && job->carry)
	job->carry (job);
      if (job->finish)
	job->finish (job);
      job->is_finished = 1;
      if (!job->awaited)
	margay_job_free (job);
      /* Many binds end at once: each is short, but their sum must not hold up the loop. */
      vlib_process_suspend (vm, 10e-6);
    }
}

/* Also tells flows to those who listen, every 10 ms.
 *
 * And it sets errno: VPP reads a client's end as one where errno, of whatever call before, happens
 * to be EAGAIN (vl_socket_read_ready, vlibmemory/socket_api.c); it then keeps a client for ever
 * that is gone, with all that is its own, and spins. */
static uword
margay_jobs_fn (vlib_main_t *vm, vlib_node_runtime_t *rt, vlib_frame_t *frame)
{
  uword *events = 0;

  margay_startup ();
  while (1)
    {
      vlib_process_wait_for_event_or_clock (vm, 10e-3);
      errno = 0;
      vlib_process_get_events (vm, &events);
      vec_reset_length (events);
      end_jobs (vm);
      if (margay_main.log_flows)
	margay_flows_tell ();
    }
  return 0;
}

/* Sessions of a client are restored here: the program wants 64 KiB of stack. */
VLIB_REGISTER_NODE (margay_jobs_node) = {
  .name = "margay-jobs",
  .type = VLIB_NODE_TYPE_PROCESS,
  .function = margay_jobs_fn,
  .process_log2_n_stack_bytes = 18,
};
