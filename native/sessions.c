/* Session records read beside running workers; the contract is in dataplane.h.
 *
 *   live? ─► copy ─► still live? ─► keys as copied? ─► whole
 *
 * A worker may end a session and use its record anew at any moment. State and time of a live one
 * change with each packet, but from the keys on nothing does; so a copy whose keys and what stands
 * behind them are found unchanged, with the record live before and after, is of one session. */
#include <string.h>

#include "internal.h"

static const uint8_t *table_of(const margay_dataplane *dp, uint32_t family) {
  uint32_t table = family == 4 ? MARGAY_ROOT_SESSIONS4 : MARGAY_ROOT_SESSIONS6;
  return dp->memory + MARGAY_ROOT + table;
}

static uint32_t word(const uint8_t *at) {
  return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

uint32_t margay_sessions_end(const margay_dataplane *dp, uint32_t family) {
  const uint8_t *table = table_of(dp, family);
  return word(table + MARGAY_TABLE_RECORDS) ? word(table + MARGAY_TABLE_UNUSED_NEXT) : 0;
}

static bool is_live(const uint8_t *record) {
  return (word(record + MARGAY_SESSION_STATE) & MARGAY_LIFE_MASK) == MARGAY_LIFE_LIVE;
}

int margay_session_copy(const margay_dataplane *dp, uint32_t family, uint32_t number,
                        uint8_t *record) {
  size_t bytes = family == 4 ? MARGAY_SESSION4_BYTES : MARGAY_SESSION6_BYTES;
  if (number < 1 || number >= margay_sessions_end(dp, family)) return 0;
  size_t at = (size_t)word(table_of(dp, family) + MARGAY_TABLE_RECORDS) + number * bytes;
  if (at + bytes > dp->memory_bytes) return 0;
  const uint8_t *living = dp->memory + at;
  if (!is_live(living)) return 0;
  memcpy(record, living, bytes);
  atomic_thread_fence(memory_order_seq_cst);
  if (!is_live(living) || !is_live(record)) return 0;
  return !memcmp(record + MARGAY_SESSION_KEYS, living + MARGAY_SESSION_KEYS,
                 bytes - MARGAY_SESSION_KEYS);
}
