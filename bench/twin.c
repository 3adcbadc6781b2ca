/* The C twin: the packet program's path of established IPv4 flows, step for step, over the same
 * memory layout, with the compiler's prefetch. What C makes of the same algorithm is what the Wasm
 * is measured against; it is no second implementation: everything but that path is left alone.
 *
 *   all packets:      parse: plain header, own source, hash, bucket number ─► arrays by packet
 *   bursts of 24:     prefetch buckets ─ ─► match: first way with the tag, prefetch records
 *     a burst behind:   ─ ─► carry: compare, seen, rewrite, slot          miss ─► rest
 *   rest:             both buckets in full ─► carry                       miss ─► left alone
 *
 * The last step stands in for the program's whole pipeline: without it the few sessions whose entry
 * is not the first with its tag could not be measured. The memory is a copy of a running
 * program's, sessions and all; layout: native/layout.h. What only the program knows (the endpoint
 * record) is repeated here with its offsets. Limits: TCP and UDP over IPv4; nothing that opens or
 * closes a session. Sources: assembly/{fastlane,lookup,session,rewrite,hash,checksum}.ts. */
#include "twin.h"

#include <emmintrin.h>
#include <string.h>

#include "layout.h"

#define INLINE static inline __attribute__((always_inline))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

/* assembly/endpoint.ts: identity, kind, first IPv4 address; assembly/header/{ipv4,tcp,udp}.ts */
enum { ENDPOINT_SHIFT = 6, ENDPOINT_KIND = 4, ENDPOINT_ADDRESS4 = 12 };
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

/* Address of the endpoint bound to an interface, or null. */
INLINE const uint8_t *endpoint_of_interface(lane l, uint32_t index) {
  if (index >= MARGAY_INTERFACES_MAX) return NULL;
  uint32_t bound = word(l.memory + MARGAY_INTERFACES + 4 * index);
  if (bound == 0 || bound > l.endpoint_count) return NULL;
  const uint8_t *endpoint = l.endpoints + ((size_t)(bound - 1) << ENDPOINT_SHIFT);
  return endpoint[ENDPOINT_KIND] == MARGAY_ENDPOINT_KIND_UNUSED ? NULL : endpoint;
}

/* Version 4, five words, no fragment; its checksum and time to live where nobody has looked. */
INLINE int is_plain(const uint8_t *packet, int unchecked) {
  if ((wide(packet) & 0xff3f0000000000ffu) != 0x45) return 0;
  if (!unchecked) return 1;
  uint64_t sum = (uint64_t)word(packet) + word(packet + 4) + word(packet + 8) +
                 word(packet + 12) + word(packet + 16);
  uint32_t once = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (uint32_t)(sum >> 32);
  return fold(once) == 0xffff && packet[IP_TIME_TO_LIVE] != 0;
}

/* Hash, bucket number and sender's identity of every plain packet; NOBODY for the others. Behind a
 * SYN all of TCP is left: the SYN may replace its session. */
static void parse_plain(lane l, uint32_t count) {
  uint32_t known = 0, identity = NOBODY, own = 0;
  int uplink = 0, after_syn = 0;
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t *slot = l.slots + i * MARGAY_SLOT_BYTES;
    const uint8_t *packet = l.windows + i * MARGAY_WINDOW_BYTES, *l4 = packet + IP_BYTES;
    l.by->ends[i] = NOBODY;
    l.by->buckets[i] = 0;
    uint32_t index = word(slot + MARGAY_SLOT_INTERFACE);
    if (index != known || identity == NOBODY) {
      const uint8_t *endpoint = endpoint_of_interface(l, index);
      if (!endpoint) continue;
      known = index;
      uplink = endpoint[ENDPOINT_KIND] == MARGAY_ENDPOINT_KIND_UPLINK;
      identity = uplink ? MARGAY_NO_ENDPOINT : word(endpoint);
      own = word(endpoint + ENDPOINT_ADDRESS4);
    }
    uint32_t valid = half(slot + MARGAY_SLOT_WINDOW_LENGTH);
    if (valid > MARGAY_WINDOW_BYTES || valid < IP_BYTES + UDP_BYTES) continue;
    if (!is_plain(packet, !(slot[MARGAY_SLOT_FLAGS] & MARGAY_SLOT_FLAG_CHECKED))) continue;
    if (!uplink && (own != word(packet + IP_SOURCE) || own == 0)) continue;
    uint32_t length = half_be(packet + IP_TOTAL_LENGTH);
    if (length > word(slot + MARGAY_SLOT_PACKET_LENGTH)) continue;
    if (packet[IP_PROTOCOL] == UDP) {
      uint32_t bytes = half_be(l4 + UDP_LENGTH);
      if (bytes < UDP_BYTES || IP_BYTES + bytes > length) continue;
    } else {
      if (packet[IP_PROTOCOL] != TCP || valid < IP_BYTES + TCP_BYTES) continue;
      uint32_t flags = l4[TCP_FLAGS], bytes = (uint32_t)(l4[TCP_OFFSET] >> 4) << 2;
      after_syn |= (flags & SYN) != 0;
      if (after_syn || (flags & (FIN | SYN | RST | ACK)) != ACK) continue;
      if (bytes < TCP_BYTES || IP_BYTES + bytes > length) continue;
    }
    uint32_t bits = (uint32_t)(hash_of(l, packet) >> 32);
    l.by->ends[i] = identity;
    l.by->hashes[i] = bits;
    l.by->buckets[i] = bucket_number(l, bits);
  }
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

