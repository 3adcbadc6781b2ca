/* The C twin: the packet program's path of an established IPv4 UDP flow, step for step, over the
 * same memory layout, with the compiler's prefetch. What C makes of the same algorithm is what the
 * Wasm is measured against; it is no second implementation: everything but that path is left alone.
 *
 *   parse, hash ─► prefetch buckets ─► tags ─► prefetch records ─► compare ─► touch, rewrite
 *         ─► slots and counters                         each a loop over the frame
 *
 * The memory is a copy of a running program's, sessions and all; layout: native/layout.h. Records
 * that only the program knows (endpoint, working packet) are repeated here with their offsets.
 * Sources: assembly/{pipeline,parser,lookup,session,conntrack,rewrite}.ts. */
#include "twin.h"

#include <emmintrin.h>
#include <stddef.h>
#include <string.h>

#include "layout.h"

#define INLINE static inline __attribute__((always_inline))

typedef struct {
  uint32_t interface_index, packet_length;
  uint16_t window_length;
  uint8_t flags, hook, verdict, reason, rewritten, direction;
  uint32_t rule, session, backend, new_length;
} slot;
_Static_assert(sizeof(slot) == MARGAY_SLOT_BYTES, "slot");
_Static_assert(offsetof(slot, rule) == MARGAY_SLOT_RULE, "slot.rule");

/* assembly/packet.ts */
typedef struct {
  uint64_t hash;
  uint32_t slot, window, ports, endpoint, entry, session;
  int32_t icmp;
  uint8_t protocol, flags, family, l4;
  uint32_t sender, destination_endpoint, rule, backend;
  uint8_t decision, direction, reason, rewritten;
  uint32_t length;
} packet;
_Static_assert(sizeof(packet) == 64, "packet");
_Static_assert(offsetof(packet, ports) == 16, "packet.ports");

/* assembly/endpoint.ts: identity, kind */
enum { ENDPOINT_SHIFT = 6, ENDPOINT_KIND = 4 };

INLINE uint32_t word(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}
INLINE uint16_t half(const uint8_t *at) {
  uint16_t value;
  memcpy(&value, at, 2);
  return value;
}
INLINE uint64_t wide(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, 8);
  return value;
}
INLINE uint32_t half_be(const uint8_t *at) { return __builtin_bswap16(half(at)); }
INLINE void put_word(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }
INLINE void put_half(uint8_t *at, uint32_t value) {
  uint16_t low = (uint16_t)value;
  memcpy(at, &low, 2);
}
INLINE uint32_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
INLINE uint32_t adjust(uint32_t checksum, uint32_t delta) {
  return ~fold((~checksum & 0xffff) + delta) & 0xffff;
}
INLINE uint64_t mix(uint64_t x, uint64_t multiplier) {
  x *= multiplier;
  return x ^ (x >> 32);
}

typedef struct {
  uint8_t *memory, *frame, *generation, *table, *endpoints;
  uint64_t seed0, seed1;
  uint32_t endpoint_count, buckets, bucket_count, records, tick;
  packet *packets;
} run;

INLINE uint32_t parse(run *r, packet *p, const slot *s, const uint8_t *at) {
  uint32_t window = s->window_length;
  if (window < 28 || window > MARGAY_WINDOW_BYTES) return MARGAY_REASON_TRUNCATED;
  if (at[0] >> 4 != 4) return MARGAY_REASON_BAD_VERSION;
  uint32_t header = (at[0] & 15u) << 2;
  uint32_t total = half_be(at + 2);
  if (header != 20) return MARGAY_REASON_BAD_HEADER_LENGTH;
  if (total < header + 8 || total > s->packet_length) return MARGAY_REASON_BAD_TOTAL_LENGTH;
  if (!(s->flags & MARGAY_SLOT_FLAG_CHECKED)) {
    uint64_t sum = (uint64_t)word(at) + word(at + 4) + word(at + 8) + word(at + 12) + word(at + 16);
    uint32_t once = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (uint32_t)(sum >> 32);
    if (fold(once) != 0xffff) return MARGAY_REASON_BAD_CHECKSUM;
    if (at[8] == 0) return MARGAY_REASON_TIME_EXPIRED;
  }
  if (half_be(at + 6) & 0x3fff) return MARGAY_REASON_FRAGMENT;
  if (at[9] != 17) return MARGAY_REASON_UNSUPPORTED_PROTOCOL;
  uint32_t length = half_be(at + 24);
  if (length < 8 || length > total - 20) return MARGAY_REASON_BAD_TOTAL_LENGTH;
  p->family = 4;
  p->length = total;
  p->protocol = 17;
  p->l4 = 20;
  p->flags = 0;
  p->icmp = -1;
  p->ports = word(at + 20);
  (void)r;
  return MARGAY_REASON_NONE;
}

