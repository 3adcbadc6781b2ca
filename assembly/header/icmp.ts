// ICMP (RFC 792) and ICMPv6 (RFC 4443): an echo's identifier stands for both ports; errors quote
// the packet that they are about. Neighbour discovery (RFC 4861) and listener discovery (RFC 2710,
// RFC 3810).

export const PROTOCOL4: u32 = 1;
export const PROTOCOL6: u32 = 58;
export const HEADER_BYTES: u32 = 8;
export const CHECKSUM: usize = 2;
export const IDENTIFIER: usize = 4;

export const ECHO_REPLY4: u32 = 0;
export const UNREACHABLE4: u32 = 3;
export const PORT_UNREACHABLE4: u32 = 3; // code
const SOURCE_QUENCH: u32 = 4;
export const ECHO_REQUEST4: u32 = 8;
const TIME_EXCEEDED4: u32 = 11;
const PARAMETER_PROBLEM4: u32 = 12;
export const UNREACHABLE6: u32 = 1;
export const PORT_UNREACHABLE6: u32 = 4; // code
const PARAMETER_PROBLEM6: u32 = 4;
export const ECHO_REQUEST6: u32 = 128;
export const ECHO_REPLY6: u32 = 129;
const LISTENER_QUERY: u32 = 130;
const LISTENER_DONE: u32 = 132;
const ROUTER_SOLICITATION: u32 = 133;
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;
const LISTENER_REPORT2: u32 = 143;

/**
 * Is this ICMPv6 type neighbour discovery that no router has passed on (hop limit 255), or listener
 * discovery, which none passes on (hop limit 1)? Redirects are not among them.
 */
// @ts-ignore: decorator
@inline
export function isLinkLocal(type: u32, hopLimit: u32): bool {
  const neighbour = type >= ROUTER_SOLICITATION && type <= NEIGHBOUR_ADVERTISEMENT;
  const listener = (type >= LISTENER_QUERY && type <= LISTENER_DONE) || type == LISTENER_REPORT2;
  return (neighbour && hopLimit == 255) || (listener && hopLimit == 1);
}

// @ts-ignore: decorator
@inline
export function isEcho(family: u32, type: u32): bool {
  return family == 4
    ? type == ECHO_REQUEST4 || type == ECHO_REPLY4
    : type == ECHO_REQUEST6 || type == ECHO_REPLY6;
}

/**
 * Is it an error about a flow's packet, which it quotes? Not redirects: those are between a router
 * and its neighbour, and nobody forwards them.
 */
// @ts-ignore: decorator
@inline
export function isError(family: u32, type: u32): bool {
  if (family != 4) return type >= UNREACHABLE6 && type <= PARAMETER_PROBLEM6;
  return type == UNREACHABLE4 || type == SOURCE_QUENCH || type == TIME_EXCEEDED4 ||
    type == PARAMETER_PROBLEM4;
}

// An echo's identifier as the ports of its session's key: the source port of a request, the
// destination port of a reply, the other port being 0. Of identifier 0 request and reply would have
// one key: another pair stands for it, which no other identifier gives.
const NO_IDENTIFIER: u32 = 0x0002_0001;

/** The ports of an echo request's key; turned round they are its reply's. */
// @ts-ignore: decorator
@inline
export function portsOfEcho(identifier: u32): u32 {
  return identifier ? identifier : NO_IDENTIFIER;
}
/** The identifier, as it lies, that a key's ports stand for, in either direction. */
// @ts-ignore: decorator
@inline
export function identifierOf(ports: u32): u32 {
  if (ports == NO_IDENTIFIER || ports == rotl<u32>(NO_IDENTIFIER, 16)) return 0;
  return (ports | (ports >> 16)) & 0xffff;
}
