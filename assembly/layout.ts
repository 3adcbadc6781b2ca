// The memory layout and the ABI of the packet program: every number that the program and its hosts
// share. This file alone defines them: asc compiles it into the core, the TypeScript hosts import
// it as it stands, and native/layout.h is printed from it (npm run layout; a test fails where the
// header is stale). Only constants and enums live here (plain ones where hosts print names).
// Offsets and sizes are in bytes, little-endian; addresses and ports in packets and keys keep their
// wire order.
//
//   0x000000  unused: a null pointer must not hit a table
//   0x000100  Root             budgets, seeds, timeouts, table bases, the last staging error
//   0x000400  Generations      a ring of 4: which tables a generation uses
//   0x001000  Workers          16 x 1 KiB: epoch, journal, limbo lists, counters by reason
//   0x005000  Policy slots     4,096 x u32: state of the function-table entry of that number
//   0x009000  Interfaces       4,096 x u32: endpoint index + 1 of an interface, 0 = unknown
//   0x00d000  Sets             membership: budgets, classes, member tables of both families
//   0x00e000  Services         frontends, groups of backends, client affinity, fragments
//   0x010000  Staging buffer   1 MiB: the host writes records here, then calls stage(length)
//   0x110000  Frames           16 x 128 KiB: slots, header windows, working records of a worker
//   0x310000  Slot blocks      4,096 x u32: block of a Classifier or a Chain
//   0x314000  Slot counters    4,096 x u32: block of u64 hits, by rule
//   0x318000  Slot sets        4,096 x u32: block of the set numbers that a user's module names
//   0x320000  Arena            session tables, members, then what generations allocate, to the end

export * from "./formats"; // stage records and the errors of staging

/** Version of this layout; a checkpoint or a host with another one is refused by name. */
export const LAYOUT_VERSION: u32 = 3;
/** "MGAY", the first word of the root record. */
export const MAGIC: u32 = 0x5941474d;

export const WORKERS_MAX: u32 = 16;
export const FRAME_PACKETS_MAX: u32 = 256;
export const POLICY_SLOTS_MAX: u32 = 4096;
export const INTERFACES_MAX: u32 = 4096;
export const ENDPOINTS_MAX: u32 = 65535;
export const BACKENDS_MAX: u32 = 65535; // of one group
export const BACKEND_IDS_MAX: u32 = 1048576;
export const PEERS_MAX: u32 = 65535;
export const GENERATIONS: u32 = 4;
export const ROUTES_MAX: u32 = 65535;
export const CLASSIFIER_RULES_MAX: u32 = 16384;
export const CHAIN_STEPS_MAX: u32 = 1024;
export const MODULE_BYTES_MAX: u32 = 65536;
/** No endpoint: the packet leaves the node, or comes from beyond it. */
export const NO_ENDPOINT: u32 = 0xffffffff;

// ---- Root ---------------------------------------------------------------------------------------
export const ROOT: usize = 0x100;
export const ROOT_MAGIC: usize = 0;
export const ROOT_LAYOUT_VERSION: usize = 4;
export const ROOT_MEMORY_BYTES: usize = 8; // u32, 0 stands for 4 GiB
export const ROOT_WORKERS: usize = 12;
export const ROOT_SEED0: usize = 16; // u64: session hash
export const ROOT_SEED1: usize = 24; // u64
export const ROOT_MAGLEV_SEED: usize = 32; // u64: the same on every node of a cluster
export const ROOT_PUBLISHED: usize = 40; // u32: newest published generation
export const ROOT_STAGING: usize = 44; // u32: generation being staged, 0 = none
export const ROOT_ARENA_NEXT: usize = 48; // u32: first byte never allocated
export const ROOT_ARENA_END: usize = 52; // u32
export const ROOT_ENDPOINTS_MAX: usize = 56; // u32 budget
export const ROOT_SERVICES_MAX: usize = 60; // u32 budget: frontends
export const ROOT_TIMEOUTS: usize = 64; // 6 x u32, milliseconds, in the order of enum Timeout
export const ROOT_SESSIONS4: usize = 96; // a session table, see below
export const ROOT_SESSIONS6: usize = 160;
export const ROOT_ERROR: usize = 224; // u32, enum StageError
export const ROOT_ERROR_RECORD: usize = 228; // u32: ordinal of the refused record in the stream
export const ROOT_ERROR_DETAIL: usize = 232; // u32: byte offset, index or value, by error
export const ROOT_PART_SLOT: usize = 236; // u32: slot of the classifier that arrives, 0 = none
export const ROOT_PART_NEXT: usize = 240; // u32: bytes of it that have arrived
export const ROOT_PART_BYTES: usize = 244; // u32: bytes that it will have
export const ROOT_ARENA_FREE: usize = 256; // 128 x u32: free lists by size class
export const ROOT_BYTES: usize = 768;

