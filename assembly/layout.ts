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
//   0x010000  Staging buffer   1 MiB: the host writes records here, then calls stage(length)
//   0x110000  Frames           16 x 128 KiB: slots, header windows, working records of a worker
//   0x310000  Arena            session tables, then what generations allocate, to the end

/** Version of this layout; a checkpoint or a host with another one is refused by name. */
export const LAYOUT_VERSION: u32 = 1;
/** "MGAY", the first word of the root record. */
export const MAGIC: u32 = 0x5941474d;

export const WORKERS_MAX: u32 = 16;
export const FRAME_PACKETS_MAX: u32 = 256;
export const POLICY_SLOTS_MAX: u32 = 4096;
export const INTERFACES_MAX: u32 = 4096;
export const ENDPOINTS_MAX: u32 = 65535;
export const BACKENDS_MAX: u32 = 65535;
export const GENERATIONS: u32 = 4;
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
export const ROOT_SERVICES_MAX: usize = 60; // u32 budget
export const ROOT_TIMEOUTS: usize = 64; // 6 x u32, milliseconds, in the order of enum Timeout
export const ROOT_SESSIONS4: usize = 96; // a session table, see below
export const ROOT_SESSIONS6: usize = 160;
export const ROOT_ERROR: usize = 224; // u32, enum StageError
export const ROOT_ERROR_RECORD: usize = 228; // u32: ordinal of the refused record in the stream
export const ROOT_ERROR_DETAIL: usize = 232; // u32: byte offset, index or value, by error
export const ROOT_ARENA_FREE: usize = 256; // 128 x u32: free lists by size class
export const ROOT_BYTES: usize = 768;

/** Idle time after which a session ends, in ms; the order of the words at ROOT_TIMEOUTS. */
export const enum Timeout { Udp, Icmp, TcpOpening, TcpEstablished, TcpClosing, Other }
export const TIMEOUTS: u32 = 6;

// ---- Session table (one for each family, inside the root)
// ----------------------------------------
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
// --------------------------------------------- Two keys, each as the packets of its direction bear
// it: 0 the opener's, 1 the reply's. A packet is found by its own direction's key and rewritten to
// the other's, turned round.
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
export const SESSION4_REWRITTEN: usize = 53; // u8: 1 = the rewrite changes something
export const SESSION4_GENERATION: usize = 56; // u32: the generation that judged it
export const SESSION4_BACKEND: usize = 60; // u32: backend id + 1, 0 = no service
export const SESSION4_BYTES: usize = 64;
export const SESSION6_KEY_STRIDE: usize = 48;
export const SESSION6_DELTA_ADDRESSES: usize = 56;
export const SESSION6_DELTA_ALL: usize = 58;
export const SESSION6_PROTOCOL: usize = 60;
export const SESSION6_REWRITTEN: usize = 61;
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
}

// ---- Generation: a ring of 4
// ----------------------------------------------------------------------
export const GENERATION_RING: usize = 0x400;
export const GENERATION_NUMBER: usize = 0; // u32 atomic, 0 = unused
export const GENERATION_ENDPOINTS: usize = 4; // u32: address of the block, 0 = none
export const GENERATION_ENDPOINT_COUNT: usize = 8;
export const GENERATION_ADDRESSES: usize = 12; // u32: hash of address -> endpoint
export const GENERATION_ADDRESS_MASK: usize = 16;
export const GENERATION_SERVICES: usize = 20; // u32: hash of (VIP, port, protocol) -> service
export const GENERATION_SERVICE_MASK: usize = 24;
export const GENERATION_OWNED: usize = 28; // u32: bit 0 endpoints, bit 1 services made by it
export const GENERATION_ADDRESS_COUNT: usize = 32;
export const GENERATION_SERVICE_COUNT: usize = 36;
export const GENERATION_BYTES: usize = 64;

// ---- Worker
// ---------------------------------------------------------------------------------------
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
// --------------------------------------------------------------------
export const POLICY_SLOTS: usize = 0x5000;
export const enum SlotState { Empty, Generated, User, Trapped }
export const INTERFACES: usize = 0x9000;

// ---- Staging
// ------------------------------------------------------------------------------------------
export const STAGING: usize = 0x10000;
export const STAGING_BYTES: u32 = 0x100000;

