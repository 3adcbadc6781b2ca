/* The classic Maglev table (Eisenbud et al., NSDI 2016, section 3.4) in C, to be measured beside
 * the program's own: each backend's permutation is offset + j * skip modulo M, kept as the next
 * place and added to, so that no turn divides. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "twin.h"

static uint64_t scramble(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static void fill(uint16_t *table, uint32_t m, uint32_t *next, const uint32_t *skip, uint32_t n) {
  memset(table, 0xff, (size_t)m * 2);
  for (uint32_t filled = 0;;) {
    for (uint32_t i = 0; i < n; i++) {
      uint32_t at = next[i];
      while (table[at] != 0xffff) {
        at += skip[i];
        if (at >= m) at -= m;
      }
      table[at] = (uint16_t)i;
      next[i] = at;
      if (++filled == m) return;
    }
  }
}

double classic_nanoseconds(uint32_t slots, uint32_t backends) {
  uint16_t *table = malloc((size_t)slots * 2);
  uint32_t *next = malloc((size_t)backends * 4), *skip = malloc((size_t)backends * 4);
  struct timespec from = {0}, to = {0};
  if (table && next && skip && backends && slots > 2) {
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint32_t i = 0; i < backends; i++) {
      uint64_t h = scramble(i + 1);
      next[i] = (uint32_t)(h >> 32) % slots;
      skip[i] = (uint32_t)h % (slots - 1) + 1;
    }
    fill(table, slots, next, skip, backends);
    clock_gettime(CLOCK_MONOTONIC, &to);
  }
  free(table);
  free(next);
  free(skip);
  return (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
}