INLINE uint8_t *bucket_of(const run *r, uint32_t bits) {
  uint32_t at = (uint32_t)(((uint64_t)bits * r->bucket_count) >> 32);
  return r->memory + r->buckets + (size_t)at * MARGAY_BUCKET_BYTES;
}

INLINE void hash(run *r, packet *p, const uint8_t *at, int prefetch) {
  uint64_t rest = ((uint64_t)p->protocol << 32) | p->ports;
  uint64_t h = mix(wide(at + 12) ^ r->seed0, 0x9fb21c651e98df25u);
  h = mix(h ^ rest ^ r->seed1, 0xd6e8feb86659fd93u);
  p->hash = mix(h, 0x9fb21c651e98df25u);
  if (prefetch) __builtin_prefetch(bucket_of(r, (uint32_t)(p->hash >> 32)));
}

INLINE uint32_t parse_all(run *r, uint32_t count, uint32_t *list, int prefetch) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < count; i++) {
    packet *p = &r->packets[i];
    slot *s = (slot *)(r->frame + MARGAY_FRAME_SLOTS) + i;
    uint8_t *window = r->frame + MARGAY_FRAME_WINDOWS + i * MARGAY_WINDOW_BYTES;
    p->session = p->rule = p->backend = p->length = 0;
    p->decision = p->direction = p->rewritten = 0;
    p->slot = (uint32_t)((uint8_t *)s - r->memory);
    p->window = (uint32_t)(window - r->memory);
    p->reason = MARGAY_REASON_UNKNOWN_ENDPOINT;
    list[n] = i;
    if (s->interface_index >= MARGAY_INTERFACES_MAX) continue;
    uint32_t bound = word(r->memory + MARGAY_INTERFACES + 4 * s->interface_index);
    if (bound == 0 || bound > r->endpoint_count) continue;
    const uint8_t *endpoint = r->endpoints + ((size_t)(bound - 1) << ENDPOINT_SHIFT);
    if (endpoint[ENDPOINT_KIND] == MARGAY_ENDPOINT_KIND_UNUSED) continue;
    p->reason = (uint8_t)parse(r, p, s, window);
    p->sender = (uint32_t)(endpoint - r->memory);
    int uplink = endpoint[ENDPOINT_KIND] == MARGAY_ENDPOINT_KIND_UPLINK;
    p->endpoint = uplink ? MARGAY_NO_ENDPOINT : word(endpoint);
    if (p->reason || !uplink) continue;
    hash(r, p, window, prefetch);
    n++;
  }
  return n;
}

INLINE uint32_t ways_with(const uint8_t *bucket, uint64_t hash) {
  uint8_t tag = (uint8_t)(hash >> 32);
  __m128i equal = _mm_cmpeq_epi8(_mm_load_si128((const __m128i *)bucket),
                                 _mm_set1_epi8((char)(tag ? tag : 0xff)));
  return (uint32_t)_mm_movemask_epi8(equal) & ((1u << MARGAY_BUCKET_WAYS) - 1);
}

INLINE uint8_t *record_of(const run *r, uint32_t entry) {
  return r->memory + r->records + (size_t)(entry >> 1) * MARGAY_SESSION4_BYTES;
}

