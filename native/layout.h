/* The memory layout and the ABI of the packet program, for C.
 * Printed from assembly/layout.ts by scripts/layout.mjs (npm run layout): change that. */
#ifndef MARGAY_LAYOUT_H
#define MARGAY_LAYOUT_H

#define MARGAY_LAYOUT_VERSION 3u
#define MARGAY_MAGIC 0x5941474du
#define MARGAY_WORKERS_MAX 16u
#define MARGAY_FRAME_PACKETS_MAX 256u
#define MARGAY_POLICY_SLOTS_MAX 4096u
#define MARGAY_INTERFACES_MAX 4096u
#define MARGAY_ENDPOINTS_MAX 65535u
#define MARGAY_BACKENDS_MAX 65535u /* of one group */
#define MARGAY_BACKEND_IDS_MAX 1048576u
#define MARGAY_PEERS_MAX 65535u
#define MARGAY_GENERATIONS 4u
#define MARGAY_ROUTES_MAX 65535u
#define MARGAY_CLASSIFIER_RULES_MAX 16384u
#define MARGAY_CHAIN_STEPS_MAX 1024u
#define MARGAY_MODULE_BYTES_MAX 65536u
#define MARGAY_NO_ENDPOINT 0xffffffffu

/* Root */
#define MARGAY_ROOT 0x100u
#define MARGAY_ROOT_MAGIC 0u
#define MARGAY_ROOT_LAYOUT_VERSION 4u
#define MARGAY_ROOT_MEMORY_BYTES 8u /* u32, 0 stands for 4 GiB */
#define MARGAY_ROOT_WORKERS 12u
#define MARGAY_ROOT_SEED0 16u /* u64: session hash */
#define MARGAY_ROOT_SEED1 24u /* u64 */
#define MARGAY_ROOT_MAGLEV_SEED 32u /* u64: the same on every node of a cluster */
#define MARGAY_ROOT_PUBLISHED 40u /* u32: newest published generation */
#define MARGAY_ROOT_STAGING 44u /* u32: generation being staged, 0 = none */
#define MARGAY_ROOT_ARENA_NEXT 48u /* u32: first byte never allocated */
#define MARGAY_ROOT_ARENA_END 52u /* u32 */
#define MARGAY_ROOT_ENDPOINTS_MAX 56u /* u32 budget */
#define MARGAY_ROOT_SERVICES_MAX 60u /* u32 budget: frontends */
#define MARGAY_ROOT_TIMEOUTS 64u /* 6 x u32, milliseconds, in the order of enum Timeout */
#define MARGAY_ROOT_SESSIONS4 96u /* a session table, see below */
#define MARGAY_ROOT_SESSIONS6 160u
#define MARGAY_ROOT_ERROR 224u /* u32, enum StageError */
#define MARGAY_ROOT_ERROR_RECORD 228u /* u32: ordinal of the refused record in the stream */
#define MARGAY_ROOT_ERROR_DETAIL 232u /* u32: byte offset, index or value, by error */
#define MARGAY_ROOT_PART_SLOT 236u /* u32: slot of the classifier that arrives, 0 = none */
#define MARGAY_ROOT_PART_NEXT 240u /* u32: bytes of it that have arrived */
#define MARGAY_ROOT_PART_BYTES 244u /* u32: bytes that it will have */
#define MARGAY_ROOT_ARENA_FREE 256u /* 128 x u32: free lists by size class */
#define MARGAY_ROOT_BYTES 768u
enum margay_timeout {
  MARGAY_TIMEOUT_UDP = 0, MARGAY_TIMEOUT_ICMP = 1, MARGAY_TIMEOUT_TCP_OPENING = 2,
  MARGAY_TIMEOUT_TCP_ESTABLISHED = 3, MARGAY_TIMEOUT_TCP_CLOSING = 4, MARGAY_TIMEOUT_OTHER = 5,
};
#define MARGAY_TIMEOUT_LIST(X) \
  X(MARGAY_TIMEOUT_UDP, "udp") X(MARGAY_TIMEOUT_ICMP, "icmp") \
  X(MARGAY_TIMEOUT_TCP_OPENING, "tcp-opening") \
  X(MARGAY_TIMEOUT_TCP_ESTABLISHED, "tcp-established") \
  X(MARGAY_TIMEOUT_TCP_CLOSING, "tcp-closing") X(MARGAY_TIMEOUT_OTHER, "other")
#define MARGAY_TIMEOUTS 6u

/* Session table (one for each family, inside the root) */
#define MARGAY_TABLE_BUCKETS 0u /* u32: address of the first bucket */
#define MARGAY_TABLE_BUCKET_COUNT 4u /* u32, any number: bucket = (hash32 x count) >> 32 */
#define MARGAY_TABLE_RECORDS 8u /* u32: address of unit 0 */
#define MARGAY_TABLE_RECORDS_MAX 12u /* u32: budget of records */
#define MARGAY_TABLE_UNUSED_NEXT 16u /* u32: first record never handed out (1-based) */
#define MARGAY_TABLE_HAND 20u /* u32: the clock hand of age(): the last record visited */
#define MARGAY_TABLE_FREE 24u /* u64: free stack, tag << 32 | record number */
#define MARGAY_TABLE_LIVE 32u /* u32: live records */
#define MARGAY_TABLE_BYTES 64u

/* Bucket: one cache line */
#define MARGAY_BUCKET_TAGS 0u
#define MARGAY_BUCKET_LOCK 12u /* 0 free, else worker + 1 */
#define MARGAY_BUCKET_ENTRIES 16u
#define MARGAY_BUCKET_WAYS 12u
#define MARGAY_BUCKET_BYTES 64u

/* Session record: 64 bytes for IPv4, 128 for IPv6 */
#define MARGAY_SESSION_STATE 0u /* u32 atomic: life in bits 0-1, enum SessionFlag above */
#define MARGAY_SESSION_SEEN 4u /* u32: nowMs of the last packet, rounded down to 256 ms */
#define MARGAY_SESSION_RULE 8u /* u32: policy slot << 16 | rule index that allowed it */
#define MARGAY_SESSION_NEXT 12u /* u32: link in a free or limbo list */
#define MARGAY_SESSION_KEYS 16u
#define MARGAY_SESSION4_KEY_STRIDE 16u /* from key 0 to key 1 */
#define MARGAY_SESSION4_DELTA_ADDRESSES 48u /* u16: one's complement, addresses alone */
#define MARGAY_SESSION4_DELTA_ALL 50u /* u16: addresses and ports */
#define MARGAY_SESSION4_PROTOCOL 52u /* u8 */
#define MARGAY_SESSION4_REWRITTEN 53u /* u8, enum Rewritten */
#define MARGAY_SESSION4_PEER 54u /* u16: the node that forward packets are passed on to */
#define MARGAY_SESSION4_GENERATION 56u /* u32: the generation that judged it */
#define MARGAY_SESSION4_BACKEND 60u /* u32: backend id + 1, 0 = no service */
#define MARGAY_SESSION4_BYTES 64u
#define MARGAY_SESSION6_KEY_STRIDE 48u
#define MARGAY_SESSION6_DELTA_ADDRESSES 56u
#define MARGAY_SESSION6_DELTA_ALL 58u
#define MARGAY_SESSION6_PROTOCOL 60u
#define MARGAY_SESSION6_REWRITTEN 61u
#define MARGAY_SESSION6_PEER 62u
#define MARGAY_SESSION6_GENERATION 104u
#define MARGAY_SESSION6_BACKEND 108u
#define MARGAY_SESSION6_BYTES 128u
#define MARGAY_KEY4_SOURCE 0u
#define MARGAY_KEY4_DESTINATION 4u
#define MARGAY_KEY4_PORTS 8u /* source in the low half */
#define MARGAY_KEY4_ENDPOINT 12u /* u32: index | incarnation << 16, or NO_ENDPOINT */
#define MARGAY_KEY6_SOURCE 0u
#define MARGAY_KEY6_DESTINATION 16u
#define MARGAY_KEY6_PORTS 32u
#define MARGAY_KEY6_ENDPOINT 36u
enum margay_life {
  MARGAY_LIFE_FREE = 0, MARGAY_LIFE_LIVE = 1, MARGAY_LIFE_ENDING = 2, MARGAY_LIFE_LIMBO = 3,
};
#define MARGAY_LIFES(X) \
  X(MARGAY_LIFE_FREE, "free") X(MARGAY_LIFE_LIVE, "live") X(MARGAY_LIFE_ENDING, "ending") \
  X(MARGAY_LIFE_LIMBO, "limbo")