// ---- Frames
// -------------------------------------------------------------------------------------------
export const FRAMES: usize = 0x110000;
export const FRAME_BYTES: usize = 0x20000;
export const FRAME_SLOTS: usize = 0;
export const FRAME_WINDOWS: usize = 0x2000;
export const FRAME_SCRATCH: usize = 0xa000;
export const SLOT_BYTES: usize = 32;
export const WINDOW_BYTES: usize = 128;

// A slot. In: what the adapter knows of the packet. Out: what the program decided.
export const SLOT_INTERFACE: usize = 0; // in, u32
export const SLOT_PACKET_LENGTH: usize = 4; // in, u32: bytes from the L3 header to the packet's end
export const SLOT_WINDOW_LENGTH: usize = 8; // in, u16: bytes of the window that are valid
export const SLOT_FLAGS: usize = 10; // in, u8, enum SlotFlag
export const SLOT_HOOK: usize = 11; // in, u8: 0 = from the interface
export const SLOT_VERDICT: usize = 12; // out, u8, enum Verdict
export const SLOT_REASON: usize = 13; // out, u8, enum Reason
export const SLOT_REWRITTEN: usize = 14; // out, u8: 1 = the window differs from the input
export const SLOT_DIRECTION: usize = 15; // out, u8: 0 forward, 1 return
export const SLOT_RULE: usize = 16; // out, u32: policy slot << 16 | rule index; 0 = no rule
export const SLOT_SESSION: usize = 20; // out, u32: address of the session record, 0 = none
export const SLOT_BACKEND: usize = 24; // out, u32: backend id + 1, 0 = no service
export const SLOT_NEW_LENGTH: usize = 28; // out, u32: packet length from the L3 header

export const enum SlotFlag {
  PartialChecksum = 1, // L4 checksum field holds the pseudo-header sum alone
  Gso = 2, Chained = 4,
  Checked = 8, // the adapter has checked version, length, TTL and the IPv4 header checksum
}
export enum Verdict { None, Pass, Drop, Reply }
/** Why: one counter each. Text is the name in kebab case. Established and Allowed pass. */
export enum Reason {
  None, Established, Allowed,
  NoGeneration, UnknownEndpoint, SpoofedSource, PolicyDenied, PolicyTrapped, CoreTrapped,
  HeadersTooLong, Truncated, BadVersion, BadHeaderLength, BadTotalLength, BadChecksum, TimeExpired,
  IpOptions, Fragment, ExtensionHeader, UnsupportedProtocol, UnsupportedIcmp, BadTcpFlags,
  NoBackend, NoSession, SessionTableFull, TupleCollision, EndpointMismatch, MappedAddress,
}

// ---- Policy ABI
// ------------------------------------------------------------------------------ evaluate(packet,
// protocol, sourceHi, sourceLo, destinationHi, destinationLo, sourcePort,
//          destinationPort, icmp, nowSeconds) -> i32: bits 0-7 enum Action, bits 8-23 rule index
export const enum Action { NoMatch, Allow, Deny, Pass }

