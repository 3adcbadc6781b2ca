// ICMP (RFC 792) and ICMPv6 (RFC 4443): echo alone for now; the identifier stands for both ports.

export const PROTOCOL4: u32 = 1;
export const PROTOCOL6: u32 = 58;
export const HEADER_BYTES: u32 = 8;
export const CHECKSUM: usize = 2;
export const IDENTIFIER: usize = 4;

export const ECHO_REPLY4: u32 = 0;
export const ECHO_REQUEST4: u32 = 8;
export const ECHO_REQUEST6: u32 = 128;
export const ECHO_REPLY6: u32 = 129;