INLINE void match_tags(run *r, const uint32_t *list, uint32_t n, int prefetch) {
  for (uint32_t k = 0; k < n; k++) {
    packet *p = &r->packets[list[k]];
    const uint8_t *bucket = bucket_of(r, (uint32_t)(p->hash >> 32));
    uint32_t ways = ways_with(bucket, p->hash);
    uint32_t way = ways ? (uint32_t)__builtin_ctz(ways) : 0;
    p->entry = ways ? word(bucket + MARGAY_BUCKET_ENTRIES + 4 * way) : 0;
    if (prefetch) __builtin_prefetch(record_of(r, p->entry));
  }
}

INLINE int end_live(const run *r, uint32_t identity) {
  uint32_t index = identity & 0xffff;
  return identity == MARGAY_NO_ENDPOINT ||
         (index < r->endpoint_count &&
          word(r->endpoints + ((size_t)index << ENDPOINT_SHIFT)) == identity);
}

INLINE uint8_t *key_of(uint8_t *record, uint32_t direction) {
  return record + MARGAY_SESSION_KEYS + direction * MARGAY_SESSION4_KEY_STRIDE;
}

INLINE int is_session(const run *r, const packet *p, uint32_t entry) {
  uint8_t *record = record_of(r, entry);
  const uint8_t *key = key_of(record, entry & 1);
  uint64_t different = (wide(key) ^ wide(r->memory + p->window + 12)) |
                       (wide(key + MARGAY_KEY4_PORTS) ^ wide((const uint8_t *)&p->ports)) |
                       (uint64_t)(record[MARGAY_SESSION4_PROTOCOL] ^ p->protocol) |
                       (uint64_t)((word(record) & MARGAY_LIFE_MASK) ^ MARGAY_LIFE_LIVE);
  return !different && end_live(r, word(key_of(record, ~entry & 1) + MARGAY_KEY4_ENDPOINT));
}

/* Both buckets in full; for the few whose first candidate was another's. */
static uint32_t find_slowly(const run *r, const packet *p) {
  for (int which = 0; which < 2; which++) {
    uint32_t bits = which ? (uint32_t)p->hash : (uint32_t)(p->hash >> 32);
    const uint8_t *bucket = bucket_of(r, bits);
    for (uint32_t ways = ways_with(bucket, p->hash); ways; ways &= ways - 1) {
      uint32_t entry = word(bucket + MARGAY_BUCKET_ENTRIES + 4 * (uint32_t)__builtin_ctz(ways));
      if (is_session(r, p, entry)) return entry;
    }
  }
  return 0;
}

INLINE void compare(run *r, const uint32_t *list, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    packet *p = &r->packets[list[k]];
    uint32_t entry = p->entry;
    if (!is_session(r, p, entry)) entry = find_slowly(r, p);
    p->session = entry ? (uint32_t)(record_of(r, entry) - r->memory) : 0;
    p->direction = entry & 1;
  }
}

INLINE void rewrite(run *r, packet *p, uint8_t *record) {
  uint8_t *at = r->memory + p->window, *udp = at + p->l4;
  const uint8_t *other = key_of(record, p->direction ^ 1);
  uint32_t deltas = word(record + MARGAY_SESSION4_DELTA_ADDRESSES) ^ (0u - p->direction);
  uint32_t addresses = deltas & 0xffff, ports = word(other + MARGAY_KEY4_PORTS);
  uint64_t pair = wide(other), turned = pair << 32 | pair >> 32;
  memcpy(at + 12, &turned, 8);
  put_half(at + 10, adjust(half(at + 10), addresses));
  put_word(udp, ports << 16 | ports >> 16);
  p->rewritten = 1;
  uint32_t old = half(udp + 6);
  if (r->memory[p->slot + MARGAY_SLOT_FLAGS] & MARGAY_SLOT_FLAG_PARTIAL_CHECKSUM) {
    put_half(udp + 6, fold(old + addresses));
  } else if (old) {
    uint32_t sum = adjust(old, deltas >> 16);
    put_half(udp + 6, sum ? sum : 0xffff);
  }
}

