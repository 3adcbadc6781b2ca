/* The control thread: a first-in first-out queue of jobs; the contract is in control.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "control.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define STACK_BYTES (8u << 20) /* Cranelift recurses over large functions */

/* Lives on the stack of the caller, who waits for it. */
typedef struct ticket {
  struct ticket *next;
  margay_job job;
  void *argument;
  int answer;
  bool done;
} ticket;

struct margay_control {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t asked, answered;
  ticket *first, **last;
  bool stopping;
};

static void *serve(void *argument) {
  margay_control *control = argument;
  pthread_mutex_lock(&control->mutex);
  for (;;) {
    while (!control->first && !control->stopping)
      pthread_cond_wait(&control->asked, &control->mutex);
    ticket *t = control->first;
    if (!t) break;
    control->first = t->next;
    if (!control->first) control->last = &control->first;
    pthread_mutex_unlock(&control->mutex);
    t->answer = t->job(t->argument);
    pthread_mutex_lock(&control->mutex);
    t->done = true;
    pthread_cond_broadcast(&control->answered);
  }
  pthread_mutex_unlock(&control->mutex);
  return NULL;
}

/* The host's signals are for the host's threads; faults must still reach the engine's handler. */
static void block_signals(sigset_t *before) {
  sigset_t blocked;
  sigfillset(&blocked);
  const int faults[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP, SIGABRT};
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&blocked, faults[i]);
  pthread_sigmask(SIG_SETMASK, &blocked, before);
}

margay_control *margay_control_start(bool keep_affinity) {
  margay_control *control = calloc(1, sizeof *control);
  if (!control) return NULL;
  control->last = &control->first;
  pthread_mutex_init(&control->mutex, NULL);
  pthread_cond_init(&control->asked, NULL);
  pthread_cond_init(&control->answered, NULL);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  cpu_set_t all;
  memset(&all, 0xff, sizeof all); /* the kernel cuts it down to the CPUs the process may use */
  if (!keep_affinity) pthread_attr_setaffinity_np(&attributes, sizeof all, &all);
  sigset_t before;
  block_signals(&before); /* a thread inherits the mask of its maker */
  int failed = pthread_create(&control->thread, &attributes, serve, control);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (!failed) {
    pthread_setname_np(control->thread, "margay-control");
    return control;
  }
  free(control);
  return NULL;
}

int margay_control_run(margay_control *control, margay_job job, void *argument) {
  ticket t = {.job = job, .argument = argument};
  pthread_mutex_lock(&control->mutex);
  *control->last = &t;
  control->last = &t.next;
  pthread_cond_signal(&control->asked);
  while (!t.done) pthread_cond_wait(&control->answered, &control->mutex);
  pthread_mutex_unlock(&control->mutex);
  return t.answer;
}

void margay_control_stop(margay_control *control) {
  if (!control) return;
  pthread_mutex_lock(&control->mutex);
  control->stopping = true;
  pthread_cond_signal(&control->asked);
  pthread_mutex_unlock(&control->mutex);
  pthread_join(control->thread, NULL);
  pthread_mutex_destroy(&control->mutex);
  pthread_cond_destroy(&control->asked);
  pthread_cond_destroy(&control->answered);
  free(control);
}
