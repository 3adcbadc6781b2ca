/* What the parts of the C twin share: the memory as C sees it, hashes, buckets, records, the
 * carrying of a packet by its session. Inlined into each part. Layout: native/layout.h; what only
 * the program knows (endpoint records) is repeated with its offsets. Sources:
 * assembly/{hash,checksum,session,rewrite,endpoint}.ts. */
#ifndef MARGAY_BENCH_TWIN_LANE_H
#define MARGAY_BENCH_TWIN_LANE_H

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

/* assembly/endpoint.ts: identity, kind, first IPv4 address; assembly/header/{ipv4,tcp,udp}.ts */
enum { ENDPOINT_SHIFT = 6, ENDPOINT_KIND = 4, ENDPOINT_ADDRESS4 = 28 };
enum { IP_TOTAL_LENGTH = 2, IP_TIME_TO_LIVE = 8, IP_PROTOCOL = 9, IP_CHECKSUM = 10,
       IP_SOURCE = 12, IP_BYTES = 20 };
enum { UDP = 17, UDP_LENGTH = 4, UDP_CHECKSUM = 6, UDP_BYTES = 8 };
enum { TCP = 6, TCP_OFFSET = 12, TCP_FLAGS = 13, TCP_CHECKSUM = 16, TCP_BYTES = 20 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };
enum { BURST = 24 };
static const uint32_t NOBODY = 0xfffffffe; /* no endpoint's identity: not for the lane */
enum { CLOSING = MARGAY_SESSION_FLAG_FIN_FORWARD | MARGAY_SESSION_FLAG_FIN_RETURN |
                 MARGAY_SESSION_FLAG_RESET };

/* The lane's arrays, by packet; rest: numbers of the packets that it left, in packet order. They
 * lie in the frame's scratch, as the program's do. */
typedef struct {
  uint32_t hashes[MARGAY_FRAME_PACKETS_MAX], ends[MARGAY_FRAME_PACKETS_MAX];
  uint32_t buckets[MARGAY_FRAME_PACKETS_MAX], entries[MARGAY_FRAME_PACKETS_MAX];
  uint32_t rest[MARGAY_FRAME_PACKETS_MAX];
} arrays;

/* Handed on by value: nothing that is stored to can be thought to change it. */
typedef struct {
  uint8_t *memory, *slots, *windows, *buckets, *records;
  const uint8_t *endpoints;
  arrays *by;
  uint64_t seed0, seed1;
  uint32_t endpoint_count, bucket_count, tick;
  int prefetch;
} lane;

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
INLINE void put_wide(uint8_t *at, uint64_t value) { memcpy(at, &value, 8); }
INLINE void put_half(uint8_t *at, uint32_t value) { memcpy(at, &value, 2); }
INLINE uint32_t fold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}
/* Both are 16 bits, so one carry is all there can be. */
INLINE uint32_t adjust(uint32_t checksum, uint32_t delta) {
  uint32_t sum = (checksum ^ 0xffff) + delta;
  return ((sum + (sum >> 16)) ^ 0xffff) & 0xffff;
}
INLINE uint64_t mix(uint64_t x, uint64_t multiplier) {
  return x * multiplier ^ (x * multiplier) >> 32;
}
INLINE uint64_t hash_of(lane l, const uint8_t *packet) {
  uint64_t rest = ((uint64_t)packet[IP_PROTOCOL] << 32) | word(packet + IP_BYTES);
  uint64_t h = mix(wide(packet + IP_SOURCE) ^ l.seed0, 0x9fb21c651e98df25u);
  h = mix(h ^ rest ^ l.seed1, 0xd6e8feb86659fd93u);
  return mix(h, 0x9fb21c651e98df25u);
}
INLINE uint32_t bucket_number(lane l, uint32_t bits) {
  return (uint32_t)(((uint64_t)bits * l.bucket_count) >> 32);
}

INLINE uint8_t *bucket_at(lane l, uint32_t number) {
  return l.buckets + (size_t)number * MARGAY_BUCKET_BYTES;
}
INLINE uint8_t *record_of(lane l, uint32_t entry) {
  return l.records + (size_t)(entry >> 1) * MARGAY_SESSION4_BYTES;
}
INLINE uint8_t *key_of(uint8_t *record, uint32_t direction) {
  return record + MARGAY_SESSION_KEYS + direction * MARGAY_SESSION4_KEY_STRIDE;
}
/* A bit for each way of a bucket that bears the tag of a hash (its upper half). */
INLINE uint32_t ways_with(const uint8_t *bucket, uint32_t bits) {
  __m128i tags = _mm_load_si128((const __m128i *)bucket);
  __m128i tag = _mm_set1_epi8((char)(bits & 0xff ? bits : 0xff));
  return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, tag)) & ((1u << MARGAY_BUCKET_WAYS) - 1);
}

