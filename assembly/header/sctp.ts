// SCTP common header (RFC 9260): ports, verification tag, CRC32c.

export const PROTOCOL: u32 = 132;
export const HEADER_BYTES: u32 = 12;
export const CHECKSUM: usize = 8;
