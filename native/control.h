/* A thread that carries out jobs in order: everything that compiles, instantiates or calls the
 * control instance happens there, on a stack of its own, never on the caller's.
 *
 *   any thread: margay_control_run(job)  ──► queue ──► control thread: job() ──► answer, go on
 *               margay_control_post(job) ──► queue ──► control thread: job(), then done(answer)
 *
 * A host whose main loop must not wait posts its jobs; they may use every blocking call of
 * dataplane.h, for a run on the control thread itself is carried out at once. One such thread may
 * serve several dataplanes (margay_options.control).
 *
 * Life-cycle: start, run and post from any threads, stop: what was posted is carried out first.
 * Limits: callers of run wait without a time limit. */
#ifndef MARGAY_CONTROL_H
#define MARGAY_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#define MARGAY_CPUS_MAX 1024u

typedef struct margay_control margay_control;
typedef int (*margay_job)(void *argument);

typedef struct {
  bool keep_affinity; /* stay on the caller's CPUs */
  uint64_t cpus[MARGAY_CPUS_MAX / 64]; /* else these; none = any that the process may use */
} margay_control_options;

/* A job under way without anybody who waits. The poster's own until done has been called. */
typedef struct margay_post {
  margay_job job;
  /* On the control thread, as the last thing that it does with the post. */
  void (*done)(void *argument, int answer);
  void *argument;
  struct margay_post *next; /* the queue's */
} margay_post;

/* NULL when no thread can be made, or not on these CPUs. */
margay_control *margay_control_start(const margay_control_options *options);
/* Waits until the job has run, returns what it returned. */
int margay_control_run(margay_control *control, margay_job job, void *argument);
void margay_control_post(margay_control *control, margay_post *post);
void margay_control_stop(margay_control *control);

#endif
