// The formats of stage records, the second half of layout.ts (which exports it): what a host puts
// into the staging buffer. A stream is a run of records: u16 kind, u16 flags, u32 length of the
// body, body, padding to 8.

// ---- Stage records
export const RECORD_HEADER_BYTES: u32 = 8;
export const enum RecordKind {
  Configure = 1, Bind = 2, Module = 3, Begin = 4, Endpoints = 5, Endpoint = 6, Address = 7,
  Group = 8, Frontend = 9, Abandon = 10, Route = 11, Class = 12, ClassRemove = 13, Members = 14,
  Classifier = 15, ClassifierPart = 16, Chain = 17, Counters = 18, SlotSets = 19,
  GroupRemove = 20, FrontendRemove = 21, BackendStates = 22,
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
export const CONFIGURE_SETS_MAX: usize = 72; // u32, 0 = 1,024
export const CONFIGURE_CLASSES_MAX: usize = 76; // u32, 0 = 4,096
export const CONFIGURE_MEMBERS4_MAX: usize = 80; // u32, 0 = 65,536
export const CONFIGURE_MEMBERS6_MAX: usize = 84; // u32, 0 = 16,384
export const CONFIGURE_GROUPS_MAX: usize = 88; // u32, 0 = as many as frontends, at least 64
export const CONFIGURE_BACKENDS_MAX: usize = 92; // u32: ids; 0 = 65,536
export const CONFIGURE_AFFINITY_MAX: usize = 96; // u32: clients that are remembered; 0 = 4,096
export const CONFIGURE_FRAGMENTS_MAX: usize = 100; // u32: packets in fragments; 0 = 1,024
export const CONFIGURE_BYTES: u32 = 104;
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
export const ENDPOINTS_ROUTES: usize = 8; // u32: how many routes may follow
export const ENDPOINTS_FLAGS: usize = 12; // u32, enum GenerationFlag; Untracked is the core's own
export const ENDPOINTS_VXLAN_PORT: usize = 16; // u16
export const ENDPOINTS_VXLAN_HOSTS: usize = 18; // u16: set number + 1
export const ENDPOINTS_IPIP_HOSTS: usize = 20; // u16
// Numbers of sets + 1, 0 = none: where pods' addresses are, which are masqueraded when they leave
// (natOutgoing), which destinations never are, and the addresses of Services.
export const ENDPOINTS_PODS: usize = 22; // u16
export const ENDPOINTS_NAT_SOURCES: usize = 24; // u16
export const ENDPOINTS_NAT_EXCLUDED: usize = 26; // u16
export const ENDPOINTS_SERVICE_NETWORKS: usize = 28; // u16
export const ENDPOINTS_SNAT_FIRST: usize = 30; // u16: ports that SNAT hands out; 0 = 32,768
export const ENDPOINTS_SNAT_LAST: usize = 32; // u16; 0 = 65,535
export const ENDPOINTS_SNAT4: usize = 36; // the node's address, wire order; 0 = none
export const ENDPOINTS_SNAT6: usize = 40; // 16 bytes; zeros = none
export const ENDPOINTS_BYTES: u32 = 56;
export const ENDPOINT_INDEX: usize = 0; // u32
export const ENDPOINT_INCARNATION: usize = 4; // u16
export const ENDPOINT_KIND: usize = 6; // u8, enum EndpointKind
export const ENDPOINT_FLAGS: usize = 7; // u8, enum EndpointFlag
export const ENDPOINT_HOOKS: usize = 8; // 9 x u16 in the order of enum Hook: policy slots, 0 = none
export const ENDPOINT_ALLOWED_SOURCES: usize = 26; // u16: set number + 1
// Of an uplink these are what SNAT puts in as source there; nobody's packets are checked by them.
export const ENDPOINT_ADDRESS4: usize = 28; // 4 bytes, wire order; 0 = none
export const ENDPOINT_ADDRESS6: usize = 32; // 16 bytes, wire order; 0 = none
export const ENDPOINT_BYTES: u32 = 48;
export const enum EndpointFlag {
  Inactive = 1,
  /** An uplink that bears what other nodes pass on (DSR): that goes to local backends alone. */
  Peer = 2,
}
export const enum EndpointKind { Unused, Workload, Uplink, Host }
/** Where a policy slot of an endpoint is asked (host/model/program.ts: Hooks). */
export const enum Hook {
  Egress, Ingress, StagedEgress, StagedIngress, ForwardEgress, ForwardIngress,
  UntrackedEgress, UntrackedIngress, PreDnat,
}
export const HOOKS: u32 = 9;
// Address: one more address of an endpoint (IPv4 as ::ffff:a.b.c.d).
export const ADDRESS_ADDRESS: usize = 0; // 16 bytes
export const ADDRESS_ENDPOINT: usize = 16; // u32
export const ADDRESS_BYTES: u32 = 24;
// Route: where what no endpoint owns leaves; the longest prefix answers (IPv4: length + 96).
export const ROUTE_NETWORK: usize = 0; // 16 bytes
export const ROUTE_LENGTH: usize = 16; // u32, 0 to 128
export const ROUTE_ENDPOINT: usize = 20; // u32: index of an uplink
export const ROUTE_BYTES: u32 = 24;
// Class, ClassRemove, Members: at once, not by generation. A class that members name can't go.
export const CLASS_ID: usize = 0; // u32, 1 to the budget; unused so far, or just the same
export const CLASS_COUNT: usize = 4; // u32
export const CLASS_SETS: usize = 8; // count x u16, ascending, each below the sets' budget
export const CLASS_REMOVE_BYTES: u32 = 8; // u32 id
export const MEMBERS_FAMILY: usize = 0; // u32, 4 or 6
export const MEMBERS_COUNT: usize = 4; // u32
export const MEMBERS_FIRST: usize = 8; // entries: address (4 or 16 bytes), u32 tag, u32 class id
export const MEMBER4_BYTES: u32 = 12; // class id 0 takes the entry away
export const MEMBER6_BYTES: u32 = 24;
// Classifier, Chain, Counters, SlotSets: for slots that no generation uses, at once.
export const CLASSIFIER_SLOT: usize = 0; // u32
export const CLASSIFIER_TOTAL: usize = 4; // u32: bytes that the parts bring, in order
export const CLASSIFIER_RECORD_BYTES: u32 = 8;
export const PART_SLOT: usize = 0; // u32
export const PART_OFFSET: usize = 4; // u32
export const PART_CODE: usize = 8;
export const CHAIN_SLOT: usize = 0; // u32
export const CHAIN_COUNT: usize = 4; // u32
export const CHAIN_FIRST: usize = 8; // count x (u16 slot, u16 step after a pass, > its own)
export const COUNTERS_SLOT: usize = 0; // u32: of an admitted slot
export const COUNTERS_RULES: usize = 4; // u32: hits of rules 0 to this, the last for beyond
export const COUNTERS_BYTES: u32 = 8;
export const SLOT_SETS_SLOT: usize = 0; // u32
export const SLOT_SETS_COUNT: usize = 4; // u32
export const SLOT_SETS_FIRST: usize = 8; // count x u16: set numbers, by the module's own
// Group: backends of one family and their Maglev table, never changed. At once, not by generation,
// like Frontend and the removals; a group that a frontend names can't go.
export const GROUP_ID: usize = 0; // u32, 1 to the budget; unused so far
export const GROUP_SLOTS: usize = 4; // u32: slots of the Maglev table, 0 = by size class
export const GROUP_COUNT: usize = 8; // u32: backends
export const GROUP_FLAGS: usize = 12; // u32, enum GroupFlag
export const GROUP_BACKEND: usize = 16; // first backend
export const enum GroupFlag {
  /** Classic permutations, as the backends' offset and skip say, backends in the given order. */
  Classic = 1,
}
export const BACKEND_ADDRESS: usize = 0; // 16 bytes
export const BACKEND_PORT: usize = 16; // u16, host order
export const BACKEND_WEIGHT: usize = 18; // u16, 0 = 1
export const BACKEND_ID: usize = 20; // u32, below the budget: for reports and BackendStates
export const BACKEND_PEER: usize = 24; // u16: number of the node that it is on, 0 = here or routed
export const BACKEND_OFFSET: usize = 28; // u32: of a classic permutation, below the slots
export const BACKEND_SKIP: usize = 32; // u32: likewise, 1 to slots - 1
export const BACKEND_BYTES: u32 = 40;
export const GROUP_REMOVE_BYTES: u32 = 8; // u32 id
// Frontend: an address, port and protocol that leads to backends; put anew, it replaces the one
// there. Port 0 with protocol 0: whatever other frontends of the address do not serve.
export const FRONTEND_ADDRESS: usize = 0; // 16 bytes (IPv4 as ::ffff:a.b.c.d)
export const FRONTEND_PORT: usize = 16; // u16, host order
export const FRONTEND_PROTOCOL: usize = 18; // u8
export const FRONTEND_FLAGS: usize = 20; // u32, enum FrontendFlag
export const FRONTEND_INTERNAL: usize = 24; // u32: group for clients inside, 0 = none
export const FRONTEND_EXTERNAL: usize = 28; // u32: group for clients outside where Local
export const FRONTEND_PREVIOUS_INTERNAL: usize = 32; // u32: the group before, 0 = none
export const FRONTEND_PREVIOUS_EXTERNAL: usize = 36; // u32
export const FRONTEND_RANGES: usize = 40; // u16: set number + 1 of the sources let in, 0 = all
export const FRONTEND_AFFINITY: usize = 44; // u32: seconds a client keeps its backend, 0 = none
export const FRONTEND_SERVICE: usize = 48; // u32: the Service port; affinity is by it
export const FRONTEND_BYTES: u32 = 56;
export const FRONTEND_REMOVE_BYTES: u32 = 24; // address, port, protocol as above
export const enum FrontendFlag {
  /** NodePort, load balancer's or external address; else a ClusterIP. */
  External = 1,
  /** externalTrafficPolicy Local: outside clients get the external group, their source kept. */
  Local = 2,
  /** Without a backend the packet is answered, else dropped. */
  RejectInternal = 4,
  RejectExternal = 8,
  /** Outside clients' packets go on to the backend's node as they are. */
  Dsr = 16,
  /** The slot is Calico eBPF's: hashword of the tuple modulo the slots. */
  Hashword = 32,
  /** The address itself may be a source, whatever the ranges say. */
  AddressAsSource = 64,
  /** Clients keep their source, but for a backend that asks itself (hostPort). */
  KeepSource = 128,
}
// BackendStates: at once. A backend that is gone loses its UDP sessions at the next sweep.
export const STATES_COUNT: usize = 0; // u32
export const STATES_FIRST: usize = 8; // count x (u32 id, u32 enum BackendState)
export const enum BackendState { Serving, Gone }

/** Why stage(), publish() or the admission of a module refused. Text: the name in kebab case. */
export enum StageError {
  None, AlreadyConfigured, NotConfigured, MemoryTooSmall,
  TruncatedRecord, UnknownRecord, BadRecordLength, FieldOutOfRange, NothingStaged,
  StagingInProgress, BadGeneration, GenerationBusy, TableNotStarted, TableFull, ArenaFull,
  DuplicateAddress, GroupInUse, UnknownGroup, SlotInUse, SlotNotAdmitted, WrongFamily,
  ClassInUse, UnknownClass, BadClassifier, BadChain, DuplicateRoute,
  // admission of a policy module
  ModuleTooLarge, ModuleMalformed, ModuleForeignImport, ModuleNoAbiVersion, ModuleWrongAbiVersion,
  ModuleNoEvaluate, ModuleLoop, ModuleRecursion, ModuleIndirectCall, ModuleBulkMemory,
  ModuleForbiddenSection, ModuleForbiddenInstruction, ModuleTooCostly, ModuleTooManyFunctions,
}