#define MARGAY_LIFE_MASK 3u
enum margay_session_flag {
  MARGAY_SESSION_FLAG_SYN_FORWARD = 4, MARGAY_SESSION_FLAG_SYN_RETURN = 8,
  MARGAY_SESSION_FLAG_FIN_FORWARD = 16, MARGAY_SESSION_FLAG_FIN_RETURN = 32,
  MARGAY_SESSION_FLAG_RESET = 64, MARGAY_SESSION_FLAG_RESTORED = 128,
  MARGAY_SESSION_FLAG_PICKED_UP = 256,
};
#define MARGAY_SESSION_FLAGS(X) \
  X(MARGAY_SESSION_FLAG_SYN_FORWARD, "syn-forward") \
  X(MARGAY_SESSION_FLAG_SYN_RETURN, "syn-return") \
  X(MARGAY_SESSION_FLAG_FIN_FORWARD, "fin-forward") \
  X(MARGAY_SESSION_FLAG_FIN_RETURN, "fin-return") X(MARGAY_SESSION_FLAG_RESET, "reset") \
  X(MARGAY_SESSION_FLAG_RESTORED, "restored") X(MARGAY_SESSION_FLAG_PICKED_UP, "picked-up")
enum margay_rewritten {
  MARGAY_REWRITTEN_HEADER = 1, MARGAY_REWRITTEN_TO_PEER = 2,
};
#define MARGAY_REWRITTENS(X) \
  X(MARGAY_REWRITTEN_HEADER, "header") X(MARGAY_REWRITTEN_TO_PEER, "to-peer")

/* Generation: a ring of 4 */
#define MARGAY_GENERATION_RING 0x400u
#define MARGAY_GENERATION_NUMBER 0u /* u32 atomic, 0 = unused */
#define MARGAY_GENERATION_ENDPOINTS 4u /* u32: address of the block, 0 = none */
#define MARGAY_GENERATION_ENDPOINT_COUNT 8u
#define MARGAY_GENERATION_ADDRESSES 12u /* u32: hash of address -> endpoint */
#define MARGAY_GENERATION_ADDRESS_MASK 16u
#define MARGAY_GENERATION_SNAT4 20u /* the node's own address, wire order; 0 = none */
#define MARGAY_GENERATION_SNAT_PORTS 24u /* u16 first, u16 last: what SNAT hands out */
#define MARGAY_GENERATION_OWNED 28u /* u32: bit 0: the endpoint table was made by it */
#define MARGAY_GENERATION_ADDRESS_COUNT 32u
#define MARGAY_GENERATION_PODS 36u /* u16: set number + 1 of pods' networks, 0 = unknown */
#define MARGAY_GENERATION_SERVICE_NETWORKS 38u /* u16: set number + 1, 0 = unknown */
#define MARGAY_GENERATION_ROUTES 40u /* u32: address of the block, 0 = none */
#define MARGAY_GENERATION_ROUTE_COUNT 44u
#define MARGAY_GENERATION_FLAGS 48u /* u32, enum GenerationFlag */
#define MARGAY_GENERATION_VXLAN_PORT 52u /* u16, 0 = no VXLAN check */
#define MARGAY_GENERATION_VXLAN_HOSTS 54u /* u16: set number + 1, 0 = VXLAN not in use */
#define MARGAY_GENERATION_IPIP_HOSTS 56u /* u16: set number + 1, 0 = IPIP not in use */
#define MARGAY_GENERATION_NAT_SOURCES 60u /* u16: set number + 1: natOutgoing's pools */
#define MARGAY_GENERATION_NAT_EXCLUDED 62u /* u16: set number + 1: what is not beyond */
#define MARGAY_GENERATION_SNAT6 64u /* 16 bytes, zeros = none */
#define MARGAY_GENERATION_ROUTE_LENGTHS 80u /* 3 x u64: bit = prefix length that occurs */
#define MARGAY_GENERATION_BYTES 128u
enum margay_generation_flag {
  MARGAY_GENERATION_FLAG_TO_HOST_RETURN = 1, MARGAY_GENERATION_FLAG_TO_HOST_ACCEPT = 2,
  MARGAY_GENERATION_FLAG_ALLOW_VXLAN = 4, MARGAY_GENERATION_FLAG_ALLOW_IPIP = 8,
  MARGAY_GENERATION_FLAG_MASQUERADE_ALL = 16, MARGAY_GENERATION_FLAG_REJECT_DENIED = 32,
  MARGAY_GENERATION_FLAG_UNTRACKED = 0x40000000,
};
#define MARGAY_GENERATION_FLAG_LIST(X) \
  X(MARGAY_GENERATION_FLAG_TO_HOST_RETURN, "to-host-return") \
  X(MARGAY_GENERATION_FLAG_TO_HOST_ACCEPT, "to-host-accept") \
  X(MARGAY_GENERATION_FLAG_ALLOW_VXLAN, "allow-vxlan") \
  X(MARGAY_GENERATION_FLAG_ALLOW_IPIP, "allow-ipip") \
  X(MARGAY_GENERATION_FLAG_MASQUERADE_ALL, "masquerade-all") \
  X(MARGAY_GENERATION_FLAG_REJECT_DENIED, "reject-denied") \
  X(MARGAY_GENERATION_FLAG_UNTRACKED, "untracked")

/* Worker */
#define MARGAY_WORKERS 0x1000u
#define MARGAY_WORKER_BYTES 1024u
#define MARGAY_WORKER_EPOCH 0u /* u32 atomic: odd inside process or age, even outside */
#define MARGAY_WORKER_GENERATION 4u /* u32: generation of the last frame */
#define MARGAY_WORKER_FRAME_COUNT 8u /* u32: packets of the frame in hand */
#define MARGAY_WORKER_POLICY_SLOT 12u /* u32: slot being called, 0 = none */
#define MARGAY_WORKER_PHASE 16u /* u32, enum Phase: the journal of insert and end */
#define MARGAY_WORKER_TABLE 20u /* u32: session table of the journal */
#define MARGAY_WORKER_RECORD 24u /* u32: record of the journal */
#define MARGAY_WORKER_LOCKS 28u /* u32: how many of the next four are held */
#define MARGAY_WORKER_LOCKED 32u /* 4 x u32: addresses of the locked buckets, ascending */
#define MARGAY_WORKER_LIMBO4 64u /* u32 open, u32 closed (heads; links in SESSION_NEXT) */
#define MARGAY_WORKER_LIMBO6 72u
#define MARGAY_WORKER_LIMBO_CLOSED 80u /* u32: 1 while SNAPSHOT holds */
#define MARGAY_WORKER_SNAPSHOT 128u /* 16 x u32: epochs when the closed list was closed */
#define MARGAY_WORKER_FACTS 256u /* 4 x u32: membership classes, in the order of enum Side */
#define MARGAY_WORKER_COUNTERS 512u /* 64 x u64: packets by enum Reason */
#define MARGAY_COUNTERS 64u
enum margay_phase {
  MARGAY_PHASE_IDLE = 0, MARGAY_PHASE_INSERTING = 0x4d470001, MARGAY_PHASE_PUBLISHED = 0x4d470002,
  MARGAY_PHASE_ENDING = 0x4d470003,
};
#define MARGAY_PHASES(X) \
  X(MARGAY_PHASE_IDLE, "idle") X(MARGAY_PHASE_INSERTING, "inserting") \
  X(MARGAY_PHASE_PUBLISHED, "published") X(MARGAY_PHASE_ENDING, "ending")

