/* The C twin of the packet program's established path: see twin.c. */
#ifndef MARGAY_BENCH_TWIN_H
#define MARGAY_BENCH_TWIN_H

#include <stdint.h>

/* Runs the frame in the worker's slots and windows, in a copy of the program's linear memory.
 * Returns how many packets the twin left alone, slot and all: anything but plain TCP and UDP over
 * IPv4 of live sessions. `count` is at most MARGAY_FRAME_PACKETS_MAX. */
uint32_t twin_process(uint8_t *memory, uint32_t worker, uint32_t count, uint32_t now_ms,
                      uint32_t generation, int prefetch);

#endif
