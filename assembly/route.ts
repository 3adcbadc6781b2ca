// Routes: which uplink a packet leaves by whose destination no endpoint owns: the longest prefix
// that holds the address. A generation's table is a hash of (prefix length, masked address), open
// addressing, at most half full; a look-up asks once for each length that occurs, longest first.
//
// IPv4 prefixes stand as ::ffff:a.b.c.d with 96 bits more. Limits: 65,535 routes.
import { hiOf, is4, loOf } from "./family";
import { Generation } from "./generation";
import { hashAddress } from "./hash";
import {
  ENDPOINTS_MAX, EndpointKind, GENERATION_ROUTE_LENGTHS, ROUTE_BYTES, ROUTE_ENDPOINT, ROUTE_LENGTH,
  ROUTE_NETWORK, StageError,
} from "./layout";
import { endpointAt } from "./endpoint";
import { prefixMask } from "./members";
import { refuse, root } from "./root";

@unmanaged
export class Route {
  hi: u64; // host order
  lo: u64;
  length: u32; // 0 to 128
  endpoint: u32; // index of an uplink + 1, 0 = an empty place
  pad: u64;
}
if (offsetof<Route>() != 32) ERROR("Route is not 32 bytes");
if (ENDPOINTS_MAX > 0xffff) ERROR("an endpoint's index does not fit");

// @ts-ignore: decorator
@inline
function routeAt(g: Generation, place: u32): Route {
  return changetype<Route>(usize(g.routes) + usize(place) * offsetof<Route>());
}
/** The route of a prefix, or the empty place where it would be. */
function placeOf(g: Generation, hi: u64, lo: u64, length: u32): Route {
  let place = u32(hashAddress(hi, lo, length, root().seed0) >> 32) & g.routeMask;
  while (true) {
    const r = routeAt(g, place);
    if (!r.endpoint || (r.hi == hi && r.lo == lo && r.length == length)) return r;
    place = (place + 1) & g.routeMask;
  }
}

/** Index + 1 of the uplink that an address is reached by, 0 = no route. */
export function routeOf<F>(g: Generation, address: usize): u32 {
  if (!g.routeCount) return 0;
  const hi = hiOf<F>(address), lo = loOf<F>(address);
  for (let word: i32 = 2; word >= 0; word--) {
    const at = changetype<usize>(g) + (usize(word) << 3);
    let lengths = load<u64>(at, GENERATION_ROUTE_LENGTHS);
    // ::/0 holds no IPv4 address
    if (is4<F>() && word < 2) lengths = word ? lengths & ~(u64.MAX_VALUE >> 32) : 0;
    while (lengths) {
      const bit = 63 - u32(clz<u64>(lengths));
      lengths &= ~(u64(1) << u64(bit));
      const length = (u32(word) << 6) | bit;
      const low = length > 64 ? lo & prefixMask(length - 64) : 0;
      const found = placeOf(g, hi & prefixMask(length), low, length).endpoint;
      if (found) return found;
    }
  }
  return 0;
}

/** Adds a staged route. */
export function addRoute(g: Generation, body: usize, length: u32): StageError {
  if (length != ROUTE_BYTES) return refuse(StageError.BadRecordLength, length);
  const bits = load<u32>(body, ROUTE_LENGTH);
  const endpoint = load<u32>(body, ROUTE_ENDPOINT);
  if (bits > 128) return refuse(StageError.FieldOutOfRange, u32(ROUTE_LENGTH));
  if (endpoint >= g.endpointCount || endpointAt(g, endpoint).kind != <u8>EndpointKind.Uplink) {
    return refuse(StageError.FieldOutOfRange, u32(ROUTE_ENDPOINT));
  }
  if (g.routeCount >= g.routeMax) return refuse(StageError.TableFull, endpoint);
  const hi = bswap<u64>(load<u64>(body, ROUTE_NETWORK)) & prefixMask(bits);
  const low = bits > 64 ? prefixMask(bits - 64) : 0;
  const lo = bswap<u64>(load<u64>(body, ROUTE_NETWORK + 8)) & low;
  const r = placeOf(g, hi, lo, bits);
  if (r.endpoint) return refuse(StageError.DuplicateRoute, g.routeCount);
  r.hi = hi;
  r.lo = lo;
  r.length = bits;
  r.endpoint = endpoint + 1;
  const at = changetype<usize>(g) + (usize(bits >> 6) << 3);
  const lengths = load<u64>(at, GENERATION_ROUTE_LENGTHS) | (u64(1) << u64(bits & 63));
  store<u64>(at, lengths, GENERATION_ROUTE_LENGTHS);
  g.routeCount++;
  return StageError.None;
}