// ---- Stage records
// ---------------------------------------------------------------------------------------- A stream
// is a run of records: u16 kind, u16 flags, u32 length of the body, body, padding to 8.
export const RECORD_HEADER_BYTES: u32 = 8;
export const enum RecordKind {
  Configure = 1, Bind = 2, Module = 3, Begin = 4, Endpoints = 5, Endpoint = 6, Address = 7,
  Services = 8, Service = 9, Abandon = 10,
}
// Configure: once, first. 0 as a seed or timeout takes the default.
export const CONFIGURE_WORKERS: usize = 0; // u32
export const CONFIGURE_SESSIONS4_MAX: usize = 4; // u32
export const CONFIGURE_SESSIONS6_MAX: usize = 8; // u32
export const CONFIGURE_ENDPOINTS_MAX: usize = 12; // u32
export const CONFIGURE_SERVICES_MAX: usize = 16; // u32
export const CONFIGURE_MEMORY_BYTES: usize = 20; // u32, 0 = 4 GiB
export const CONFIGURE_SEED0: usize = 24; // u64
export const CONFIGURE_SEED1: usize = 32; // u64
export const CONFIGURE_MAGLEV_SEED: usize = 40; // u64
export const CONFIGURE_TIMEOUTS: usize = 48; // 6 x u32, ms
export const CONFIGURE_BYTES: u32 = 72;
// Bind: takes effect at once, for it is the engine's own map. endpoint NO_ENDPOINT unbinds.
export const BIND_INTERFACE: usize = 0;
export const BIND_ENDPOINT: usize = 4;
export const BIND_BYTES: u32 = 8;
// Module: u32 slot, u32 kind (SlotState Generated or User), then the module's bytes.
export const MODULE_SLOT: usize = 0;
export const MODULE_KIND: usize = 4;
export const MODULE_CODE: usize = 8;
// Begin: u32 generation; the new generation starts with the tables of the published one.
export const BEGIN_GENERATION: usize = 0;
export const BEGIN_BYTES: u32 = 8;
// Endpoints: a fresh, empty endpoint and address table for the generation being staged.
export const ENDPOINTS_CAPACITY: usize = 0; // u32: highest index + 1
export const ENDPOINTS_ADDRESSES: usize = 4; // u32: how many addresses may follow
export const ENDPOINTS_BYTES: u32 = 8;
export const ENDPOINT_INDEX: usize = 0; // u32
export const ENDPOINT_INCARNATION: usize = 4; // u16
export const ENDPOINT_KIND: usize = 6; // u8, enum EndpointKind
export const ENDPOINT_EGRESS_SLOT: usize = 8; // u16: policy slot; 0 = no policy applies
export const ENDPOINT_INGRESS_SLOT: usize = 10; // u16
export const ENDPOINT_ADDRESS4: usize = 12; // 4 bytes, wire order; 0 = none
export const ENDPOINT_ADDRESS6: usize = 16; // 16 bytes, wire order; 0 = none
export const ENDPOINT_BYTES: u32 = 32;
export const enum EndpointKind { Unused, Workload, Uplink }
// Address: one more address of an endpoint (IPv4 as ::ffff:a.b.c.d).
export const ADDRESS_ADDRESS: usize = 0; // 16 bytes
export const ADDRESS_ENDPOINT: usize = 16; // u32
export const ADDRESS_BYTES: u32 = 24;
// Services: a fresh, empty service table.
export const SERVICES_CAPACITY: usize = 0; // u32: how many may follow
export const SERVICES_BYTES: u32 = 8;
// Service: a VIP and its backends, of one family.
export const SERVICE_ADDRESS: usize = 0; // 16 bytes (IPv4 as ::ffff:a.b.c.d)
export const SERVICE_PORT: usize = 16; // u16, host order
export const SERVICE_PROTOCOL: usize = 18; // u8
export const SERVICE_SLOTS: usize = 20; // u32: slots of the Maglev table, 0 = by size class
export const SERVICE_BACKENDS: usize = 24; // u32: count
export const SERVICE_BACKEND: usize = 32; // first backend
export const BACKEND_ADDRESS: usize = 0; // 16 bytes
export const BACKEND_PORT: usize = 16; // u16, host order
export const BACKEND_WEIGHT: usize = 18; // u16, 0 = 1
export const BACKEND_ID: usize = 20; // u32: for reports
export const BACKEND_BYTES: u32 = 24;

/** Why stage(), publish() or the admission of a module refused. Text: the name in kebab case. */
export enum StageError {
  None, AlreadyConfigured, NotConfigured, MemoryTooSmall,
  TruncatedRecord, UnknownRecord, BadRecordLength, FieldOutOfRange, NothingStaged,
  StagingInProgress, BadGeneration, GenerationBusy, TableNotStarted, TableFull, ArenaFull,
  DuplicateAddress, DuplicateService, SlotInUse, SlotNotAdmitted, WrongFamily,
  // admission of a policy module
  ModuleTooLarge, ModuleMalformed, ModuleForeignImport, ModuleNoAbiVersion, ModuleWrongAbiVersion,
  ModuleNoEvaluate, ModuleLoop, ModuleRecursion, ModuleIndirectCall, ModuleBulkMemory,
  ModuleForbiddenSection, ModuleForbiddenInstruction, ModuleTooCostly, ModuleTooManyFunctions,
}
