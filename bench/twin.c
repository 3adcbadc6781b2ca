/* The C twin: the packet program's path of IPv4 flows through sessions, step for step, over the
 * same memory layout, with the compiler's prefetch. What C makes of the same algorithm is what the
 * Wasm is measured against; it is no second implementation: everything but that path is left alone.
 *
 *   all packets:      parse: plain header, own source, hash, bucket number ─► arrays by packet
 *   bursts of 24:     prefetch buckets ─ ─► match: first way with the tag, prefetch records
 *     a burst behind:   ─ ─► carry: compare, seen, rewrite, slot          miss ─► rest
 *   rest:             both buckets in full ─► carry        miss ─► twin-opening.c, or left alone
 *
 * The last step stands in for the program's whole pipeline. The memory is a copy of a running
 * program's, sessions and all. Limits: TCP and UDP over IPv4; of those UDP alone opens a session.
 * Sources: assembly/{fastlane,lookup}.ts, and those that twin-lane.h names. */
#include "twin.h"

#include "twin-lane.h"

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

/* The rest of a frame; lists those without a session anew and returns how many they are. */
static uint32_t carry_rest(lane l, uint32_t rest) {
  uint32_t left = 0;
  for (uint32_t k = 0; k < rest; k++) {
    uint32_t i = l.by->rest[k], entry = l.by->ends[i] == NOBODY ? 0 : find_slowly(l, i);
    if (entry) carry(l, i, entry);
    else l.by->rest[left++] = i;
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
  uint32_t misses = rest ? carry_rest(l, rest) : 0, carried = count - misses;
  uint32_t left = misses ? twin_open(l, worker, misses, generation, &carried) : 0;
  put_wide(counter, wide(counter) + carried);
  __atomic_add_fetch(epoch, 1, __ATOMIC_SEQ_CST);
  return left;
}
