/* The C twin of the packet program's session path: see twin.c; and what is measured beside it. */
#ifndef MARGAY_BENCH_TWIN_H
#define MARGAY_BENCH_TWIN_H

#include <stdint.h>

/* Runs the frame in the worker's slots and windows, in a copy of the program's linear memory.
 * Returns how many packets the twin left alone, slot and all: anything but plain TCP and UDP over
 * IPv4 of live sessions, and UDP that opens one. `count` is at most MARGAY_FRAME_PACKETS_MAX. */
uint32_t twin_process(uint8_t *memory, uint32_t worker, uint32_t count, uint32_t now_ms,
                      uint32_t generation, int prefetch);

/* Nanoseconds to fill a classic Maglev table of so many slots, a prime (classic.c). */
double classic_nanoseconds(uint32_t slots, uint32_t backends);

#endif
