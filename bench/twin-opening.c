/* The C twin's other half: UDP flows over IPv4 that open a session through a Service, no policy
 * asked. Steps as the program takes them, the cold lines of a burst asked for a step ahead:
 *
 *   frontend's head ─► frontend ─► group ─► Maglev slot ─► backend ─► whose address ─► reply's hash
 *   in packet order: key once more ─► record ─► identity ─► four locks ─► both keys ─► two entries
 *
 * Left out is the worker's journal: C has no traps to recover from. Left alone is all that asks for
 * more: affinity, source ranges, masquerade, DSR, previous groups.
 * Sources: assembly/{service,frontend,group,endpoint,conntrack,reclaim,session}.ts. */
#include "twin-lane.h"

/* assembly/frontend.ts, assembly/group.ts, assembly/endpoint.ts */
enum { FRONTEND_PORT = 16, FRONTEND_PROTOCOL = 18, FRONTEND_FLAGS = 20, FRONTEND_INTERNAL = 24,
       FRONTEND_PREVIOUS = 32, FRONTEND_AFFINITY = 40, FRONTEND_RANGES = 48, FRONTEND_NEXT = 52 };
enum { GROUP_BACKENDS = 0, GROUP_SLOTS = 4, GROUP_TABLE = 8, GROUP_WIDTH = 12, GROUP_HEADER = 32 };
enum { BACKEND_SHIFT = 5, BACKEND_ADDRESS4 = 12, BACKEND_PORT = 16, BACKEND_ID = 20 };
enum { ADDRESS_SHIFT = 5, ADDRESS_LAST = 8, ADDRESS_ENDPOINT = 16 };
enum { SPARE_WAYS = 4, WAYS = (1 << MARGAY_BUCKET_WAYS) - 1 };
static const uint64_t MAPPED4 = 0xffff0000u, K0 = 0x9fb21c651e98df25u, K1 = 0xd6e8feb86659fd93u;

typedef struct {
  uint8_t *table, *services;
  const uint8_t *addresses;
  uint64_t maglev_seed;
  uint32_t address_mask, records_max, owner, generation;
} opening;

/* What a burst knows of each of its packets. */
typedef struct {
  const uint8_t *at[BURST]; /* what is looked at next */
  const uint8_t *backend[BURST];
  uint64_t backward[BURST];
  uint32_t destination[BURST], slot[BURST];
} burst;

INLINE uint64_t hash_address(uint64_t last, uint64_t more, uint64_t seed) {
  return mix(mix(mix(mix(last ^ seed, K0), K1) ^ more, K0), K1);
}
INLINE uint64_t mapped(const uint8_t *address) {
  return MAPPED4 | (uint64_t)word(address) << 32;
}
INLINE uint64_t hash_pair(const uint8_t *pair, uint32_t ports, uint32_t protocol, uint64_t seed0,
                          uint64_t seed1) {
  uint64_t rest = ((uint64_t)protocol << 32) | ports;
  return mix(mix(mix(wide(pair) ^ seed0, K0) ^ rest ^ seed1, K1), K0);
}
INLINE const uint8_t *packet_of(lane l, uint32_t i) { return l.windows + i * MARGAY_WINDOW_BYTES; }