/* Policy slots and interfaces */
#define MARGAY_POLICY_SLOTS 0x5000u
enum margay_slot_state {
  MARGAY_SLOT_STATE_EMPTY = 0, MARGAY_SLOT_STATE_GENERATED = 1, MARGAY_SLOT_STATE_USER = 2,
  MARGAY_SLOT_STATE_TRAPPED = 3, MARGAY_SLOT_STATE_CLASSIFIER = 4, MARGAY_SLOT_STATE_CHAIN = 5,
};
#define MARGAY_SLOT_STATES(X) \
  X(MARGAY_SLOT_STATE_EMPTY, "empty") X(MARGAY_SLOT_STATE_GENERATED, "generated") \
  X(MARGAY_SLOT_STATE_USER, "user") X(MARGAY_SLOT_STATE_TRAPPED, "trapped") \
  X(MARGAY_SLOT_STATE_CLASSIFIER, "classifier") X(MARGAY_SLOT_STATE_CHAIN, "chain")
#define MARGAY_INTERFACES 0x9000u

/* Sets: which addresses are in which sets */
#define MARGAY_SETS 0xd000u
#define MARGAY_SETS_MAX 0u /* u32 budget: bits of a bitmap */
#define MARGAY_SETS_BYTES 4u /* u32: bytes of a bitmap, a multiple of 16 */
#define MARGAY_SETS_CLASSES_MAX 8u /* u32 budget */
#define MARGAY_SETS_CLASSES 12u /* u32: address of u32[classes max + 1], by class id */
#define MARGAY_SETS_EMPTY 16u /* u32: address of class 0, in no set */
#define MARGAY_SETS_RETIRED_OPEN 20u /* u32: blocks to free once workers are quiescent */
#define MARGAY_SETS_RETIRED_CLOSED 24u
#define MARGAY_SETS_SNAPSHOT 64u /* 16 x u32: epochs when the closed list was closed */
#define MARGAY_SETS_MEMBERS4 0x100u
#define MARGAY_SETS_MEMBERS6 0x400u
#define MARGAY_MEMBERS_TABLE 0u /* u32: address of the entries */
#define MARGAY_MEMBERS_MASK 4u /* u32: entries - 1 */
#define MARGAY_MEMBERS_LIVE 8u /* u32 */
#define MARGAY_MEMBERS_MAX 12u /* u32 budget, at most half the entries */
#define MARGAY_MEMBERS_MOVES 16u /* u32 atomic: entries taken away or moved so far */
#define MARGAY_MEMBERS_PORTS 20u /* u32: how many have a port tag */
#define MARGAY_MEMBERS_LENGTHS 24u /* 3 x u64: bit = prefix length that occurs */
#define MARGAY_MEMBERS_COUNTS 64u /* 129 x u32: prefixes by length */
#define MARGAY_MEMBER_PORT 0x80000000u
enum margay_side {
  MARGAY_SIDE_SOURCE = 0, MARGAY_SIDE_DESTINATION = 1, MARGAY_SIDE_SOURCE_PORT = 2,
  MARGAY_SIDE_DESTINATION_PORT = 3,
};
#define MARGAY_SIDES(X) \
  X(MARGAY_SIDE_SOURCE, "source") X(MARGAY_SIDE_DESTINATION, "destination") \
  X(MARGAY_SIDE_SOURCE_PORT, "source-port") X(MARGAY_SIDE_DESTINATION_PORT, "destination-port")

/* Services: frontends to groups of backends, changed in place; not by generation */
#define MARGAY_SERVICES 0xe000u
#define MARGAY_SERVICES_HEADS 0u /* u32: address of u32[heads]: a frontend, 0 = none */
#define MARGAY_SERVICES_HEAD_MASK 4u /* u32: heads - 1 */
#define MARGAY_SERVICES_LIVE 8u /* u32: frontends; the budget is ROOT_SERVICES_MAX */
#define MARGAY_SERVICES_GROUPS 12u /* u32: address of u32[groups max + 1]: group, by id */
#define MARGAY_SERVICES_GROUPS_MAX 16u /* u32 budget */
#define MARGAY_SERVICES_BACKEND_STATES 20u /* u32: address of u8[backends max] */
#define MARGAY_SERVICES_BACKENDS_MAX 24u /* u32 budget of backend ids */
#define MARGAY_SERVICES_AFFINITY 28u /* u32: address of the entries */
#define MARGAY_SERVICES_AFFINITY_MASK 32u /* u32: buckets - 1 */
#define MARGAY_SERVICES_FRAGMENTS 36u /* u32: address of the entries */
#define MARGAY_SERVICES_FRAGMENTS_MASK 40u /* u32: buckets - 1 */

/* Slot blocks */
#define MARGAY_SLOT_BLOCKS 0x310000u
#define MARGAY_SLOT_COUNTERS 0x314000u
#define MARGAY_SLOT_SETS 0x318000u
#define MARGAY_ARENA 0x320000u
#define MARGAY_CHAIN_STEPS 0u
#define MARGAY_CHAIN_STEP 16u
#define MARGAY_CLASSIFIER_RULES 0u /* u32 */
#define MARGAY_CLASSIFIER_VECTOR 4u /* u32: V = 16 x ceil(rules / 128) */
#define MARGAY_CLASSIFIER_SERVICES 8u /* 256 x u32 by protocol: a dimension, 0 = no rule */
#define MARGAY_CLASSIFIER_SOURCES 12u /* likewise for source ports; 0 = all rules match */
#define MARGAY_CLASSIFIER_SOURCE 16u /* vector: rules that ask for no source set */
#define MARGAY_CLASSIFIER_DESTINATION 20u /* vector */
#define MARGAY_CLASSIFIER_SETS 24u /* open addressing, 32-byte entries */
#define MARGAY_CLASSIFIER_SET_MASK 28u /* entries - 1 */
#define MARGAY_CLASSIFIER_ACTIONS 32u /* rules x (u32 Action | next << 8, u32 verify list) */
#define MARGAY_CLASSIFIER_BYTES 36u /* u32: of the whole block */
#define MARGAY_CLASSIFIER_FAMILY4 40u /* vector: rules that may match IPv4 */
#define MARGAY_CLASSIFIER_FAMILY6 44u
#define MARGAY_CLASSIFIER_HEADER_BYTES 64u
#define MARGAY_DIMENSION_BASE 0u
#define MARGAY_DIMENSION_COUNT 4u /* u32, at least 1 */
#define MARGAY_DIMENSION_STARTS 8u /* count x u16, ascending, first 0 */
#define MARGAY_DIMENSION_DELTAS 12u /* count x (u32 offset, u32 rules | DELTA_DENSE) */
#define MARGAY_DIMENSION_BYTES 16u
#define MARGAY_DELTA_DENSE 0x80000000u
#define MARGAY_CLASSIFIER_SET_KEY 0u /* (side << 16 | set number) + 1, 0 = empty */
#define MARGAY_CLASSIFIER_SET_ADDS 8u /* u32 offset, u32 rules | DELTA_DENSE */
#define MARGAY_CLASSIFIER_SET_CLEARS 16u
#define MARGAY_CLASSIFIER_SET_BYTES 32u
#define MARGAY_CLASSIFIER_SET_HASH 0x9e3779b1u /* hash = (key x this) >> 16 */
#define MARGAY_CLASSIFIER_SIDES 5u