INLINE int is_live(lane l, uint32_t identity) {
  uint32_t index = identity & 0xffff;
  return identity == MARGAY_NO_ENDPOINT ||
         (index < l.endpoint_count &&
          word(l.endpoints + ((size_t)index << ENDPOINT_SHIFT)) == identity);
}

/* Is the entry's record the i-th packet's session, and not closing? */
INLINE int is_session(lane l, uint32_t i, uint32_t entry) {
  uint8_t *record = record_of(l, entry);
  const uint8_t *key = key_of(record, entry & 1), *packet = l.windows + i * MARGAY_WINDOW_BYTES;
  uint32_t state = word(record + MARGAY_SESSION_STATE) & (MARGAY_LIFE_MASK | CLOSING);
  uint64_t different = (wide(key) ^ wide(packet + IP_SOURCE)) |
                       (word(key + MARGAY_KEY4_PORTS) ^ word(packet + IP_BYTES)) |
                       (word(key + MARGAY_KEY4_ENDPOINT) ^ l.by->ends[i]) |
                       (uint32_t)(record[MARGAY_SESSION4_PROTOCOL] ^ packet[IP_PROTOCOL]) |
                       (state ^ MARGAY_LIFE_LIVE);
  return !different && is_live(l, word(key_of(record, ~entry & 1) + MARGAY_KEY4_ENDPOINT));
}

INLINE void rewrite(uint8_t *packet, uint8_t slot_flags, uint8_t *record, uint32_t direction) {
  const uint8_t *other = key_of(record, direction ^ 1);
  uint32_t deltas = word(record + MARGAY_SESSION4_DELTA_ADDRESSES) ^ (0u - direction);
  uint32_t addresses = deltas & 0xffff, ports = word(other + MARGAY_KEY4_PORTS);
  uint64_t pair = wide(other);
  put_wide(packet + IP_SOURCE, pair << 32 | pair >> 32);
  put_half(packet + IP_CHECKSUM, adjust(half(packet + IP_CHECKSUM), addresses));
  put_word(packet + IP_BYTES, ports << 16 | ports >> 16);
  int udp = packet[IP_PROTOCOL] == UDP;
  uint8_t *field = packet + IP_BYTES + (udp ? UDP_CHECKSUM : TCP_CHECKSUM);
  uint32_t old = half(field);
  if (slot_flags & MARGAY_SLOT_FLAG_PARTIAL_CHECKSUM) {
    put_half(field, fold(old + addresses));
  } else if (old | !udp) {
    uint32_t sum = adjust(old, deltas >> 16);
    put_half(field, udp && sum == 0 ? 0xffff : sum);
  }
}

/* Carries the i-th packet by its session: seen, rewrite, slot. */
INLINE void carry(lane l, uint32_t i, uint32_t entry) {
  uint8_t *slot = l.slots + i * MARGAY_SLOT_BYTES, *packet = l.windows + i * MARGAY_WINDOW_BYTES;
  uint8_t *record = record_of(l, entry);
  uint32_t direction = entry & 1, rewritten = record[MARGAY_SESSION4_REWRITTEN] != 0;
  if (word(record + MARGAY_SESSION_SEEN) != l.tick) put_word(record + MARGAY_SESSION_SEEN, l.tick);
  if (rewritten) rewrite(packet, slot[MARGAY_SLOT_FLAGS], record, direction);
  uint32_t verdict = MARGAY_VERDICT_PASS | MARGAY_REASON_ESTABLISHED << 8;
  uint64_t address = (uint64_t)(record - l.memory), length = half_be(packet + IP_TOTAL_LENGTH);
  put_word(slot + MARGAY_SLOT_VERDICT, verdict | rewritten << 16 | direction << 24);
  put_wide(slot + MARGAY_SLOT_RULE, word(record + MARGAY_SESSION_RULE) | address << 32);
  put_wide(slot + MARGAY_SLOT_BACKEND, word(record + MARGAY_SESSION4_BACKEND) | length << 32);
}

/* Both buckets in full. */
INLINE uint32_t find_slowly(lane l, uint32_t i) {
  const uint8_t *packet = l.windows + i * MARGAY_WINDOW_BYTES;
  uint64_t hash = hash_of(l, packet);
  for (int which = 0; which < 2; which++) {
    uint32_t bits = which ? (uint32_t)hash : (uint32_t)(hash >> 32);
    const uint8_t *bucket = bucket_at(l, bucket_number(l, bits));
    for (uint32_t ways = ways_with(bucket, (uint32_t)(hash >> 32)); ways; ways &= ways - 1) {
      uint32_t entry = word(bucket + MARGAY_BUCKET_ENTRIES + 4 * (uint32_t)__builtin_ctz(ways));
      if (is_session(l, i, entry)) return entry;
    }
  }
  return 0;
}

/* Opens sessions for the misses listed in rest, or carries them by those that others of them have
 * opened (counted up in carried); returns how many packets it left alone. */
uint32_t twin_open(lane l, uint32_t worker, uint32_t misses, uint32_t generation,
                   uint32_t *carried);

#endif