/** Idle time after which a session ends, in ms; the order of the words at ROOT_TIMEOUTS. */
export const enum Timeout { Udp, Icmp, TcpOpening, TcpEstablished, TcpClosing, Other }
export const TIMEOUTS: u32 = 6;

// ---- Session table (one for each family, inside the root)
export const TABLE_BUCKETS: usize = 0; // u32: address of the first bucket
export const TABLE_BUCKET_COUNT: usize = 4; // u32, any number: bucket = (hash32 x count) >> 32
export const TABLE_RECORDS: usize = 8; // u32: address of unit 0
export const TABLE_RECORDS_MAX: usize = 12; // u32: budget of records
export const TABLE_UNUSED_NEXT: usize = 16; // u32: first record never handed out (1-based)
export const TABLE_HAND: usize = 20; // u32: the clock hand of age(): the last record visited
export const TABLE_FREE: usize = 24; // u64: free stack, tag << 32 | record number
export const TABLE_LIVE: usize = 32; // u32: live records
export const TABLE_BYTES: usize = 64;

// ---- Bucket: one cache line ---------------------------------------------------------------------
//  0             12        16                                    64
//  ┌─────────────┬─────────┬───────────────────────────────────────┐
//  │ 12 tags, u8 │ lock u32│ 12 entries, u32 (record << 1 | dir)   │
//  └─────────────┴─────────┴───────────────────────────────────────┘
export const BUCKET_TAGS: usize = 0;
export const BUCKET_LOCK: usize = 12; // 0 free, else worker + 1
export const BUCKET_ENTRIES: usize = 16;
export const BUCKET_WAYS: u32 = 12;
export const BUCKET_BYTES: usize = 64;

// ---- Session record: 64 bytes for IPv4, 128 for IPv6
// Two keys, each as the packets of its direction bear it: 0 the opener's, 1 the reply's. A packet
// is found by its own direction's key and rewritten to the other's, turned round.
//
//        0       4      8      12     16        32        48       52        56     60
//  IPv4  ┌───────┬──────┬──────┬──────┬─────────┬─────────┬────────┬─────────┬──────┬─────────┐
//        │ state │ seen │ rule │ next │ key 0   │ key 1   │ deltas │protocol │ gen. │ backend │
//        └───────┴──────┴──────┴──────┴─────────┴─────────┴────────┴─────────┴──────┴─────────┘
//        0       4      8      12     16      56       60         64      104    108       112
//  IPv6  ┌───────┬──────┬──────┬──────┬───────┬────────┬──────────┬───────┬──────┬─────────┬───┐
//        │ state │ seen │ rule │ next │ key 0 │ deltas │ protocol │ key 1 │ gen. │ backend │ 0 │
//        └───────┴──────┴──────┴──────┴───────┴────────┴──────────┴───────┴──────┴─────────┴───┘
export const SESSION_STATE: usize = 0; // u32 atomic: life in bits 0-1, enum SessionFlag above
export const SESSION_SEEN: usize = 4; // u32: nowMs of the last packet, rounded down to 256 ms
export const SESSION_RULE: usize = 8; // u32: policy slot << 16 | rule index that allowed it
export const SESSION_NEXT: usize = 12; // u32: link in a free or limbo list
export const SESSION_KEYS: usize = 16;
export const SESSION4_KEY_STRIDE: usize = 16; // from key 0 to key 1
export const SESSION4_DELTA_ADDRESSES: usize = 48; // u16: one's complement, addresses alone
export const SESSION4_DELTA_ALL: usize = 50; // u16: addresses and ports
export const SESSION4_PROTOCOL: usize = 52; // u8
export const SESSION4_REWRITTEN: usize = 53; // u8, enum Rewritten
export const SESSION4_PEER: usize = 54; // u16: the node that forward packets are passed on to
export const SESSION4_GENERATION: usize = 56; // u32: the generation that judged it
export const SESSION4_BACKEND: usize = 60; // u32: backend id + 1, 0 = no service
export const SESSION4_BYTES: usize = 64;
export const SESSION6_KEY_STRIDE: usize = 48;
export const SESSION6_DELTA_ADDRESSES: usize = 56;
export const SESSION6_DELTA_ALL: usize = 58;
export const SESSION6_PROTOCOL: usize = 60;
export const SESSION6_REWRITTEN: usize = 61;
export const SESSION6_PEER: usize = 62;
export const SESSION6_GENERATION: usize = 104;
export const SESSION6_BACKEND: usize = 108;
export const SESSION6_BYTES: usize = 128;
// A key: addresses and ports in wire order; the endpoint that packets of this direction come from.
export const KEY4_SOURCE: usize = 0;
export const KEY4_DESTINATION: usize = 4;
export const KEY4_PORTS: usize = 8; // source in the low half
export const KEY4_ENDPOINT: usize = 12; // u32: index | incarnation << 16, or NO_ENDPOINT
export const KEY6_SOURCE: usize = 0;
export const KEY6_DESTINATION: usize = 16;
export const KEY6_PORTS: usize = 32;
export const KEY6_ENDPOINT: usize = 36;