/* Staging */
#define MARGAY_STAGING 0x10000u
#define MARGAY_STAGING_BYTES 0x100000u

/* Frames */
#define MARGAY_FRAMES 0x110000u
#define MARGAY_FRAME_BYTES 0x20000u
#define MARGAY_FRAME_SLOTS 0u
#define MARGAY_FRAME_WINDOWS 0x2000u
#define MARGAY_FRAME_SCRATCH 0xa000u
#define MARGAY_FRAME_STAGES 0x14000u /* 256 x STAGES_BYTES: what each stage's policy said */
#define MARGAY_FRAME_VECTORS 0x18000u /* bit vectors of the classifier in hand */
#define MARGAY_FRAME_DETAILS 0x1c000u /* 256 x 64: what only some packets need */
#define MARGAY_SLOT_BYTES 32u
#define MARGAY_WINDOW_BYTES 128u
enum margay_stage {
  MARGAY_STAGE_UNTRACKED = 0, MARGAY_STAGE_PRE_DNAT = 1, MARGAY_STAGE_UNTRACKED_OUT = 2,
  MARGAY_STAGE_EGRESS = 3, MARGAY_STAGE_FORWARD_IN = 4, MARGAY_STAGE_FORWARD_OUT = 5,
  MARGAY_STAGE_INGRESS = 6, MARGAY_STAGE_STAGED_EGRESS = 7, MARGAY_STAGE_STAGED_INGRESS = 8,
};
#define MARGAY_STAGE_LIST(X) \
  X(MARGAY_STAGE_UNTRACKED, "untracked") X(MARGAY_STAGE_PRE_DNAT, "pre-dnat") \
  X(MARGAY_STAGE_UNTRACKED_OUT, "untracked-out") X(MARGAY_STAGE_EGRESS, "egress") \
  X(MARGAY_STAGE_FORWARD_IN, "forward-in") X(MARGAY_STAGE_FORWARD_OUT, "forward-out") \
  X(MARGAY_STAGE_INGRESS, "ingress") X(MARGAY_STAGE_STAGED_EGRESS, "staged-egress") \
  X(MARGAY_STAGE_STAGED_INGRESS, "staged-ingress")
#define MARGAY_STAGES 9u
#define MARGAY_STAGES_BYTES 64u
#define MARGAY_SLOT_INTERFACE 0u /* in, u32 */
#define MARGAY_SLOT_PACKET_LENGTH 4u /* in, u32: bytes from the L3 header to the packet's end */
#define MARGAY_SLOT_WINDOW_LENGTH 8u /* in, u16: bytes of the window that are valid */
#define MARGAY_SLOT_PEER 8u /* out, u16, with Rewritten.ToPeer: the node to pass it on to */
#define MARGAY_SLOT_FLAGS 10u /* in, u8, enum SlotFlag */
#define MARGAY_SLOT_HOOK 11u /* in, u8, enum SlotHook */
#define MARGAY_SLOT_VERDICT 12u /* out, u8, enum Verdict */
#define MARGAY_SLOT_REASON 13u /* out, u8, enum Reason */
#define MARGAY_SLOT_REWRITTEN 14u /* out, u8, bits of enum Rewritten */
#define MARGAY_SLOT_DIRECTION 15u /* out, u8: 0 forward, 1 return */
#define MARGAY_SLOT_RULE 16u /* out, u32: policy slot << 16 | rule index; 0 = no rule */
#define MARGAY_SLOT_SESSION 20u /* out, u32: address of the session record, 0 = none */
#define MARGAY_SLOT_BACKEND 24u /* out, u32: backend id + 1, 0 = no service */
#define MARGAY_SLOT_NEW_LENGTH 28u /* out, u32: packet length from the L3 header */
enum margay_slot_hook {
  MARGAY_SLOT_HOOK_ENTERING = 0, MARGAY_SLOT_HOOK_LEAVING = 1, MARGAY_SLOT_HOOK_COPIED = 2,
};
#define MARGAY_SLOT_HOOKS(X) \
  X(MARGAY_SLOT_HOOK_ENTERING, "entering") X(MARGAY_SLOT_HOOK_LEAVING, "leaving") \
  X(MARGAY_SLOT_HOOK_COPIED, "copied")
enum margay_slot_flag {
  MARGAY_SLOT_FLAG_PARTIAL_CHECKSUM = 1, MARGAY_SLOT_FLAG_GSO = 2, MARGAY_SLOT_FLAG_CHAINED = 4,
  MARGAY_SLOT_FLAG_CHECKED = 8,
};
#define MARGAY_SLOT_FLAG_LIST(X) \
  X(MARGAY_SLOT_FLAG_PARTIAL_CHECKSUM, "partial-checksum") X(MARGAY_SLOT_FLAG_GSO, "gso") \
  X(MARGAY_SLOT_FLAG_CHAINED, "chained") X(MARGAY_SLOT_FLAG_CHECKED, "checked")
enum margay_verdict {
  MARGAY_VERDICT_NONE = 0, MARGAY_VERDICT_PASS = 1, MARGAY_VERDICT_DROP = 2,
  MARGAY_VERDICT_REPLY = 3,
};
#define MARGAY_VERDICTS(X) \
  X(MARGAY_VERDICT_NONE, "none") X(MARGAY_VERDICT_PASS, "pass") X(MARGAY_VERDICT_DROP, "drop") \
  X(MARGAY_VERDICT_REPLY, "reply")