INLINE void touch(run *r, const uint32_t *list, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    packet *p = &r->packets[list[k]];
    if (!p->session) continue;
    uint8_t *record = r->memory + p->session;
    if (word(record + MARGAY_SESSION_SEEN) != r->tick) {
      put_word(record + MARGAY_SESSION_SEEN, r->tick);
    }
    p->rule = word(record + MARGAY_SESSION_RULE);
    p->reason = MARGAY_REASON_ESTABLISHED;
    p->backend = word(record + MARGAY_SESSION4_BACKEND);
    if (record[MARGAY_SESSION4_REWRITTEN]) rewrite(r, p, record);
  }
}

INLINE uint32_t finish(run *r, uint32_t worker, uint32_t count) {
  uint8_t *counters = r->memory + MARGAY_WORKERS + worker * MARGAY_WORKER_BYTES +
                      MARGAY_WORKER_COUNTERS;
  uint32_t left = 0;
  for (uint32_t i = 0; i < count; i++) {
    packet *p = &r->packets[i];
    slot *s = (slot *)(r->memory + p->slot);
    int pass = p->reason == MARGAY_REASON_ESTABLISHED;
    s->verdict = pass ? MARGAY_VERDICT_PASS : MARGAY_VERDICT_DROP;
    s->reason = p->reason;
    s->rewritten = p->rewritten;
    s->direction = p->direction;
    s->rule = p->rule;
    s->session = p->session;
    s->backend = pass ? p->backend : 0;
    s->new_length = pass ? p->length : s->packet_length;
    uint64_t counted = wide(counters + 8 * p->reason) + 1;
    memcpy(counters + 8 * p->reason, &counted, 8);
    left += !pass;
  }
  return left;
}

uint32_t twin_process(uint8_t *memory, uint32_t worker, uint32_t count, uint32_t now_ms,
                      uint32_t generation, int prefetch) {
  uint8_t *ring = memory + MARGAY_GENERATION_RING +
                  (generation & (MARGAY_GENERATIONS - 1)) * MARGAY_GENERATION_BYTES;
  uint8_t *table = memory + MARGAY_ROOT + MARGAY_ROOT_SESSIONS4;
  uint8_t *frame = memory + MARGAY_FRAMES + (size_t)worker * MARGAY_FRAME_BYTES;
  uint32_t *epoch = (uint32_t *)(memory + MARGAY_WORKERS + worker * MARGAY_WORKER_BYTES);
  run r = {
      .memory = memory,
      .frame = frame,
      .endpoints = memory + word(ring + MARGAY_GENERATION_ENDPOINTS),
      .endpoint_count = word(ring + MARGAY_GENERATION_ENDPOINT_COUNT),
      .seed0 = wide(memory + MARGAY_ROOT + MARGAY_ROOT_SEED0),
      .seed1 = wide(memory + MARGAY_ROOT + MARGAY_ROOT_SEED1),
      .buckets = word(table + MARGAY_TABLE_BUCKETS),
      .bucket_count = word(table + MARGAY_TABLE_BUCKET_COUNT),
      .records = word(table + MARGAY_TABLE_RECORDS),
      .tick = now_ms & ~255u,
      .packets = (packet *)(frame + MARGAY_FRAME_SCRATCH),
  };
  uint32_t list[MARGAY_FRAME_PACKETS_MAX + 1];
  __atomic_add_fetch(epoch, 1, __ATOMIC_SEQ_CST);
  uint32_t n = parse_all(&r, count, list, prefetch);
  match_tags(&r, list, n, prefetch);
  compare(&r, list, n);
  touch(&r, list, n);
  uint32_t left = finish(&r, worker, count);
  __atomic_add_fetch(epoch, 1, __ATOMIC_SEQ_CST);
  return left;
}
