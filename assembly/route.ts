// Routes: which uplink a packet leaves by whose destination no endpoint owns. A generation holds
// them longest prefix first; the first that holds the address is it. One route is the rule (the
// default route of a node with one uplink), so the look-up is a walk. Limit: 1,024 routes.
import { hiOf, is4, loOf } from "./family";
import { Generation } from "./generation";
import {
  ENDPOINTS_MAX, EndpointKind, ROUTES_MAX, ROUTE_BYTES, ROUTE_ENDPOINT, ROUTE_LENGTH,
  ROUTE_NETWORK, StageError,
} from "./layout";
import { endpointAt } from "./endpoint";
import { prefixMask } from "./members";
import { refuse } from "./root";

@unmanaged
export class Route {
  hi: u64; // host order; IPv4 as ::ffff:a.b.c.d
  lo: u64;
  maskHi: u64;
  maskLo: u64;
  endpoint: u32; // index of an uplink
  length: u32;
  pad0: u64;
  pad1: u64;
}
if (offsetof<Route>() != 56) ERROR("Route is not 56 bytes");
if (ROUTES_MAX * offsetof<Route>() > 1 << 20) ERROR("the routes are too many");
if (ENDPOINTS_MAX > 0xffff) ERROR("an endpoint's index does not fit");

// @ts-ignore: decorator
@inline
function routeAt(g: Generation, i: u32): Route {
  return changetype<Route>(usize(g.routes) + usize(i) * offsetof<Route>());
}

/** Index + 1 of the uplink that an address is reached by, 0 = no route. */
export function routeOf<F>(g: Generation, address: usize): u32 {
  const hi = hiOf<F>(address), lo = loOf<F>(address);
  for (let i: u32 = 0; i < g.routeCount; i++) {
    const r = routeAt(g, i);
    if (is4<F>() && r.length < 96) continue; // ::/0 holds no IPv4 address
    if (((hi & r.maskHi) ^ r.hi) | ((lo & r.maskLo) ^ r.lo)) continue;
    return r.endpoint + 1;
  }
  return 0;
}

/** Adds a staged route behind those that are there. */
export function addRoute(g: Generation, body: usize, length: u32): StageError {
  if (length != ROUTE_BYTES) return refuse(StageError.BadRecordLength, length);
  const bits = load<u32>(body, ROUTE_LENGTH);
  const endpoint = load<u32>(body, ROUTE_ENDPOINT);
  if (bits > 128) return refuse(StageError.FieldOutOfRange, u32(ROUTE_LENGTH));
  if (endpoint >= g.endpointCount || endpointAt(g, endpoint).kind != <u8>EndpointKind.Uplink) {
    return refuse(StageError.FieldOutOfRange, u32(ROUTE_ENDPOINT));
  }
  if (g.routeCount >= g.routeMax) return refuse(StageError.TableFull, endpoint);
  if (g.routeCount && routeAt(g, g.routeCount - 1).length < bits) {
    return refuse(StageError.BadRouteOrder, g.routeCount);
  }
  const r = routeAt(g, g.routeCount);
  r.maskHi = prefixMask(bits);
  r.maskLo = bits > 64 ? prefixMask(bits - 64) : 0;
  r.hi = bswap<u64>(load<u64>(body, ROUTE_NETWORK)) & r.maskHi;
  r.lo = bswap<u64>(load<u64>(body, ROUTE_NETWORK + 8)) & r.maskLo;
  r.endpoint = endpoint;
  r.length = bits;
  g.routeCount++;
  return StageError.None;
}