enum margay_reason {
  MARGAY_REASON_NONE = 0, MARGAY_REASON_ESTABLISHED = 1, MARGAY_REASON_ALLOWED = 2,
  MARGAY_REASON_NO_GENERATION = 3, MARGAY_REASON_UNKNOWN_ENDPOINT = 4,
  MARGAY_REASON_SPOOFED_SOURCE = 5, MARGAY_REASON_POLICY_DENIED = 6,
  MARGAY_REASON_POLICY_TRAPPED = 7, MARGAY_REASON_CORE_TRAPPED = 8,
  MARGAY_REASON_HEADERS_TOO_LONG = 9, MARGAY_REASON_TRUNCATED = 10, MARGAY_REASON_BAD_VERSION = 11,
  MARGAY_REASON_BAD_HEADER_LENGTH = 12, MARGAY_REASON_BAD_TOTAL_LENGTH = 13,
  MARGAY_REASON_BAD_CHECKSUM = 14, MARGAY_REASON_TIME_EXPIRED = 15,
  MARGAY_REASON_LATER_FRAGMENT = 16, MARGAY_REASON_TINY_FRAGMENT = 17,
  MARGAY_REASON_EXTENSION_HEADER = 18, MARGAY_REASON_ROUTING_HEADER = 19,
  MARGAY_REASON_BAD_TCP_FLAGS = 20, MARGAY_REASON_NO_BACKEND = 21, MARGAY_REASON_NO_SESSION = 22,
  MARGAY_REASON_SESSION_TABLE_FULL = 23, MARGAY_REASON_TUPLE_COLLISION = 24,
  MARGAY_REASON_ENDPOINT_MISMATCH = 25, MARGAY_REASON_MAPPED_ADDRESS = 26,
  MARGAY_REASON_ENDPOINT_INACTIVE = 27, MARGAY_REASON_ENCAP_FROM_WORKLOAD = 28,
  MARGAY_REASON_ENCAP_FROM_UNKNOWN_HOST = 29, MARGAY_REASON_ENDPOINT_TO_HOST = 30,
  MARGAY_REASON_UNKNOWN_SERVICE_PORT = 31, MARGAY_REASON_UNKNOWN_SERVICE_ADDRESS = 32,
  MARGAY_REASON_SOURCE_RANGE = 33, MARGAY_REASON_NAT_PORTS_EXHAUSTED = 34,
  MARGAY_REASON_NO_NAT_ADDRESS = 35, MARGAY_REASON_SCTP_FRAGMENT = 36, MARGAY_REASON_UNTRACKED = 37,
  MARGAY_REASON_NEIGHBOUR_DISCOVERY = 38, MARGAY_REASON_RELATED = 39, MARGAY_REASON_FRAGMENT = 40,
  MARGAY_REASON_FORWARDED = 41,
};
#define MARGAY_REASONS(X) \
  X(MARGAY_REASON_NONE, "none") X(MARGAY_REASON_ESTABLISHED, "established") \
  X(MARGAY_REASON_ALLOWED, "allowed") X(MARGAY_REASON_NO_GENERATION, "no-generation") \
  X(MARGAY_REASON_UNKNOWN_ENDPOINT, "unknown-endpoint") \
  X(MARGAY_REASON_SPOOFED_SOURCE, "spoofed-source") \
  X(MARGAY_REASON_POLICY_DENIED, "policy-denied") \
  X(MARGAY_REASON_POLICY_TRAPPED, "policy-trapped") X(MARGAY_REASON_CORE_TRAPPED, "core-trapped") \
  X(MARGAY_REASON_HEADERS_TOO_LONG, "headers-too-long") X(MARGAY_REASON_TRUNCATED, "truncated") \
  X(MARGAY_REASON_BAD_VERSION, "bad-version") \
  X(MARGAY_REASON_BAD_HEADER_LENGTH, "bad-header-length") \
  X(MARGAY_REASON_BAD_TOTAL_LENGTH, "bad-total-length") \
  X(MARGAY_REASON_BAD_CHECKSUM, "bad-checksum") X(MARGAY_REASON_TIME_EXPIRED, "time-expired") \
  X(MARGAY_REASON_LATER_FRAGMENT, "later-fragment") \
  X(MARGAY_REASON_TINY_FRAGMENT, "tiny-fragment") \
  X(MARGAY_REASON_EXTENSION_HEADER, "extension-header") \
  X(MARGAY_REASON_ROUTING_HEADER, "routing-header") \
  X(MARGAY_REASON_BAD_TCP_FLAGS, "bad-tcp-flags") X(MARGAY_REASON_NO_BACKEND, "no-backend") \
  X(MARGAY_REASON_NO_SESSION, "no-session") \
  X(MARGAY_REASON_SESSION_TABLE_FULL, "session-table-full") \
  X(MARGAY_REASON_TUPLE_COLLISION, "tuple-collision") \
  X(MARGAY_REASON_ENDPOINT_MISMATCH, "endpoint-mismatch") \
  X(MARGAY_REASON_MAPPED_ADDRESS, "mapped-address") \
  X(MARGAY_REASON_ENDPOINT_INACTIVE, "endpoint-inactive") \
  X(MARGAY_REASON_ENCAP_FROM_WORKLOAD, "encap-from-workload") \
  X(MARGAY_REASON_ENCAP_FROM_UNKNOWN_HOST, "encap-from-unknown-host") \
  X(MARGAY_REASON_ENDPOINT_TO_HOST, "endpoint-to-host") \
  X(MARGAY_REASON_UNKNOWN_SERVICE_PORT, "unknown-service-port") \
  X(MARGAY_REASON_UNKNOWN_SERVICE_ADDRESS, "unknown-service-address") \
  X(MARGAY_REASON_SOURCE_RANGE, "source-range") \
  X(MARGAY_REASON_NAT_PORTS_EXHAUSTED, "nat-ports-exhausted") \
  X(MARGAY_REASON_NO_NAT_ADDRESS, "no-nat-address") \
  X(MARGAY_REASON_SCTP_FRAGMENT, "sctp-fragment") X(MARGAY_REASON_UNTRACKED, "untracked") \
  X(MARGAY_REASON_NEIGHBOUR_DISCOVERY, "neighbour-discovery") X(MARGAY_REASON_RELATED, "related") \
  X(MARGAY_REASON_FRAGMENT, "fragment") X(MARGAY_REASON_FORWARDED, "forwarded")

/* Policy ABI */
enum margay_action {
  MARGAY_ACTION_NO_MATCH = 0, MARGAY_ACTION_ALLOW = 1, MARGAY_ACTION_DENY = 2,
  MARGAY_ACTION_PASS = 3,
};
#define MARGAY_ACTIONS(X) \
  X(MARGAY_ACTION_NO_MATCH, "no-match") X(MARGAY_ACTION_ALLOW, "allow") \
  X(MARGAY_ACTION_DENY, "deny") X(MARGAY_ACTION_PASS, "pass")

/* Stage records */
#define MARGAY_RECORD_HEADER_BYTES 8u
enum margay_record_kind {
  MARGAY_RECORD_KIND_CONFIGURE = 1, MARGAY_RECORD_KIND_BIND = 2, MARGAY_RECORD_KIND_MODULE = 3,
  MARGAY_RECORD_KIND_BEGIN = 4, MARGAY_RECORD_KIND_ENDPOINTS = 5, MARGAY_RECORD_KIND_ENDPOINT = 6,
  MARGAY_RECORD_KIND_ADDRESS = 7, MARGAY_RECORD_KIND_GROUP = 8, MARGAY_RECORD_KIND_FRONTEND = 9,
  MARGAY_RECORD_KIND_ABANDON = 10, MARGAY_RECORD_KIND_ROUTE = 11, MARGAY_RECORD_KIND_CLASS = 12,
  MARGAY_RECORD_KIND_CLASS_REMOVE = 13, MARGAY_RECORD_KIND_MEMBERS = 14,
  MARGAY_RECORD_KIND_CLASSIFIER = 15, MARGAY_RECORD_KIND_CLASSIFIER_PART = 16,
  MARGAY_RECORD_KIND_CHAIN = 17, MARGAY_RECORD_KIND_COUNTERS = 18,
  MARGAY_RECORD_KIND_SLOT_SETS = 19, MARGAY_RECORD_KIND_GROUP_REMOVE = 20,
  MARGAY_RECORD_KIND_FRONTEND_REMOVE = 21, MARGAY_RECORD_KIND_BACKEND_STATES = 22,
};
#define MARGAY_RECORD_KINDS(X) \
  X(MARGAY_RECORD_KIND_CONFIGURE, "configure") X(MARGAY_RECORD_KIND_BIND, "bind") \
  X(MARGAY_RECORD_KIND_MODULE, "module") X(MARGAY_RECORD_KIND_BEGIN, "begin") \
  X(MARGAY_RECORD_KIND_ENDPOINTS, "endpoints") X(MARGAY_RECORD_KIND_ENDPOINT, "endpoint") \
  X(MARGAY_RECORD_KIND_ADDRESS, "address") X(MARGAY_RECORD_KIND_GROUP, "group") \
  X(MARGAY_RECORD_KIND_FRONTEND, "frontend") X(MARGAY_RECORD_KIND_ABANDON, "abandon") \
  X(MARGAY_RECORD_KIND_ROUTE, "route") X(MARGAY_RECORD_KIND_CLASS, "class") \
  X(MARGAY_RECORD_KIND_CLASS_REMOVE, "class-remove") X(MARGAY_RECORD_KIND_MEMBERS, "members") \
  X(MARGAY_RECORD_KIND_CLASSIFIER, "classifier") \
  X(MARGAY_RECORD_KIND_CLASSIFIER_PART, "classifier-part") X(MARGAY_RECORD_KIND_CHAIN, "chain") \
  X(MARGAY_RECORD_KIND_COUNTERS, "counters") X(MARGAY_RECORD_KIND_SLOT_SETS, "slot-sets") \
  X(MARGAY_RECORD_KIND_GROUP_REMOVE, "group-remove") \
  X(MARGAY_RECORD_KIND_FRONTEND_REMOVE, "frontend-remove") \
  X(MARGAY_RECORD_KIND_BACKEND_STATES, "backend-states")