/* Heads of the frontends' chains. */
static void find_heads(lane l, opening o, burst *b, const uint32_t *list, uint32_t n) {
  const uint8_t *heads = l.memory + word(o.services + MARGAY_SERVICES_HEADS);
  uint32_t mask = word(o.services + MARGAY_SERVICES_HEAD_MASK);
  for (uint32_t k = 0; k < n; k++) {
    const uint8_t *packet = packet_of(l, list[k]);
    uint64_t more = (uint64_t)packet[IP_PROTOCOL] << 16 | half(packet + IP_BYTES + 2);
    uint64_t hash = hash_address(mapped(packet + IP_SOURCE + 4), more, l.seed0);
    b->at[k] = heads + 4 * (size_t)((uint32_t)(hash >> 32) & mask);
    if (l.prefetch) __builtin_prefetch(b->at[k]);
  }
}
/* From a head to the first frontend of its chain, asked for. */
static void find_chains(lane l, burst *b, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    b->at[k] = l.memory + word(b->at[k]);
    if (l.prefetch) __builtin_prefetch(b->at[k]);
  }
}
/* The group of each packet's frontend; null where there is none that is served here. */
static void find_groups(lane l, burst *b, const uint32_t *list, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    const uint8_t *packet = packet_of(l, list[k]), *f = b->at[k];
    uint64_t last = mapped(packet + IP_SOURCE + 4);
    while (f != l.memory && (wide(f) || wide(f + 8) != last || f[FRONTEND_PROTOCOL] !=
           packet[IP_PROTOCOL] || half(f + FRONTEND_PORT) != half(packet + IP_BYTES + 2)))
      f = l.memory + word(f + FRONTEND_NEXT);
    int plain = f != l.memory && !(word(f + FRONTEND_FLAGS) & ~(uint32_t)(
                    MARGAY_FRONTEND_FLAG_REJECT_INTERNAL | MARGAY_FRONTEND_FLAG_REJECT_EXTERNAL)) &&
                !word(f + FRONTEND_AFFINITY) && !half(f + FRONTEND_RANGES) &&
                !word(f + FRONTEND_PREVIOUS) && packet[IP_PROTOCOL] == UDP;
    b->at[k] = plain && word(f + FRONTEND_INTERNAL) ? l.memory + word(f + FRONTEND_INTERNAL) : NULL;
    if (l.prefetch && b->at[k]) __builtin_prefetch(b->at[k]);
  }
}
static void find_slots(lane l, opening o, burst *b, const uint32_t *list, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    const uint8_t *group = b->at[k], *packet = packet_of(l, list[k]);
    if (group && !word(group + GROUP_BACKENDS)) group = b->at[k] = NULL;
    if (!group) continue;
    uint64_t hash = hash_pair(packet + IP_SOURCE, word(packet + IP_BYTES), packet[IP_PROTOCOL],
                              o.maglev_seed, ~o.maglev_seed);
    uint32_t slot = (uint32_t)(((hash >> 32) * word(group + GROUP_SLOTS)) >> 32);
    b->slot[k] = word(group + GROUP_TABLE) + slot * word(group + GROUP_WIDTH);
    if (l.prefetch) __builtin_prefetch(l.memory + b->slot[k]);
  }
}
static void find_backends(lane l, burst *b, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    const uint8_t *group = b->at[k];
    if (!group) continue;
    const uint8_t *slot = l.memory + b->slot[k];
    uint32_t place = word(group + GROUP_WIDTH) == 1 ? *slot : half(slot);
    b->backend[k] = group + GROUP_HEADER + ((size_t)place << BACKEND_SHIFT);
    if (l.prefetch) __builtin_prefetch(b->backend[k]);
  }
}

/* The identity of the workload that an address is; NO_ENDPOINT beyond. */
static uint32_t owner_of(lane l, opening o, const uint8_t *address) {
  if (!o.addresses) return MARGAY_NO_ENDPOINT;
  uint64_t last = mapped(address);
  uint32_t at = (uint32_t)(hash_address(last, 0, l.seed0) >> 32) & o.address_mask;
  for (;; at = (at + 1) & o.address_mask) {
    const uint8_t *entry = o.addresses + ((size_t)at << ADDRESS_SHIFT);
    uint32_t endpoint = word(entry + ADDRESS_ENDPOINT);
    if (!endpoint) return MARGAY_NO_ENDPOINT;
    if (wide(entry) || wide(entry + ADDRESS_LAST) != last) continue;
    const uint8_t *e = l.endpoints + ((size_t)(endpoint - 1) << ENDPOINT_SHIFT);
    return e[ENDPOINT_KIND] == MARGAY_ENDPOINT_KIND_UPLINK ? MARGAY_NO_ENDPOINT : word(e);
  }
}
/* The reply's tuple as its packets will bear it: its hash, its buckets asked for. */
static void find_replies(lane l, opening o, burst *b, const uint32_t *list, uint32_t n) {
  for (uint32_t k = 0; k < n; k++) {
    if (!b->at[k]) continue;
    const uint8_t *packet = packet_of(l, list[k]), *backend = b->backend[k];
    b->destination[k] = owner_of(l, o, backend + BACKEND_ADDRESS4);
    uint8_t pair[8];
    put_word(pair, word(backend + BACKEND_ADDRESS4));
    put_word(pair + 4, word(packet + IP_SOURCE));
    uint32_t ports = half(backend + BACKEND_PORT) | (uint32_t)half(packet + IP_BYTES) << 16;
    b->backward[k] = hash_pair(pair, ports, packet[IP_PROTOCOL], l.seed0, l.seed1);
    if (!l.prefetch) continue;
    __builtin_prefetch(bucket_at(l, bucket_number(l, (uint32_t)(b->backward[k] >> 32))));
    __builtin_prefetch(bucket_at(l, bucket_number(l, (uint32_t)b->backward[k])));
  }
}