/** Life of a session record: the low two bits of its state. */
export const enum Life { Free, Live, Ending, Limbo }
export const LIFE_MASK: u32 = 3;
/** What a TCP session has seen; bits only ever get set while the record lives. */
export const enum SessionFlag {
  SynForward = 4, SynReturn = 8, FinForward = 16, FinReturn = 32, Reset = 64,
  /** From a checkpoint: judged once more at its next packet; cleared then. */
  Restored = 128,
  /** TCP that was in mid-flow when it came: established once the other side is heard. */
  PickedUp = 256,
}
/** What a session does to its packets, and the same of a slot: bits. */
export const enum Rewritten {
  /** Addresses, ports or both change. */
  Header = 1,
  /** Forward packets leave, as they are, for the node of SESSION_PEER (DSR). */
  ToPeer = 2,
}

// ---- Generation: a ring of 4
export const GENERATION_RING: usize = 0x400;
export const GENERATION_NUMBER: usize = 0; // u32 atomic, 0 = unused
export const GENERATION_ENDPOINTS: usize = 4; // u32: address of the block, 0 = none
export const GENERATION_ENDPOINT_COUNT: usize = 8;
export const GENERATION_ADDRESSES: usize = 12; // u32: hash of address -> endpoint
export const GENERATION_ADDRESS_MASK: usize = 16;
export const GENERATION_SNAT4: usize = 20; // the node's own address, wire order; 0 = none
export const GENERATION_SNAT_PORTS: usize = 24; // u16 first, u16 last: what SNAT hands out
export const GENERATION_OWNED: usize = 28; // u32: bit 0: the endpoint table was made by it
export const GENERATION_ADDRESS_COUNT: usize = 32;
export const GENERATION_PODS: usize = 36; // u16: set number + 1 of pods' networks, 0 = unknown
export const GENERATION_SERVICE_NETWORKS: usize = 38; // u16: set number + 1, 0 = unknown
export const GENERATION_ROUTES: usize = 40; // u32: address of the block, 0 = none
export const GENERATION_ROUTE_COUNT: usize = 44;
export const GENERATION_FLAGS: usize = 48; // u32, enum GenerationFlag
export const GENERATION_VXLAN_PORT: usize = 52; // u16, 0 = no VXLAN check
export const GENERATION_VXLAN_HOSTS: usize = 54; // u16: set number + 1, 0 = VXLAN not in use
export const GENERATION_IPIP_HOSTS: usize = 56; // u16: set number + 1, 0 = IPIP not in use
export const GENERATION_NAT_SOURCES: usize = 60; // u16: set number + 1: natOutgoing's pools
export const GENERATION_NAT_EXCLUDED: usize = 62; // u16: set number + 1: what is not beyond
export const GENERATION_SNAT6: usize = 64; // 16 bytes, zeros = none
export const GENERATION_ROUTE_LENGTHS: usize = 80; // 3 x u64: bit = prefix length that occurs
export const GENERATION_BYTES: usize = 128;

/** Bits of a generation; EndpointToHost (calico's DefaultEndpointToHostAction) in the low two. */
export const enum GenerationFlag {
  ToHostReturn = 1, ToHostAccept = 2, AllowVxlan = 4, AllowIpip = 8,
  /** All clients of ClusterIPs are masqueraded. */
  MasqueradeAll = 16,
  /** What policy denies is answered (IptablesFilterDenyAction=Reject). */
  RejectDenied = 32,
  /** The core's own: some endpoint has untracked policies. */
  Untracked = 1 << 30,
}