#define MARGAY_CONFIGURE_WORKERS 0u /* u32 */
#define MARGAY_CONFIGURE_SESSIONS4_MAX 4u /* u32 */
#define MARGAY_CONFIGURE_SESSIONS6_MAX 8u /* u32 */
#define MARGAY_CONFIGURE_ENDPOINTS_MAX 12u /* u32 */
#define MARGAY_CONFIGURE_SERVICES_MAX 16u /* u32 */
#define MARGAY_CONFIGURE_MEMORY_BYTES 20u /* u32, 0 = 4 GiB */
#define MARGAY_CONFIGURE_SEED0 24u /* u64 */
#define MARGAY_CONFIGURE_SEED1 32u /* u64 */
#define MARGAY_CONFIGURE_MAGLEV_SEED 40u /* u64 */
#define MARGAY_CONFIGURE_TIMEOUTS 48u /* 6 x u32, ms */
#define MARGAY_CONFIGURE_SETS_MAX 72u /* u32, 0 = 1,024 */
#define MARGAY_CONFIGURE_CLASSES_MAX 76u /* u32, 0 = 4,096 */
#define MARGAY_CONFIGURE_MEMBERS4_MAX 80u /* u32, 0 = 65,536 */
#define MARGAY_CONFIGURE_MEMBERS6_MAX 84u /* u32, 0 = 16,384 */
#define MARGAY_CONFIGURE_GROUPS_MAX 88u /* u32, 0 = as many as frontends, at least 64 */
#define MARGAY_CONFIGURE_BACKENDS_MAX 92u /* u32: ids; 0 = 65,536 */
#define MARGAY_CONFIGURE_AFFINITY_MAX 96u /* u32: clients that are remembered; 0 = 4,096 */
#define MARGAY_CONFIGURE_FRAGMENTS_MAX 100u /* u32: packets in fragments; 0 = 1,024 */
#define MARGAY_CONFIGURE_BYTES 104u
#define MARGAY_BIND_INTERFACE 0u
#define MARGAY_BIND_ENDPOINT 4u
#define MARGAY_BIND_BYTES 8u
#define MARGAY_MODULE_SLOT 0u
#define MARGAY_MODULE_KIND 4u
#define MARGAY_MODULE_CODE 8u
#define MARGAY_BEGIN_GENERATION 0u
#define MARGAY_BEGIN_BYTES 8u
#define MARGAY_ENDPOINTS_CAPACITY 0u /* u32: highest index + 1 */
#define MARGAY_ENDPOINTS_ADDRESSES 4u /* u32: how many addresses may follow */
#define MARGAY_ENDPOINTS_ROUTES 8u /* u32: how many routes may follow */
#define MARGAY_ENDPOINTS_FLAGS 12u /* u32, enum GenerationFlag; Untracked is the core's own */
#define MARGAY_ENDPOINTS_VXLAN_PORT 16u /* u16 */
#define MARGAY_ENDPOINTS_VXLAN_HOSTS 18u /* u16: set number + 1 */
#define MARGAY_ENDPOINTS_IPIP_HOSTS 20u /* u16 */
#define MARGAY_ENDPOINTS_PODS 22u /* u16 */
#define MARGAY_ENDPOINTS_NAT_SOURCES 24u /* u16 */
#define MARGAY_ENDPOINTS_NAT_EXCLUDED 26u /* u16 */
#define MARGAY_ENDPOINTS_SERVICE_NETWORKS 28u /* u16 */
#define MARGAY_ENDPOINTS_SNAT_FIRST 30u /* u16: ports that SNAT hands out; 0 = 32,768 */
#define MARGAY_ENDPOINTS_SNAT_LAST 32u /* u16; 0 = 65,535 */
#define MARGAY_ENDPOINTS_SNAT4 36u /* the node's address, wire order; 0 = none */
#define MARGAY_ENDPOINTS_SNAT6 40u /* 16 bytes; zeros = none */
#define MARGAY_ENDPOINTS_BYTES 56u
#define MARGAY_ENDPOINT_INDEX 0u /* u32 */
#define MARGAY_ENDPOINT_INCARNATION 4u /* u16 */
#define MARGAY_ENDPOINT_KIND 6u /* u8, enum EndpointKind */
#define MARGAY_ENDPOINT_FLAGS 7u /* u8, enum EndpointFlag */
#define MARGAY_ENDPOINT_HOOKS 8u /* 9 x u16 in the order of enum Hook: policy slots, 0 = none */
#define MARGAY_ENDPOINT_ALLOWED_SOURCES 26u /* u16: set number + 1 */
#define MARGAY_ENDPOINT_ADDRESS4 28u /* 4 bytes, wire order; 0 = none */
#define MARGAY_ENDPOINT_ADDRESS6 32u /* 16 bytes, wire order; 0 = none */
#define MARGAY_ENDPOINT_BYTES 48u
enum margay_endpoint_flag {
  MARGAY_ENDPOINT_FLAG_INACTIVE = 1, MARGAY_ENDPOINT_FLAG_PEER = 2,
};
#define MARGAY_ENDPOINT_FLAG_LIST(X) \
  X(MARGAY_ENDPOINT_FLAG_INACTIVE, "inactive") X(MARGAY_ENDPOINT_FLAG_PEER, "peer")
enum margay_endpoint_kind {
  MARGAY_ENDPOINT_KIND_UNUSED = 0, MARGAY_ENDPOINT_KIND_WORKLOAD = 1,
  MARGAY_ENDPOINT_KIND_UPLINK = 2, MARGAY_ENDPOINT_KIND_HOST = 3,
};
#define MARGAY_ENDPOINT_KINDS(X) \
  X(MARGAY_ENDPOINT_KIND_UNUSED, "unused") X(MARGAY_ENDPOINT_KIND_WORKLOAD, "workload") \
  X(MARGAY_ENDPOINT_KIND_UPLINK, "uplink") X(MARGAY_ENDPOINT_KIND_HOST, "host")
enum margay_hook {
  MARGAY_HOOK_EGRESS = 0, MARGAY_HOOK_INGRESS = 1, MARGAY_HOOK_STAGED_EGRESS = 2,
  MARGAY_HOOK_STAGED_INGRESS = 3, MARGAY_HOOK_FORWARD_EGRESS = 4, MARGAY_HOOK_FORWARD_INGRESS = 5,
  MARGAY_HOOK_UNTRACKED_EGRESS = 6, MARGAY_HOOK_UNTRACKED_INGRESS = 7, MARGAY_HOOK_PRE_DNAT = 8,
};
#define MARGAY_HOOK_LIST(X) \
  X(MARGAY_HOOK_EGRESS, "egress") X(MARGAY_HOOK_INGRESS, "ingress") \
  X(MARGAY_HOOK_STAGED_EGRESS, "staged-egress") X(MARGAY_HOOK_STAGED_INGRESS, "staged-ingress") \
  X(MARGAY_HOOK_FORWARD_EGRESS, "forward-egress") \
  X(MARGAY_HOOK_FORWARD_INGRESS, "forward-ingress") \
  X(MARGAY_HOOK_UNTRACKED_EGRESS, "untracked-egress") \
  X(MARGAY_HOOK_UNTRACKED_INGRESS, "untracked-ingress") X(MARGAY_HOOK_PRE_DNAT, "pre-dnat")