/* A record from the free stack, or the next one never used; 0: there is none. */
static uint32_t take(lane l, opening o) {
  uint64_t *free = (uint64_t *)(o.table + MARGAY_TABLE_FREE);
  uint64_t old = __atomic_load_n(free, __ATOMIC_ACQUIRE);
  while ((uint32_t)old) {
    uint32_t next = word(record_of(l, (uint32_t)old << 1) + MARGAY_SESSION_NEXT);
    uint64_t wanted = ((old >> 32) + 1) << 32 | next;
    if (__atomic_compare_exchange_n(free, &old, wanted, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
      if (l.prefetch && next) __builtin_prefetch(record_of(l, next << 1));
      return (uint32_t)old;
    }
  }
  uint32_t *unused = (uint32_t *)(o.table + MARGAY_TABLE_UNUSED_NEXT);
  uint32_t n = __atomic_load_n(unused, __ATOMIC_ACQUIRE);
  while (n <= o.records_max) {
    if (__atomic_compare_exchange_n(unused, &n, n + 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
      return n;
  }
  return 0;
}

static uint32_t delta_of(const uint8_t *from, const uint8_t *to, uint32_t bytes) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < bytes; i += 2) sum += (~half(from + i) & 0xffffu) + half(to + i);
  return fold(sum);
}
static void write_identity(lane l, opening o, uint8_t *r, uint32_t i, const uint8_t *backend,
                           uint32_t destination) {
  const uint8_t *packet = packet_of(l, i);
  uint8_t *forward = key_of(r, 0), *reply = key_of(r, 1);
  put_wide(forward, wide(packet + IP_SOURCE));
  put_word(forward + MARGAY_KEY4_PORTS, word(packet + IP_BYTES));
  put_word(forward + MARGAY_KEY4_ENDPOINT, l.by->ends[i]);
  put_word(reply, word(backend + BACKEND_ADDRESS4));
  put_word(reply + 4, word(packet + IP_SOURCE));
  put_half(reply + MARGAY_KEY4_PORTS, half(backend + BACKEND_PORT));
  put_half(reply + MARGAY_KEY4_PORTS + 2, half(packet + IP_BYTES));
  put_word(reply + MARGAY_KEY4_ENDPOINT, destination);
  put_word(r + MARGAY_SESSION_SEEN, l.tick);
  put_word(r + MARGAY_SESSION_RULE, 0);
  put_word(r + MARGAY_SESSION4_PROTOCOL, packet[IP_PROTOCOL]);
  put_word(r + MARGAY_SESSION4_GENERATION, o.generation);
  put_word(r + MARGAY_SESSION4_BACKEND, word(backend + BACKEND_ID) + 1);
  r[MARGAY_SESSION4_REWRITTEN] = MARGAY_REWRITTEN_HEADER;
  uint32_t addresses = delta_of(forward, reply, 8);
  uint32_t all = fold(addresses + delta_of(forward + MARGAY_KEY4_PORTS,
                                           reply + MARGAY_KEY4_PORTS, 4));
  put_half(r + MARGAY_SESSION4_DELTA_ADDRESSES, addresses);
  put_half(r + MARGAY_SESSION4_DELTA_ALL, all);
}

INLINE void lock(opening o, uint8_t *bucket) {
  uint32_t nobody = 0, *at = (uint32_t *)(bucket + MARGAY_BUCKET_LOCK);
  while (!__atomic_compare_exchange_n(at, &nobody, o.owner, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
    nobody = 0;
}
INLINE void unlock(uint8_t *bucket) {
  __atomic_exchange_n((uint32_t *)(bucket + MARGAY_BUCKET_LOCK), 0, __ATOMIC_ACQ_REL);
}
INLINE void order(uint8_t **low, uint8_t **high) {
  uint8_t *a = *low, *b = *high;
  *low = a < b ? a : b;
  *high = a < b ? b : a;
}
/* Is the tuple that a key holds in one of these buckets? */
INLINE int is_known(lane l, const uint8_t *key, uint32_t protocol, uint32_t tag, uint8_t *first,
                    uint8_t *second) {
  for (int which = 0; which < 2; which++) {
    uint8_t *bucket = which ? second : first;
    for (uint32_t ways = ways_with(bucket, tag); ways; ways &= ways - 1) {
      uint32_t entry = word(bucket + MARGAY_BUCKET_ENTRIES + 4 * (uint32_t)__builtin_ctz(ways));
      uint8_t *r = record_of(l, entry);
      const uint8_t *other = key_of(r, entry & 1);
      if (entry && wide(other) == wide(key) && r[MARGAY_SESSION4_PROTOCOL] == protocol &&
          word(other + MARGAY_KEY4_PORTS) == word(key + MARGAY_KEY4_PORTS) &&
          (word(r + MARGAY_SESSION_STATE) & MARGAY_LIFE_MASK) == MARGAY_LIFE_LIVE)
        return 1;
    }
  }
  return 0;
}
INLINE uint32_t free_ways(const uint8_t *bucket) {
  __m128i tags = _mm_load_si128((const __m128i *)bucket);
  return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_setzero_si128())) & WAYS;
}
INLINE int is_roomier(uint32_t first, uint32_t second) {
  int free = __builtin_popcount(first);
  return free >= SPARE_WAYS || free >= __builtin_popcount(second);
}
INLINE void publish(uint8_t *bucket, uint32_t ways, uint32_t tag, uint32_t entry) {
  uint32_t way = (uint32_t)__builtin_ctz(ways);
  bucket[way] = (uint8_t)(tag & 0xff ? tag : 0xff);
  __atomic_exchange_n((uint32_t *)(bucket + MARGAY_BUCKET_ENTRIES) + way, entry, __ATOMIC_ACQ_REL);
}
/* Under the locks of all four. */
static int enter(lane l, opening o, uint8_t *r, uint32_t record, uint64_t forward,
                 uint64_t backward, uint8_t *a0, uint8_t *a1, uint8_t *b0, uint8_t *b1) {
  uint32_t protocol = r[MARGAY_SESSION4_PROTOCOL];
  uint32_t tag = (uint32_t)(forward >> 32), back = (uint32_t)(backward >> 32);
  if (is_known(l, key_of(r, 0), protocol, tag, a0, a1)) return 0;
  if (is_known(l, key_of(r, 1), protocol, back, b0, b1)) return 0;
  uint8_t *to = is_roomier(free_ways(a0), free_ways(a1)) ? a0 : a1;
  uint32_t ways = free_ways(to);
  if (!ways) return 0;
  uint32_t taken = ~(1u << __builtin_ctz(ways));
  uint32_t ways0 = b0 == to ? free_ways(b0) & taken : free_ways(b0);
  uint32_t ways1 = b1 == to ? free_ways(b1) & taken : free_ways(b1);
  int first = is_roomier(ways0, ways1);
  if (!(first ? ways0 : ways1)) return 0;
  __atomic_exchange_n((uint32_t *)(r + MARGAY_SESSION_STATE), MARGAY_LIFE_LIVE, __ATOMIC_ACQ_REL);
  publish(to, ways, tag, record << 1);
  publish(first ? b0 : b1, first ? ways0 : ways1, back, record << 1 | 1);
  __atomic_add_fetch((uint32_t *)(o.table + MARGAY_TABLE_LIVE), 1, __ATOMIC_SEQ_CST);
  return 1;
}
static int insert(lane l, opening o, uint32_t i, uint8_t *r, uint32_t record, uint64_t backward) {
  uint64_t forward = hash_of(l, packet_of(l, i));
  uint8_t *a0 = bucket_at(l, bucket_number(l, (uint32_t)(forward >> 32)));
  uint8_t *a1 = bucket_at(l, bucket_number(l, (uint32_t)forward));
  uint8_t *b0 = bucket_at(l, bucket_number(l, (uint32_t)(backward >> 32)));
  uint8_t *b1 = bucket_at(l, bucket_number(l, (uint32_t)backward));
  uint8_t *all[4] = {a0, a1, b0, b1};
  order(&all[0], &all[1]), order(&all[2], &all[3]), order(&all[0], &all[2]);
  order(&all[1], &all[3]), order(&all[1], &all[2]);
  for (int k = 0; k < 4; k++) if (!k || all[k] != all[k - 1]) lock(o, all[k]);
  int done = enter(l, o, r, record, forward, backward, a0, a1, b0, b1);
  for (int k = 0; k < 4; k++) if (!k || all[k] != all[k - 1]) unlock(all[k]);
  return done;
}

/* The packet's slot as it stands when its flow has opened. */
INLINE void settle_slot(lane l, uint32_t i) {
  uint8_t *slot = l.slots + i * MARGAY_SLOT_BYTES;
  slot[MARGAY_SLOT_REASON] = MARGAY_REASON_ALLOWED;
}
/* 1: opened; 2: carried by a session that is there by now; 0: left alone. */
static int settle(lane l, opening o, burst *b, uint32_t k, uint32_t i) {
  uint32_t entry = find_slowly(l, i);
  if (entry) {
    carry(l, i, entry);
    return 2;
  }
  if (!b->at[k]) return 0;
  uint32_t record = take(l, o);
  if (!record) return 0;
  uint8_t *r = record_of(l, record << 1);
  write_identity(l, o, r, i, b->backend[k], b->destination[k]);
  if (!insert(l, o, i, r, record, b->backward[k])) return 0;
  carry(l, i, record << 1);
  settle_slot(l, i);
  return 1;
}

uint32_t twin_open(lane l, uint32_t worker, uint32_t misses, uint32_t generation,
                   uint32_t *carried) {
  uint8_t *root = l.memory + MARGAY_ROOT;
  const uint8_t *ring = l.memory + MARGAY_GENERATION_RING +
                        (generation & (MARGAY_GENERATIONS - 1)) * MARGAY_GENERATION_BYTES;
  uint32_t addresses = word(ring + MARGAY_GENERATION_ADDRESSES);
  opening o = {
      .table = root + MARGAY_ROOT_SESSIONS4,
      .services = l.memory + MARGAY_SERVICES,
      .addresses = addresses ? l.memory + addresses : NULL,
      .maglev_seed = wide(root + MARGAY_ROOT_MAGLEV_SEED),
      .address_mask = word(ring + MARGAY_GENERATION_ADDRESS_MASK),
      .records_max = word(root + MARGAY_ROOT_SESSIONS4 + MARGAY_TABLE_RECORDS_MAX),
      .owner = worker + 1,
      .generation = generation,
  };
  uint8_t *counter = l.memory + MARGAY_WORKERS + worker * MARGAY_WORKER_BYTES +
                     MARGAY_WORKER_COUNTERS + 8 * MARGAY_REASON_ALLOWED;
  uint32_t left = 0, opened = 0;
  for (uint32_t from = 0; from < misses; from += BURST) {
    const uint32_t *list = l.by->rest + from;
    uint32_t n = MIN(misses - from, BURST);
    burst b;
    find_heads(l, o, &b, list, n);
    find_chains(l, &b, n);
    find_groups(l, &b, list, n);
    find_slots(l, o, &b, list, n);
    find_backends(l, &b, n);
    find_replies(l, o, &b, list, n);
    for (uint32_t k = 0; k < n; k++) {
      int became = settle(l, o, &b, k, list[k]);
      left += !became;
      opened += became == 1;
      *carried += became == 2;
    }
  }
  put_wide(counter, wide(counter) + opened);
  return left;
}