// ---- Worker
export const WORKERS: usize = 0x1000;
export const WORKER_BYTES: usize = 1024;
export const WORKER_EPOCH: usize = 0; // u32 atomic: odd inside process or age, even outside
export const WORKER_GENERATION: usize = 4; // u32: generation of the last frame
export const WORKER_FRAME_COUNT: usize = 8; // u32: packets of the frame in hand
export const WORKER_POLICY_SLOT: usize = 12; // u32: slot being called, 0 = none
export const WORKER_PHASE: usize = 16; // u32, enum Phase: the journal of insert and end
export const WORKER_TABLE: usize = 20; // u32: session table of the journal
export const WORKER_RECORD: usize = 24; // u32: record of the journal
export const WORKER_LOCKS: usize = 28; // u32: how many of the next four are held
export const WORKER_LOCKED: usize = 32; // 4 x u32: addresses of the locked buckets, ascending
export const WORKER_LIMBO4: usize = 64; // u32 open, u32 closed (heads; links in SESSION_NEXT)
export const WORKER_LIMBO6: usize = 72;
export const WORKER_LIMBO_CLOSED: usize = 80; // u32: 1 while SNAPSHOT holds
export const WORKER_SNAPSHOT: usize = 128; // 16 x u32: epochs when the closed list was closed
export const WORKER_FACTS: usize = 256; // 4 x u32: membership classes, in the order of enum Side
export const WORKER_COUNTERS: usize = 512; // 64 x u64: packets by enum Reason
export const COUNTERS: u32 = 64;

/** Where a worker stands in a change of the session index: what recover() has to undo. The values
 * are searched for in the compiled core by the test that puts a trap there. */
export const enum Phase {
  Idle = 0,
  Inserting = 0x4d470001, // locks held, nothing published
  Published = 0x4d470002, // forward entry published, return entry not
  Ending = 0x4d470003, // locks held, entries being cleared
}

// ---- Policy slots and interfaces
export const POLICY_SLOTS: usize = 0x5000;
export const enum SlotState { Empty, Generated, User, Trapped, Classifier, Chain }
export const INTERFACES: usize = 0x9000;

// ---- Sets: which addresses are in which sets
// A class is a combination of sets: a bitmap over set numbers, then a u32 count and as many u16
// numbers, ascending. Members map (address, tag) to a class; a prefix' class holds the sets of all
// prefixes around it, so that the longest prefix alone answers. Tags: a prefix length, or
// MEMBER_PORT | protocol << 16 | port.
export const SETS: usize = 0xd000;
export const SETS_MAX: usize = 0; // u32 budget: bits of a bitmap
export const SETS_BYTES: usize = 4; // u32: bytes of a bitmap, a multiple of 16
export const SETS_CLASSES_MAX: usize = 8; // u32 budget
export const SETS_CLASSES: usize = 12; // u32: address of u32[classes max + 1], by class id
export const SETS_EMPTY: usize = 16; // u32: address of class 0, in no set
export const SETS_RETIRED_OPEN: usize = 20; // u32: blocks to free once workers are quiescent
export const SETS_RETIRED_CLOSED: usize = 24;
export const SETS_SNAPSHOT: usize = 64; // 16 x u32: epochs when the closed list was closed
export const SETS_MEMBERS4: usize = 0x100;
export const SETS_MEMBERS6: usize = 0x400;
export const MEMBERS_TABLE: usize = 0; // u32: address of the entries
export const MEMBERS_MASK: usize = 4; // u32: entries - 1
export const MEMBERS_LIVE: usize = 8; // u32
export const MEMBERS_MAX: usize = 12; // u32 budget, at most half the entries
export const MEMBERS_MOVES: usize = 16; // u32 atomic: entries taken away or moved so far
export const MEMBERS_PORTS: usize = 20; // u32: how many have a port tag
export const MEMBERS_LENGTHS: usize = 24; // 3 x u64: bit = prefix length that occurs
export const MEMBERS_COUNTS: usize = 64; // 129 x u32: prefixes by length
export const MEMBER_PORT: u32 = 0x80000000;
/** Whose membership: the order of a worker's facts, and of member()'s argument. */
export const enum Side { Source, Destination, SourcePort, DestinationPort }