#define MARGAY_HOOKS 9u
#define MARGAY_ADDRESS_ADDRESS 0u /* 16 bytes */
#define MARGAY_ADDRESS_ENDPOINT 16u /* u32 */
#define MARGAY_ADDRESS_BYTES 24u
#define MARGAY_ROUTE_NETWORK 0u /* 16 bytes */
#define MARGAY_ROUTE_LENGTH 16u /* u32, 0 to 128 */
#define MARGAY_ROUTE_ENDPOINT 20u /* u32: index of an uplink */
#define MARGAY_ROUTE_BYTES 24u
#define MARGAY_CLASS_ID 0u /* u32, 1 to the budget; unused so far, or just the same */
#define MARGAY_CLASS_COUNT 4u /* u32 */
#define MARGAY_CLASS_SETS 8u /* count x u16, ascending, each below the sets' budget */
#define MARGAY_CLASS_REMOVE_BYTES 8u /* u32 id */
#define MARGAY_MEMBERS_FAMILY 0u /* u32, 4 or 6 */
#define MARGAY_MEMBERS_COUNT 4u /* u32 */
#define MARGAY_MEMBERS_FIRST 8u /* entries: address (4 or 16 bytes), u32 tag, u32 class id */
#define MARGAY_MEMBER4_BYTES 12u /* class id 0 takes the entry away */
#define MARGAY_MEMBER6_BYTES 24u
#define MARGAY_CLASSIFIER_SLOT 0u /* u32 */
#define MARGAY_CLASSIFIER_TOTAL 4u /* u32: bytes that the parts bring, in order */
#define MARGAY_CLASSIFIER_RECORD_BYTES 8u
#define MARGAY_PART_SLOT 0u /* u32 */
#define MARGAY_PART_OFFSET 4u /* u32 */
#define MARGAY_PART_CODE 8u
#define MARGAY_CHAIN_SLOT 0u /* u32 */
#define MARGAY_CHAIN_COUNT 4u /* u32 */
#define MARGAY_CHAIN_FIRST 8u /* count x (u16 slot, u16 step after a pass, > its own) */
#define MARGAY_COUNTERS_SLOT 0u /* u32: of an admitted slot */
#define MARGAY_COUNTERS_RULES 4u /* u32: hits of rules 0 to this, the last for beyond */
#define MARGAY_COUNTERS_BYTES 8u
#define MARGAY_SLOT_SETS_SLOT 0u /* u32 */
#define MARGAY_SLOT_SETS_COUNT 4u /* u32 */
#define MARGAY_SLOT_SETS_FIRST 8u /* count x u16: set numbers, by the module's own */
#define MARGAY_GROUP_ID 0u /* u32, 1 to the budget; unused so far */
#define MARGAY_GROUP_SLOTS 4u /* u32: slots of the Maglev table, 0 = by size class */
#define MARGAY_GROUP_COUNT 8u /* u32: backends */
#define MARGAY_GROUP_FLAGS 12u /* u32, enum GroupFlag */
#define MARGAY_GROUP_BACKEND 16u /* first backend */
enum margay_group_flag {
  MARGAY_GROUP_FLAG_CLASSIC = 1,
};
#define MARGAY_GROUP_FLAG_LIST(X) \
  X(MARGAY_GROUP_FLAG_CLASSIC, "classic")
#define MARGAY_BACKEND_ADDRESS 0u /* 16 bytes */
#define MARGAY_BACKEND_PORT 16u /* u16, host order */
#define MARGAY_BACKEND_WEIGHT 18u /* u16, 0 = 1 */
#define MARGAY_BACKEND_ID 20u /* u32, below the budget: for reports and BackendStates */
#define MARGAY_BACKEND_PEER 24u /* u16: number of the node that it is on, 0 = here or routed */
#define MARGAY_BACKEND_OFFSET 28u /* u32: of a classic permutation, below the slots */
#define MARGAY_BACKEND_SKIP 32u /* u32: likewise, 1 to slots - 1 */
#define MARGAY_BACKEND_BYTES 40u
#define MARGAY_GROUP_REMOVE_BYTES 8u /* u32 id */
#define MARGAY_FRONTEND_ADDRESS 0u /* 16 bytes (IPv4 as ::ffff:a.b.c.d) */
#define MARGAY_FRONTEND_PORT 16u /* u16, host order */
#define MARGAY_FRONTEND_PROTOCOL 18u /* u8 */
#define MARGAY_FRONTEND_FLAGS 20u /* u32, enum FrontendFlag */
#define MARGAY_FRONTEND_INTERNAL 24u /* u32: group for clients inside, 0 = none */
#define MARGAY_FRONTEND_EXTERNAL 28u /* u32: group for clients outside where Local */
#define MARGAY_FRONTEND_PREVIOUS_INTERNAL 32u /* u32: the group before, 0 = none */
#define MARGAY_FRONTEND_PREVIOUS_EXTERNAL 36u /* u32 */
#define MARGAY_FRONTEND_RANGES 40u /* u16: set number + 1 of the sources let in, 0 = all */
#define MARGAY_FRONTEND_AFFINITY 44u /* u32: seconds a client keeps its backend, 0 = none */
#define MARGAY_FRONTEND_SERVICE 48u /* u32: the Service port; affinity is by it */
#define MARGAY_FRONTEND_BYTES 56u
#define MARGAY_FRONTEND_REMOVE_BYTES 24u /* address, port, protocol as above */
enum margay_frontend_flag {
  MARGAY_FRONTEND_FLAG_EXTERNAL = 1, MARGAY_FRONTEND_FLAG_LOCAL = 2,
  MARGAY_FRONTEND_FLAG_REJECT_INTERNAL = 4, MARGAY_FRONTEND_FLAG_REJECT_EXTERNAL = 8,
  MARGAY_FRONTEND_FLAG_DSR = 16, MARGAY_FRONTEND_FLAG_HASHWORD = 32,
  MARGAY_FRONTEND_FLAG_ADDRESS_AS_SOURCE = 64, MARGAY_FRONTEND_FLAG_KEEP_SOURCE = 128,
};
#define MARGAY_FRONTEND_FLAG_LIST(X) \
  X(MARGAY_FRONTEND_FLAG_EXTERNAL, "external") X(MARGAY_FRONTEND_FLAG_LOCAL, "local") \
  X(MARGAY_FRONTEND_FLAG_REJECT_INTERNAL, "reject-internal") \
  X(MARGAY_FRONTEND_FLAG_REJECT_EXTERNAL, "reject-external") X(MARGAY_FRONTEND_FLAG_DSR, "dsr") \
  X(MARGAY_FRONTEND_FLAG_HASHWORD, "hashword") \
  X(MARGAY_FRONTEND_FLAG_ADDRESS_AS_SOURCE, "address-as-source") \
  X(MARGAY_FRONTEND_FLAG_KEEP_SOURCE, "keep-source")
#define MARGAY_STATES_COUNT 0u /* u32 */
#define MARGAY_STATES_FIRST 8u /* count x (u32 id, u32 enum BackendState) */
enum margay_backend_state {
  MARGAY_BACKEND_STATE_SERVING = 0, MARGAY_BACKEND_STATE_GONE = 1,
};
#define MARGAY_BACKEND_STATES(X) \
  X(MARGAY_BACKEND_STATE_SERVING, "serving") X(MARGAY_BACKEND_STATE_GONE, "gone")
