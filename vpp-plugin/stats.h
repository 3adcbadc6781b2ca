/* What is counted: in the stats segment, and for those who ask; see stats.c. */
#ifndef MARGAY_STATS_H
#define MARGAY_STATS_H
#include "jobs.h"

/* A dataplane as it stands; may be read from any thread that knows it to be open. */
typedef struct margay_status
{
  u32 generation, workers, pages, sessions4, sessions4_max, sessions6, sessions6_max;
  u8 huge_pages, core_sha256[32], staged_sha256[32];
  margay_statistics engine;
} margay_status_t;

void margay_status_of (const margay_core_t *core, margay_status_t *status);
u64 margay_packets (u32 reason); /* since VPP's start, over all cores */
u64 margay_sessions_aged (void);
u32 margay_session_records (void); /* that both tables have room for */
/* Under the barrier, before a dataplane goes. */
void margay_stats_keep (const margay_dataplane *dp);

/* Traps, the newest kept. */
typedef struct
{
  u64 number; /* from 1 */
  margay_trap trap;
} margay_kept_trap_t;
void margay_trap_note (const margay_trap *trap);
const margay_kept_trap_t *margay_trap_kept (u32 index); /* oldest first; 0 behind the last */

#endif