// ---- Services: frontends to groups of backends, changed in place; not by generation
//   (address, port, protocol) ─hash─► head ─► Frontend ─► next     Frontend ─ address ─► Group
export const SERVICES: usize = 0xe000;
export const SERVICES_HEADS: usize = 0; // u32: address of u32[heads]: a frontend, 0 = none
export const SERVICES_HEAD_MASK: usize = 4; // u32: heads - 1
export const SERVICES_LIVE: usize = 8; // u32: frontends; the budget is ROOT_SERVICES_MAX
export const SERVICES_GROUPS: usize = 12; // u32: address of u32[groups max + 1]: group, by id
export const SERVICES_GROUPS_MAX: usize = 16; // u32 budget
export const SERVICES_BACKEND_STATES: usize = 20; // u32: address of u8[backends max]
export const SERVICES_BACKENDS_MAX: usize = 24; // u32 budget of backend ids
export const SERVICES_AFFINITY: usize = 28; // u32: address of the entries
export const SERVICES_AFFINITY_MASK: usize = 32; // u32: buckets - 1
export const SERVICES_FRAGMENTS: usize = 36; // u32: address of the entries
export const SERVICES_FRAGMENTS_MASK: usize = 40; // u32: buckets - 1

// ---- Slot blocks
export const SLOT_BLOCKS: usize = 0x310000;
export const SLOT_COUNTERS: usize = 0x314000;
export const SLOT_SETS: usize = 0x318000;
export const ARENA: usize = 0x320000;
// A chain: u32 steps, 12 zeros, then steps: u16 slot, u16 step to go on at after a pass.
export const CHAIN_STEPS: usize = 0;
export const CHAIN_STEP: usize = 16;
// A classifier: rules as bit vectors of V bytes, bit i = rule i; offsets from the block's start.
export const CLASSIFIER_RULES: usize = 0; // u32
export const CLASSIFIER_VECTOR: usize = 4; // u32: V = 16 x ceil(rules / 128)
export const CLASSIFIER_SERVICES: usize = 8; // 256 x u32 by protocol: a dimension, 0 = no rule
export const CLASSIFIER_SOURCES: usize = 12; // likewise for source ports; 0 = all rules match
export const CLASSIFIER_SOURCE: usize = 16; // vector: rules that ask for no source set
export const CLASSIFIER_DESTINATION: usize = 20; // vector
export const CLASSIFIER_SETS: usize = 24; // open addressing, 32-byte entries
export const CLASSIFIER_SET_MASK: usize = 28; // entries - 1
export const CLASSIFIER_ACTIONS: usize = 32; // rules x (u32 Action | next << 8, u32 verify list)
export const CLASSIFIER_BYTES: usize = 36; // u32: of the whole block
export const CLASSIFIER_FAMILY4: usize = 40; // vector: rules that may match IPv4
export const CLASSIFIER_FAMILY6: usize = 44;
export const CLASSIFIER_HEADER_BYTES: u32 = 64;
// A dimension: a base vector, and what each interval of the value adds.
export const DIMENSION_BASE: usize = 0;
export const DIMENSION_COUNT: usize = 4; // u32, at least 1
export const DIMENSION_STARTS: usize = 8; // count x u16, ascending, first 0
export const DIMENSION_DELTAS: usize = 12; // count x (u32 offset, u32 rules | DELTA_DENSE)
export const DIMENSION_BYTES: u32 = 16;
export const DELTA_DENSE: u32 = 0x80000000;
// An entry of the set table: what a set that an address is in adds to a vector, and clears.
export const CLASSIFIER_SET_KEY: usize = 0; // (side << 16 | set number) + 1, 0 = empty
export const CLASSIFIER_SET_ADDS: usize = 8; // u32 offset, u32 rules | DELTA_DENSE
export const CLASSIFIER_SET_CLEARS: usize = 16;
export const CLASSIFIER_SET_BYTES: u32 = 32;
export const CLASSIFIER_SET_HASH: u32 = 0x9e3779b1; // hash = (key x this) >> 16
/** Which vector a set acts on: 0 source, 1 destination, 2 source ports, 3 service (named ports);
 * 4 destination (ip-port sets that Services ask for). */
export const CLASSIFIER_SIDES: u32 = 5;

// ---- Staging
export const STAGING: usize = 0x10000;
export const STAGING_BYTES: u32 = 0x100000;

