/* The driver of the pipeline bench: the native engine and the C twin over the same frames, in one
 * process, by turns. bench/pipeline.ts makes the inputs, starts it and reads its lines.
 *
 *   pipeline core.wasm private.wasm setup.bin frames.bin pages  (private.wasm may be "-")
 *
 * Opens an engine for each variant, sends all frames once (that opens every session), then once
 * more for the hash of the established results; prints {"ready": {variant: hash}}. Then, for every
 * line on standard input, a number of frames: runs as many on each variant and prints {variant: ns
 * a packet}. Copying a frame in is not timed, for engine and twin alike. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "dataplane.h"
#include "twin.h"

enum { PACKETS = MARGAY_FRAME_PACKETS_MAX, GENERATION = 1, NOW_SECONDS = 0 };
#define SLOTS_BYTES (PACKETS * MARGAY_SLOT_BYTES)
#define FRAME_IN (SLOTS_BYTES + PACKETS * MARGAY_WINDOW_BYTES)

typedef struct {
  const char *name;
  int prefetch, huge_pages, private_memory, twin;
  margay_dataplane *dp; /* the twin has none */
  uint8_t *memory;
  margay_frame at;
  uint32_t next;
} variant;

static variant variants[] = {
    {.name = "native", .prefetch = 1, .huge_pages = 1},
    {.name = "native, no prefetch", .huge_pages = 1},
    {.name = "native, no huge pages", .prefetch = 1},
    {.name = "native, private memory", .prefetch = 1, .huge_pages = 1, .private_memory = 1},
    {.name = "twin", .prefetch = 1, .huge_pages = 1, .twin = 1},
    {.name = "twin, no prefetch", .huge_pages = 1, .twin = 1},
    {.name = "twin, no huge pages", .prefetch = 1, .twin = 1},
};
#define VARIANTS (sizeof variants / sizeof *variants)

static uint8_t *frames;
static uint32_t frame_count;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "pipeline: %s: %s\n", what, why);
  exit(1);
}

static uint8_t *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) fail(path, "cannot be read");
  fseek(file, 0, SEEK_END);
  *length = (size_t)ftell(file);
  rewind(file);
  uint8_t *bytes = malloc(*length ? *length : 1);
  if (!bytes || fread(bytes, 1, *length, file) != *length) fail(path, "cannot be read whole");
  fclose(file);
  return bytes;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Runs the variant's next frame; returns the time inside. */
static uint64_t run_frame(variant *v, uint32_t now_ms) {
  const uint8_t *in = frames + (size_t)v->next * FRAME_IN;
  v->next = v->next + 1 == frame_count ? 0 : v->next + 1;
  memcpy(v->at.slots, in, SLOTS_BYTES);
  memcpy(v->at.windows, in + SLOTS_BYTES, FRAME_IN - SLOTS_BYTES);
  uint64_t start = now();
  uint32_t wrong = v->twin
      ? twin_process(v->memory, 0, PACKETS, now_ms, GENERATION, v->prefetch)
      : (uint32_t)margay_process(v->dp, 0, PACKETS, now_ms, NOW_SECONDS);
  uint64_t took = now() - start;
  if (wrong) fail(v->name, "a frame was refused, or the twin left packets alone");
  return took;
}

/* FNV-1a over words: the slots' answers, 64 bytes of each window. */
static uint32_t hash_frame(const variant *v, uint32_t hash) {
  for (uint32_t i = 0; i < PACKETS; i++) {
    uint32_t words[5 + 16];
    memcpy(words, &v->at.slots[i].verdict, 20);
    memcpy(words + 5, v->at.windows + i * MARGAY_WINDOW_BYTES, 64);
    for (uint32_t k = 0; k < 21; k++) hash = (hash ^ words[k]) * 16777619u;
  }
  return hash;
}

static uint32_t hash_pass(variant *v) {
  uint32_t hash = 2166136261u;
  for (uint32_t i = 0; i < frame_count; i++) {
    run_frame(v, 512);
    hash = hash_frame(v, hash);
  }
  return hash;
}

static void open_engine(variant *v, const uint8_t *core, size_t core_length, const uint8_t *setup,
                        size_t setup_length, uint32_t pages) {
  char error[512];
  margay_options options = {.core = core, .core_length = core_length, .memory_pages = pages,
                            .workers = 1, .prefetch = v->prefetch, .huge_pages = v->huge_pages,
                            .private_memory = v->private_memory};
  v->dp = margay_open(&options, error, sizeof error);
  if (!v->dp) fail(v->name, error);
  if (margay_stage(v->dp, setup, setup_length) < 0) fail(v->name, margay_last_error());
  if (margay_publish(v->dp, GENERATION) < 0) fail(v->name, margay_last_error());
  v->at = margay_worker_frame(v->dp, 0);
  for (uint32_t i = 0; i < frame_count; i++) run_frame(v, 256);
}

/* The twin works in a copy of an engine's memory. */
static void open_twin(variant *v, const variant *engine) {
  size_t bytes;
  const uint8_t *memory = margay_memory(engine->dp, &bytes);
  size_t huge = 2u << 20;
  uint8_t *area = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
  if (area == MAP_FAILED) fail(v->name, "no memory");
  v->memory = area + (huge - ((uintptr_t)area & (huge - 1)));
  madvise(v->memory, bytes, v->huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  memcpy(v->memory, memory, bytes);
  uint8_t *frame = v->memory + MARGAY_FRAMES;
  v->at = (margay_frame){.slots = (margay_slot *)(frame + MARGAY_FRAME_SLOTS),
                         .windows = frame + MARGAY_FRAME_WINDOWS};
}

int main(int argc, char **argv) {
  if (argc != 6) fail("usage", "pipeline core.wasm private.wasm setup.bin frames.bin pages");
  size_t core_length, private_length = 0, setup_length, frames_length;
  uint8_t *core = read_file(argv[1], &core_length);
  int no_private = !strcmp(argv[2], "-");
  uint8_t *private_core = no_private ? NULL : read_file(argv[2], &private_length);
  uint8_t *setup = read_file(argv[3], &setup_length);
  frames = read_file(argv[4], &frames_length);
  frame_count = (uint32_t)(frames_length / FRAME_IN);
  if (!frame_count || frames_length % FRAME_IN) fail(argv[4], "not a whole number of frames");

  const char *comma = "";
  printf("{\"ready\":{");
  for (variant *v = variants; v < variants + VARIANTS; v++) {
    if (v->private_memory && no_private) continue;
    if (v->twin) open_twin(v, &variants[0]);
    else if (v->private_memory)
      open_engine(v, private_core, private_length, setup, setup_length, (uint32_t)atoi(argv[5]));
    else open_engine(v, core, core_length, setup, setup_length, (uint32_t)atoi(argv[5]));
    printf("%s\"%s\":%u", comma, v->name, hash_pass(v));
    comma = ",";
  }
  printf("}}\n");
  fflush(stdout);
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    uint32_t count = (uint32_t)atoi(line);
    comma = "";
    printf("{");
    for (variant *v = variants; v < variants + VARIANTS; v++) {
      if (v->private_memory && no_private) continue;
      uint64_t spent = 0;
      for (uint32_t i = 0; i < count; i++) spent += run_frame(v, 512);
      printf("%s\"%s\":%.3f", comma, v->name, (double)spent / ((double)count * PACKETS));
      comma = ",";
    }
    printf("}\n");
    fflush(stdout);
  }
  for (variant *v = variants; v < variants + VARIANTS; v++) margay_close(v->dp);
  return 0;
}
