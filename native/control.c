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

struct margay_control {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t asked, answered;
  margay_post *first, **last;
  bool stopping;
};

/* A run is a post whose poster waits; it lives on his stack. */
typedef struct {
  margay_post post;
  margay_control *control;
  margay_job job;
  void *argument;
  int answer;
  bool done;
} ticket;

static void *serve(void *argument) {
  margay_control *control = argument;
  pthread_mutex_lock(&control->mutex);
  for (;;) {
    while (!control->first && !control->stopping)
      pthread_cond_wait(&control->asked, &control->mutex);
    margay_post *post = control->first;
    if (!post) break;
    control->first = post->next;
    if (!control->first) control->last = &control->first;
    pthread_mutex_unlock(&control->mutex);
    void *given = post->argument;
    post->done(given, post->job(given));
    pthread_mutex_lock(&control->mutex);
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

/* The CPUs that were asked for; without any, all: the kernel cuts them down to the process's. */
static void affinity(pthread_attr_t *attributes, const margay_control_options *options) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (uint32_t cpu = 0; cpu < MARGAY_CPUS_MAX && cpu < CPU_SETSIZE; cpu++)
    if (options->cpus[cpu / 64] >> cpu % 64 & 1) CPU_SET(cpu, &set);
  if (!CPU_COUNT(&set)) memset(&set, 0xff, sizeof set);
  pthread_attr_setaffinity_np(attributes, sizeof set, &set);
}

margay_control *margay_control_start(const margay_control_options *options) {
  margay_control *control = calloc(1, sizeof *control);
  if (!control) return NULL;
  control->last = &control->first;
  pthread_mutex_init(&control->mutex, NULL);
  pthread_cond_init(&control->asked, NULL);
  pthread_cond_init(&control->answered, NULL);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  if (!options->keep_affinity) affinity(&attributes, options);
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

void margay_control_post(margay_control *control, margay_post *post) {
  post->next = NULL;
  pthread_mutex_lock(&control->mutex);
  *control->last = post;
  control->last = &post->next;
  pthread_cond_signal(&control->asked);
  pthread_mutex_unlock(&control->mutex);
}

static int run_ticket(void *argument) {
  ticket *t = argument;
  return t->job(t->argument);
}

/* The ticket is its waiter's again as soon as the mutex is free. */
static void answered(void *argument, int answer) {
  ticket *t = argument;
  pthread_mutex_lock(&t->control->mutex);
  t->answer = answer;
  t->done = true;
  pthread_cond_broadcast(&t->control->answered);
  pthread_mutex_unlock(&t->control->mutex);
}

int margay_control_run(margay_control *control, margay_job job, void *argument) {
  if (pthread_equal(pthread_self(), control->thread)) return job(argument);
  ticket t = {.control = control, .job = job, .argument = argument};
  t.post = (margay_post){.job = run_ticket, .done = answered, .argument = &t};
  margay_control_post(control, &t.post);
  pthread_mutex_lock(&control->mutex);
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
