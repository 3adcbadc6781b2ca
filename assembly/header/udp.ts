// UDP header (RFC 768): offsets. A checksum of zero says that there is none (IPv4 alone); a
// computed zero is sent as 0xffff.

export const PROTOCOL: u32 = 17;
export const HEADER_BYTES: u32 = 8;
export const LENGTH: usize = 4;
export const CHECKSUM: usize = 6;
