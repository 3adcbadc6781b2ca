// ICMP (RFC 792) and ICMPv6 (RFC 4443): an echo's identifier stands for both ports. Neighbour
// discovery (RFC 4861) and listener discovery (RFC 2710, RFC 3810).

export const PROTOCOL4: u32 = 1;
export const PROTOCOL6: u32 = 58;
export const HEADER_BYTES: u32 = 8;
export const CHECKSUM: usize = 2;
export const IDENTIFIER: usize = 4;

export const ECHO_REPLY4: u32 = 0;
export const ECHO_REQUEST4: u32 = 8;
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
