/* Drives native/control.c and native/sha256.c alone; test/native-control.test.ts reads what it
 * prints: one line a fact. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "sha256.h"

static margay_control *control;
static pthread_t poster, runner;
static _Atomic int finished;
static int order[4], ordered;

static void print_hash(const char *name, const void *bytes, size_t length) {
  uint8_t hash[32];
  margay_sha256(bytes, length, hash);
  printf("%s ", name);
  for (int i = 0; i < 32; i++) printf("%02x", hash[i]);
  printf("\n");
}

static int inner(void *argument) { return *(int *)argument + 1; }

static int job(void *argument) {
  int number = *(int *)argument;
  usleep(20000);
  order[ordered++] = number;
  runner = pthread_self();
  /* A run from a job is carried out at once, not queued behind it. */
  return margay_control_run(control, inner, argument);
}

static void done(void *argument, int answer) {
  printf("done %d answer %d elsewhere %d\n", *(int *)argument, answer,
         !pthread_equal(pthread_self(), poster));
  finished++;
}

static int cpus_of(void *argument) {
  (void)argument;
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  return CPU_COUNT(&set);
}

int main(void) {
  static char million[1000000];
  memset(million, 'a', sizeof million);
  print_hash("empty", "", 0);
  print_hash("abc", "abc", 3);
  print_hash("two-blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
  print_hash("million", million, sizeof million);
  for (size_t n = 54; n < 66; n++) print_hash("edge", million, n);

  poster = pthread_self();
  margay_control_options options = {.keep_affinity = false};
  options.cpus[0] = 1;
  control = margay_control_start(&options);
  if (!control) return printf("no control thread\n"), 1;
  int numbers[4] = {0, 1, 2, 3};
  margay_post posts[3];
  for (int i = 0; i < 3; i++) {
    posts[i] = (margay_post){.job = job, .done = done, .argument = &numbers[i]};
    margay_control_post(control, &posts[i]);
  }
  printf("posted, finished %d\n", finished);
  printf("run answers %d\n", margay_control_run(control, job, &numbers[3]));
  printf("order %d %d %d %d\n", order[0], order[1], order[2], order[3]);
  printf("cpus %d\n", margay_control_run(control, cpus_of, NULL));
  int last = 9;
  margay_post post = {.job = inner, .done = done, .argument = &last};
  margay_control_post(control, &post);
  margay_control_stop(control); /* what was posted is carried out first */
  printf("finished %d\n", finished);

  margay_control_options nowhere = {.keep_affinity = false};
  nowhere.cpus[15] = 1ull << 63; /* CPU 1,023 */
  printf("nowhere %d\n", margay_control_start(&nowhere) != NULL);
  return 0;
}
