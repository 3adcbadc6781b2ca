// The hash by which Calico's eBPF dataplane chooses a slot of its Maglev tables: Bob Jenkins'
// hashword of lookup3 over source, destination, ports and protocol as 32-bit words, addresses as
// they lie in memory, ports in host order. Source: lookup3.c (2006); projectcalico felix/bpf-gpl,
// maglev.h; calico.md section 4.
import { destinationOf, is4, sourceOf } from "./family";
import { Packet } from "./packet";

const SEED: u32 = 0xca71c0;
const START: u32 = 0xdeadbeef;

/** The words that are hashed, in order: the second family's protocol stands before its ports. */
function word<F>(p: Packet, i: u32): u32 {
  const window = usize(p.window);
  const sourcePort = u32(bswap<u16>(u16(p.ports)));
  const destinationPort = u32(bswap<u16>(u16(p.ports >> 16)));
  if (is4<F>()) {
    if (i == 0) return load<u32>(sourceOf<F>(window));
    if (i == 1) return load<u32>(destinationOf<F>(window));
    return i == 2 ? sourcePort : i == 3 ? destinationPort : u32(p.protocol);
  }
  if (i < 8) return load<u32>(sourceOf<F>(window) + (usize(i) << 2));
  return i == 8 ? u32(p.protocol) : i == 9 ? sourcePort : destinationPort;
}

export function hashword<F>(p: Packet): u32 {
  let length: u32 = is4<F>() ? 5 : 11;
  let a = START + (length << 2) + SEED, b = a, c = a;
  let i: u32 = 0;
  for (; length > 3; length -= 3, i += 3) {
    a += word<F>(p, i);
    b += word<F>(p, i + 1);
    c += word<F>(p, i + 2);
    a -= c; a ^= rotl<u32>(c, 4); c += b;
    b -= a; b ^= rotl<u32>(a, 6); a += c;
    c -= b; c ^= rotl<u32>(b, 8); b += a;
    a -= c; a ^= rotl<u32>(c, 16); c += b;
    b -= a; b ^= rotl<u32>(a, 19); a += c;
    c -= b; c ^= rotl<u32>(b, 4); b += a;
  }
  // Two words are left of either family.
  b += word<F>(p, i + 1);
  a += word<F>(p, i);
  c ^= b; c -= rotl<u32>(b, 14);
  a ^= c; a -= rotl<u32>(c, 11);
  b ^= a; b -= rotl<u32>(a, 25);
  c ^= b; c -= rotl<u32>(b, 16);
  a ^= c; a -= rotl<u32>(c, 4);
  b ^= a; b -= rotl<u32>(a, 14);
  c ^= b; c -= rotl<u32>(b, 24);
  return c;
}