enum margay_stage_error {
  MARGAY_STAGE_ERROR_NONE = 0, MARGAY_STAGE_ERROR_ALREADY_CONFIGURED = 1,
  MARGAY_STAGE_ERROR_NOT_CONFIGURED = 2, MARGAY_STAGE_ERROR_MEMORY_TOO_SMALL = 3,
  MARGAY_STAGE_ERROR_TRUNCATED_RECORD = 4, MARGAY_STAGE_ERROR_UNKNOWN_RECORD = 5,
  MARGAY_STAGE_ERROR_BAD_RECORD_LENGTH = 6, MARGAY_STAGE_ERROR_FIELD_OUT_OF_RANGE = 7,
  MARGAY_STAGE_ERROR_NOTHING_STAGED = 8, MARGAY_STAGE_ERROR_STAGING_IN_PROGRESS = 9,
  MARGAY_STAGE_ERROR_BAD_GENERATION = 10, MARGAY_STAGE_ERROR_GENERATION_BUSY = 11,
  MARGAY_STAGE_ERROR_TABLE_NOT_STARTED = 12, MARGAY_STAGE_ERROR_TABLE_FULL = 13,
  MARGAY_STAGE_ERROR_ARENA_FULL = 14, MARGAY_STAGE_ERROR_DUPLICATE_ADDRESS = 15,
  MARGAY_STAGE_ERROR_GROUP_IN_USE = 16, MARGAY_STAGE_ERROR_UNKNOWN_GROUP = 17,
  MARGAY_STAGE_ERROR_SLOT_IN_USE = 18, MARGAY_STAGE_ERROR_SLOT_NOT_ADMITTED = 19,
  MARGAY_STAGE_ERROR_WRONG_FAMILY = 20, MARGAY_STAGE_ERROR_CLASS_IN_USE = 21,
  MARGAY_STAGE_ERROR_UNKNOWN_CLASS = 22, MARGAY_STAGE_ERROR_BAD_CLASSIFIER = 23,
  MARGAY_STAGE_ERROR_BAD_CHAIN = 24, MARGAY_STAGE_ERROR_DUPLICATE_ROUTE = 25,
  MARGAY_STAGE_ERROR_MODULE_TOO_LARGE = 26, MARGAY_STAGE_ERROR_MODULE_MALFORMED = 27,
  MARGAY_STAGE_ERROR_MODULE_FOREIGN_IMPORT = 28, MARGAY_STAGE_ERROR_MODULE_NO_ABI_VERSION = 29,
  MARGAY_STAGE_ERROR_MODULE_WRONG_ABI_VERSION = 30, MARGAY_STAGE_ERROR_MODULE_NO_EVALUATE = 31,
  MARGAY_STAGE_ERROR_MODULE_LOOP = 32, MARGAY_STAGE_ERROR_MODULE_RECURSION = 33,
  MARGAY_STAGE_ERROR_MODULE_INDIRECT_CALL = 34, MARGAY_STAGE_ERROR_MODULE_BULK_MEMORY = 35,
  MARGAY_STAGE_ERROR_MODULE_FORBIDDEN_SECTION = 36,
  MARGAY_STAGE_ERROR_MODULE_FORBIDDEN_INSTRUCTION = 37, MARGAY_STAGE_ERROR_MODULE_TOO_COSTLY = 38,
  MARGAY_STAGE_ERROR_MODULE_TOO_MANY_FUNCTIONS = 39,
};
#define MARGAY_STAGE_ERRORS(X) \
  X(MARGAY_STAGE_ERROR_NONE, "none") \
  X(MARGAY_STAGE_ERROR_ALREADY_CONFIGURED, "already-configured") \
  X(MARGAY_STAGE_ERROR_NOT_CONFIGURED, "not-configured") \
  X(MARGAY_STAGE_ERROR_MEMORY_TOO_SMALL, "memory-too-small") \
  X(MARGAY_STAGE_ERROR_TRUNCATED_RECORD, "truncated-record") \
  X(MARGAY_STAGE_ERROR_UNKNOWN_RECORD, "unknown-record") \
  X(MARGAY_STAGE_ERROR_BAD_RECORD_LENGTH, "bad-record-length") \
  X(MARGAY_STAGE_ERROR_FIELD_OUT_OF_RANGE, "field-out-of-range") \
  X(MARGAY_STAGE_ERROR_NOTHING_STAGED, "nothing-staged") \
  X(MARGAY_STAGE_ERROR_STAGING_IN_PROGRESS, "staging-in-progress") \
  X(MARGAY_STAGE_ERROR_BAD_GENERATION, "bad-generation") \
  X(MARGAY_STAGE_ERROR_GENERATION_BUSY, "generation-busy") \
  X(MARGAY_STAGE_ERROR_TABLE_NOT_STARTED, "table-not-started") \
  X(MARGAY_STAGE_ERROR_TABLE_FULL, "table-full") X(MARGAY_STAGE_ERROR_ARENA_FULL, "arena-full") \
  X(MARGAY_STAGE_ERROR_DUPLICATE_ADDRESS, "duplicate-address") \
  X(MARGAY_STAGE_ERROR_GROUP_IN_USE, "group-in-use") \
  X(MARGAY_STAGE_ERROR_UNKNOWN_GROUP, "unknown-group") \
  X(MARGAY_STAGE_ERROR_SLOT_IN_USE, "slot-in-use") \
  X(MARGAY_STAGE_ERROR_SLOT_NOT_ADMITTED, "slot-not-admitted") \
  X(MARGAY_STAGE_ERROR_WRONG_FAMILY, "wrong-family") \
  X(MARGAY_STAGE_ERROR_CLASS_IN_USE, "class-in-use") \
  X(MARGAY_STAGE_ERROR_UNKNOWN_CLASS, "unknown-class") \
  X(MARGAY_STAGE_ERROR_BAD_CLASSIFIER, "bad-classifier") \
  X(MARGAY_STAGE_ERROR_BAD_CHAIN, "bad-chain") \
  X(MARGAY_STAGE_ERROR_DUPLICATE_ROUTE, "duplicate-route") \
  X(MARGAY_STAGE_ERROR_MODULE_TOO_LARGE, "module-too-large") \
  X(MARGAY_STAGE_ERROR_MODULE_MALFORMED, "module-malformed") \
  X(MARGAY_STAGE_ERROR_MODULE_FOREIGN_IMPORT, "module-foreign-import") \
  X(MARGAY_STAGE_ERROR_MODULE_NO_ABI_VERSION, "module-no-abi-version") \
  X(MARGAY_STAGE_ERROR_MODULE_WRONG_ABI_VERSION, "module-wrong-abi-version") \
  X(MARGAY_STAGE_ERROR_MODULE_NO_EVALUATE, "module-no-evaluate") \
  X(MARGAY_STAGE_ERROR_MODULE_LOOP, "module-loop") \
  X(MARGAY_STAGE_ERROR_MODULE_RECURSION, "module-recursion") \
  X(MARGAY_STAGE_ERROR_MODULE_INDIRECT_CALL, "module-indirect-call") \
  X(MARGAY_STAGE_ERROR_MODULE_BULK_MEMORY, "module-bulk-memory") \
  X(MARGAY_STAGE_ERROR_MODULE_FORBIDDEN_SECTION, "module-forbidden-section") \
  X(MARGAY_STAGE_ERROR_MODULE_FORBIDDEN_INSTRUCTION, "module-forbidden-instruction") \
  X(MARGAY_STAGE_ERROR_MODULE_TOO_COSTLY, "module-too-costly") \
  X(MARGAY_STAGE_ERROR_MODULE_TOO_MANY_FUNCTIONS, "module-too-many-functions")

#endif