INLINE void fetch_buckets(lane l, uint32_t from, uint32_t to) {
  if (!l.prefetch) return;
  for (uint32_t i = from; i < to; i++) __builtin_prefetch(bucket_at(l, l.by->buckets[i]));
}
INLINE void fetch_records(lane l, uint32_t from, uint32_t to) {
  if (!l.prefetch) return;
  for (uint32_t i = from; i < to; i++) __builtin_prefetch(record_of(l, l.by->entries[i]));
}

/* The first way of the first bucket that bears the tag. */
INLINE void match_plain(lane l, uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    const uint8_t *bucket = bucket_at(l, l.by->buckets[i]);
    uint32_t ways = ways_with(bucket, l.by->hashes[i]);
    uint32_t way = ways ? (uint32_t)__builtin_ctz(ways) : 0;
    uint32_t found = word(bucket + MARGAY_BUCKET_ENTRIES + 4 * way);
    l.by->entries[i] = ways ? found : 0;
  }
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

/* Carries the packets whose candidate is their session; lists the others behind rest. */
INLINE uint32_t carry_plain(lane l, uint32_t from, uint32_t to, uint32_t rest) {
  for (uint32_t i = from; i < to; i++) {
    uint32_t entry = l.by->entries[i];
    l.by->rest[rest] = i; /* taken back when carried, by not counting it */
    if (is_session(l, i, entry)) carry(l, i, entry);
    else rest++;
  }
  return rest;
}

/* Carries what it can of a frame; returns how many packets are listed in rest. */
static uint32_t fast_lane(lane l, uint32_t count) {
  parse_plain(l, count);
  fetch_buckets(l, 0, MIN(count, BURST));
  uint32_t rest = 0;
  for (uint32_t from = 0; from < count + BURST; from += BURST) {
    if (from < count) {
      uint32_t to = MIN(from + BURST, count);
      fetch_buckets(l, to, MIN(to + BURST, count));
      match_plain(l, from, to);
      fetch_records(l, from, to);
    }
    if (from) rest = carry_plain(l, from - BURST, MIN(from, count), rest);
  }
  return rest;
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

/* The rest of a frame; returns how many packets are left alone. */
static uint32_t carry_rest(lane l, uint32_t rest) {
  uint32_t left = 0;
  for (uint32_t k = 0; k < rest; k++) {
    uint32_t i = l.by->rest[k], entry = l.by->ends[i] == NOBODY ? 0 : find_slowly(l, i);
    if (entry) carry(l, i, entry);
    else left++;
  }
  return left;
}

uint32_t twin_process(uint8_t *memory, uint32_t worker, uint32_t count, uint32_t now_ms,
                      uint32_t generation, int prefetch) {
  const uint8_t *ring = memory + MARGAY_GENERATION_RING +
                        (generation & (MARGAY_GENERATIONS - 1)) * MARGAY_GENERATION_BYTES;
  const uint8_t *root = memory + MARGAY_ROOT, *table = root + MARGAY_ROOT_SESSIONS4;
  uint8_t *frame = memory + MARGAY_FRAMES + (size_t)worker * MARGAY_FRAME_BYTES;
  uint8_t *of_worker = memory + MARGAY_WORKERS + worker * MARGAY_WORKER_BYTES;
  uint8_t *counter = of_worker + MARGAY_WORKER_COUNTERS + 8 * MARGAY_REASON_ESTABLISHED;
  uint32_t *epoch = (uint32_t *)(of_worker + MARGAY_WORKER_EPOCH);
  __atomic_add_fetch(epoch, 1, __ATOMIC_SEQ_CST);
  lane l = {
      .memory = memory,
      .slots = frame + MARGAY_FRAME_SLOTS,
      .windows = frame + MARGAY_FRAME_WINDOWS,
      .buckets = memory + word(table + MARGAY_TABLE_BUCKETS),
      .records = memory + word(table + MARGAY_TABLE_RECORDS),
      .endpoints = memory + word(ring + MARGAY_GENERATION_ENDPOINTS),
      .by = (arrays *)(frame + MARGAY_FRAME_SCRATCH),
      .seed0 = wide(root + MARGAY_ROOT_SEED0),
      .seed1 = wide(root + MARGAY_ROOT_SEED1),
      .endpoint_count = word(ring + MARGAY_GENERATION_ENDPOINT_COUNT),
      .bucket_count = word(table + MARGAY_TABLE_BUCKET_COUNT),
      .tick = now_ms & ~255u,
      .prefetch = prefetch,
  };
  uint32_t rest = fast_lane(l, count);
  uint32_t left = rest ? carry_rest(l, rest) : 0;
  put_wide(counter, wide(counter) + count - left);
  __atomic_add_fetch(epoch, 1, __ATOMIC_SEQ_CST);
  return left;
}
