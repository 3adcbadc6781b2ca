// The link layer of a captured packet: where its IP header starts, by link type.
//
//  Ethernet   dst 6, src 6, (VLAN tag 4)*, type 2           RAW    IP at once, by its version
//  SLL        type 2, hardware 2, length 2, address 8, protocol 2
//  SLL2       protocol 2, 0 2, interface 4, hardware 2, type 1, length 1, address 8
//
// Limits: of Ethernet frames those with an EtherType; 802.3 with LLC, ARP, MPLS and PPPoE are no IP
// packets here, and other link types are none at all.
// Source: IEEE 802.1Q, tcpdump.org/linktypes.html.

import {
  LINKTYPE_ETHERNET, LINKTYPE_LINUX_SLL, LINKTYPE_LINUX_SLL2, LINKTYPE_RAW,
} from "./capture.ts";

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const VLAN_TAGS: readonly number[] = [0x8100, 0x88a8, 0x9100];
const SLL_BYTES = 16;
const SLL2_BYTES = 20;

export interface NetworkLayer {
  offset: number;
  family: 4 | 6;
}

/** Where the IP header starts; undefined where the packet carries no IP or ends before it. */
export function networkLayer(linkType: number, bytes: Uint8Array): NetworkLayer | undefined {
  switch (linkType) {
    case LINKTYPE_ETHERNET:
      return ethernet(bytes);
    case LINKTYPE_RAW:
      return raw(bytes);
    case LINKTYPE_LINUX_SLL:
      return byEtherType(bytes, 14, SLL_BYTES);
    case LINKTYPE_LINUX_SLL2:
      return byEtherType(bytes, 0, SLL2_BYTES);
    default:
      return undefined;
  }
}

function ethernet(bytes: Uint8Array): NetworkLayer | undefined {
  let type = 12;
  while (VLAN_TAGS.includes(etherType(bytes, type) ?? 0)) type += 4;
  return byEtherType(bytes, type, type + 2);
}

function raw(bytes: Uint8Array): NetworkLayer | undefined {
  const version = (bytes[0] ?? 0) >> 4;
  return version === 4 || version === 6 ? { offset: 0, family: version } : undefined;
}

function byEtherType(bytes: Uint8Array, at: number, offset: number): NetworkLayer | undefined {
  const type = etherType(bytes, at);
  if (offset >= bytes.length) return undefined;
  if (type === ETHERTYPE_IPV4) return { offset, family: 4 };
  return type === ETHERTYPE_IPV6 ? { offset, family: 6 } : undefined;
}

function etherType(bytes: Uint8Array, at: number): number | undefined {
  const high = bytes[at], low = bytes[at + 1];
  return high === undefined || low === undefined ? undefined : (high << 8) | low;
}
