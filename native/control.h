/* A thread that carries out jobs in order: everything that compiles, instantiates or calls the
 * control instance happens there, on a stack of its own, never on the caller's.
 *
 *   any thread: margay_control_run(job) ──► queue ──► control thread: job() ──► answer, go on
 *
 * Life-cycle: start, run from any threads, stop when no run is under way.
 * Limits: a job must not call margay_control_run; callers wait without a time limit. */
#ifndef MARGAY_CONTROL_H
#define MARGAY_CONTROL_H

#include <stdbool.h>

typedef struct margay_control margay_control;
typedef int (*margay_job)(void *argument);

/* keep_affinity: stay on the caller's CPUs. NULL when no thread can be made. */
margay_control *margay_control_start(bool keep_affinity);
/* Waits until the job has run, returns what it returned. */
int margay_control_run(margay_control *control, margay_job job, void *argument);
void margay_control_stop(margay_control *control);

#endif
