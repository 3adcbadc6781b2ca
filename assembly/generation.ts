// Generations: which tables a frame is judged by. A ring of four roots; process() finds its own by
// the generation that the host passes, so that modules and tables change in the same frame.
//
//   Begin ──► staging root: a copy of the published one, sharing its tables
//     │         Endpoints: fresh tables of its own (OWNED)
//   publish ─► its number is set, last (atomic): now it can be found
//     │
//   Begin of a later one ─► the oldest root is taken out: number to 0, then, once no worker can be
//               inside with it, tables that no other root shares are freed
//
// The number is taken out first and workers are looked at second; a worker marks its epoch first
// and looks for the number second: so either it finds 0 (and drops), or it is seen.
import {
  GENERATIONS, GENERATION_ADDRESSES, GENERATION_ADDRESS_COUNT, GENERATION_ADDRESS_MASK,
  GENERATION_BYTES, GENERATION_ENDPOINTS, GENERATION_ENDPOINT_COUNT, GENERATION_NUMBER,
  GENERATION_FLAGS, GENERATION_IPIP_HOSTS, GENERATION_NAT_EXCLUDED, GENERATION_NAT_SOURCES,
  GENERATION_OWNED, GENERATION_PODS, GENERATION_RING, GENERATION_ROUTES, GENERATION_ROUTE_COUNT,
  GENERATION_ROUTE_LENGTHS, GENERATION_SERVICE_NETWORKS, GENERATION_SNAT4, GENERATION_SNAT6,
  GENERATION_SNAT_PORTS, GENERATION_VXLAN_HOSTS, GENERATION_VXLAN_PORT, WORKER_EPOCH,
  WORKER_GENERATION,
} from "./layout";
import { root } from "./root";
import { workerAt } from "./worker";

@unmanaged
export class Generation {
  number: u32;
  endpoints: u32;
  endpointCount: u32;
  addresses: u32;
  addressMask: u32;
  snat4: u32; // the node's own address, wire order, 0 = none
  snatFirst: u16; // ports that SNAT hands out
  snatLast: u16;
  owned: u32;
  addressCount: u32; // how many addresses the table may still take
  pods: u16; // set number + 1: pods' networks, 0 = unknown
  serviceNetworks: u16; // set number + 1
  routes: u32; // block, 0 = none
  routeCount: u32;
  flags: u32; // enum GenerationFlag
  vxlanPort: u16; // 0 = no look at VXLAN
  vxlanHosts: u16; // set number + 1, 0 = not in use
  ipipHosts: u16;
  pad0: u16;
  natSources: u16; // set number + 1
  natExcluded: u16;
  snat6a: u64; // wire order, zeros = none
  snat6b: u64;
  routeLengths0: u64; // bit = a prefix length that occurs
  routeLengths1: u64;
  routeLengths2: u64;
  routeMask: u32; // places of the block - 1
  routeMax: u32; // how many routes may be there
}
if (offsetof<Generation>("number") != GENERATION_NUMBER) ERROR("Generation.number");
if (offsetof<Generation>("endpoints") != GENERATION_ENDPOINTS) ERROR("Generation.endpoints");
if (offsetof<Generation>("endpointCount") != GENERATION_ENDPOINT_COUNT) ERROR("endpointCount");
if (offsetof<Generation>("addresses") != GENERATION_ADDRESSES) ERROR("Generation.addresses");
if (offsetof<Generation>("addressMask") != GENERATION_ADDRESS_MASK) ERROR("addressMask");
if (offsetof<Generation>("snat4") != GENERATION_SNAT4) ERROR("Generation.snat4");
if (offsetof<Generation>("snatFirst") != GENERATION_SNAT_PORTS) ERROR("Generation.snatFirst");
if (offsetof<Generation>("owned") != GENERATION_OWNED) ERROR("Generation.owned");
if (offsetof<Generation>("addressCount") != GENERATION_ADDRESS_COUNT) ERROR("addressCount");
if (offsetof<Generation>("pods") != GENERATION_PODS) ERROR("Generation.pods");
if (offsetof<Generation>("serviceNetworks") != GENERATION_SERVICE_NETWORKS) {
  ERROR("Generation.serviceNetworks");
}
if (offsetof<Generation>("routes") != GENERATION_ROUTES) ERROR("Generation.routes");
if (offsetof<Generation>("routeCount") != GENERATION_ROUTE_COUNT) ERROR("Generation.routeCount");
if (offsetof<Generation>("flags") != GENERATION_FLAGS) ERROR("Generation.flags");
if (offsetof<Generation>("vxlanPort") != GENERATION_VXLAN_PORT) ERROR("Generation.vxlanPort");
if (offsetof<Generation>("vxlanHosts") != GENERATION_VXLAN_HOSTS) ERROR("Generation.vxlanHosts");
if (offsetof<Generation>("ipipHosts") != GENERATION_IPIP_HOSTS) ERROR("Generation.ipipHosts");
if (offsetof<Generation>("natSources") != GENERATION_NAT_SOURCES) ERROR("natSources");
if (offsetof<Generation>("natExcluded") != GENERATION_NAT_EXCLUDED) ERROR("natExcluded");
if (offsetof<Generation>("snat6a") != GENERATION_SNAT6) ERROR("Generation.snat6a");
if (offsetof<Generation>("routeLengths0") != GENERATION_ROUTE_LENGTHS) ERROR("routeLengths");
if (offsetof<Generation>() > GENERATION_BYTES) ERROR("Generation is too long");

// @ts-ignore: decorator
@inline
export function ringAt(number: u32): Generation {
  const place = usize(number & (GENERATIONS - 1));
  return changetype<Generation>(GENERATION_RING + place * GENERATION_BYTES);
}

/** The root of a generation, or null when it is not published (any more). */
// @ts-ignore: decorator
@inline
export function findGeneration(number: u32): Generation | null {
  const g = ringAt(number);
  const found = atomic.load<u32>(changetype<usize>(g), GENERATION_NUMBER);
  return found == number && number != 0 ? g : null;
}

/** May a worker still be inside a frame of this generation? */
export function inUse(number: u32): bool {
  const workers = root().workers;
  for (let i: u32 = 0; i < workers; i++) {
    const w = changetype<usize>(workerAt(i));
    if (atomic.load<u32>(w, WORKER_EPOCH) & 1) {
      if (atomic.load<u32>(w, WORKER_GENERATION) == number) return true;
    }
  }
  return false;
}