// ---- Frames
export const FRAMES: usize = 0x110000;
export const FRAME_BYTES: usize = 0x20000;
export const FRAME_SLOTS: usize = 0;
export const FRAME_WINDOWS: usize = 0x2000;
export const FRAME_SCRATCH: usize = 0xa000;
export const FRAME_STAGES: usize = 0x14000; // 256 x STAGES_BYTES: what each stage's policy said
export const FRAME_VECTORS: usize = 0x18000; // bit vectors of the classifier in hand
export const FRAME_DETAILS: usize = 0x1c000; // 256 x 64: what only some packets need
export const SLOT_BYTES: usize = 32;
export const WINDOW_BYTES: usize = 128;

/**
 * Stages of a judgement: a u32 each in a packet's STAGES_BYTES, policy slot << 16 | rule index, 0 =
 * not asked. They hold for packets whose reason is not Established.
 */
export const enum Stage {
  Untracked, PreDnat, UntrackedOut, Egress, ForwardIn, ForwardOut, Ingress,
  StagedEgress, StagedIngress,
}
export const STAGES: u32 = 9;
export const STAGES_BYTES: usize = 64;

// A slot. In: what the adapter knows of the packet. Out: what the program decided.
export const SLOT_INTERFACE: usize = 0; // in, u32
export const SLOT_PACKET_LENGTH: usize = 4; // in, u32: bytes from the L3 header to the packet's end
export const SLOT_WINDOW_LENGTH: usize = 8; // in, u16: bytes of the window that are valid
export const SLOT_PEER: usize = 8; // out, u16, with Rewritten.ToPeer: the node to pass it on to
export const SLOT_FLAGS: usize = 10; // in, u8, enum SlotFlag
export const SLOT_HOOK: usize = 11; // in, u8, enum SlotHook
export const SLOT_VERDICT: usize = 12; // out, u8, enum Verdict
export const SLOT_REASON: usize = 13; // out, u8, enum Reason
export const SLOT_REWRITTEN: usize = 14; // out, u8, bits of enum Rewritten
export const SLOT_DIRECTION: usize = 15; // out, u8: 0 forward, 1 return
export const SLOT_RULE: usize = 16; // out, u32: policy slot << 16 | rule index; 0 = no rule
export const SLOT_SESSION: usize = 20; // out, u32: address of the session record, 0 = none
export const SLOT_BACKEND: usize = 24; // out, u32: backend id + 1, 0 = no service
export const SLOT_NEW_LENGTH: usize = 28; // out, u32: packet length from the L3 header

/**
 * Where an adapter met the packet. Leaving: on its way out without having been judged; Copied: the
 * same, and made of a packet of an interface, so that nothing but a session lets it pass.
 */
export const enum SlotHook { Entering, Leaving, Copied }
export const enum SlotFlag {
  PartialChecksum = 1, // L4 checksum field holds the pseudo-header sum alone
  Gso = 2, Chained = 4,
  Checked = 8, // the adapter has checked version, length, TTL and the IPv4 header checksum
}
export enum Verdict { None, Pass, Drop, Reply }
/** Why: one counter each. Text is the name in kebab case. */
export enum Reason {
  None, Established, Allowed,
  NoGeneration, UnknownEndpoint, SpoofedSource, PolicyDenied, PolicyTrapped, CoreTrapped,
  HeadersTooLong, Truncated, BadVersion, BadHeaderLength, BadTotalLength, BadChecksum, TimeExpired,
  LaterFragment, TinyFragment, ExtensionHeader, RoutingHeader, BadTcpFlags,
  NoBackend, NoSession, SessionTableFull, TupleCollision, EndpointMismatch, MappedAddress,
  EndpointInactive, EncapFromWorkload, EncapFromUnknownHost, EndpointToHost,
  UnknownServicePort, UnknownServiceAddress, SourceRange, NatPortsExhausted, NoNatAddress,
  SctpFragment,
  // these pass, beside Established and Allowed
  Untracked, NeighbourDiscovery, Related, Fragment, Forwarded,
}

// ---- Policy ABI
// evaluate(packet, protocol, sourceHi, sourceLo, destinationHi, destinationLo, sourcePort,
//          destinationPort, icmp, nowSeconds) -> i32: bits 0-7 enum Action, bits 8-23 rule index
// packet: the address of the worker's facts, for users' modules a handle that member() takes
export const enum Action { NoMatch, Allow, Deny, Pass }
