// Maglev tables, slowly: every backend has its whole list of preferred slots, and turns are taken
// one by one (Eisenbud et al., NSDI 2016, section 3.4). A turn comes whenever a backend's added-up
// weight reaches the largest weight. The table says which backend, by its place in the sorted set.
// Which slot a flow has is the hash of its tuple; or of its client alone, where that has affinity.
//
// Calico's eBPF dataplane: the classic table, permutations by FNV-1 of "address:port", slots by Bob
// Jenkins' hashword (hashword.ts).
import { addressBytes } from "../../host/model/address.ts";
import { fnv1, hashword } from "./hashword.ts";

export interface Place {
  address: string;
  port: number;
  weight: number;
}
const K0 = 0x9fb21c651e98df25n, K1 = 0xd6e8feb86659fd93n;
const MASK = (1n << 64n) - 1n;
const mix = (x: bigint, multiplier: bigint): bigint => {
  const product = (x * multiplier) & MASK;
  return product ^ (product >> 32n);
};

/** Hash of an address and a port, the words as they lie in memory on a little-endian machine. */
function hash({ address, port }: Place, seed: bigint): bigint {
  const view = new DataView(addressBytes(address).buffer);
  const wirePort = BigInt((port & 0xff) << 8 | port >> 8);
  let h = mix(view.getBigUint64(8, true) ^ seed, K0);
  h = mix(view.getBigUint64(0, true) ^ h, K1);
  h = mix(wirePort ^ h, K0);
  return mix(h, K1);
}
/** Address, then port. */
export function sorted(backends: Place[]): Place[] {
  const key = (one: Place): string =>
    Buffer.from(addressBytes(one.address)).toString("hex") + one.port.toString(16).padStart(4, "0");
  return [...backends].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}
/** All slots in the order in which a backend wants them. */
function preferences(backend: Place, slots: number, seed: bigint): number[] {
  const h = hash(backend, seed);
  const bits = 32 - Math.clz32(slots - 1), mask = 2 ** bits - 1, half = bits >> 1;
  const a = Number(h >> 32n), b = Number(h & 0xffffffffn);
  const steps: [number, number][] = [
    [(b << 1) | 1, a], [(a >>> 7 << 1) | 1, 0], [(b >>> 9 << 1) | 1, a >>> 15],
  ];
  return Array.from({ length: mask + 1 }, (_, j) => steps.reduce((x, [factor, plus]) => {
    const y = (Math.imul(x, factor) + plus) & mask;
    return y ^ (y >>> half);
  }, j)).filter((slot) => slot < slots);
}

/** Place in the sorted set, by slot. */
export function maglev(backends: Place[], slots: number, seed: bigint): number[] {
  const set = sorted(backends);
  const wishes = set.map((one) => preferences(one, slots, seed));
  const credit = set.map(() => 0), asked = set.map(() => 0);
  const heaviest = Math.max(...set.map((one) => one.weight));
  const table = new Array<number>(slots).fill(-1);
  for (let filled = 0; ;) {
    for (const [i, one] of set.entries()) {
      credit[i]! += one.weight;
      if (credit[i]! < heaviest) continue;
      credit[i]! -= heaviest;
      let slot: number;
      do slot = wishes[i]![asked[i]!++]!; while (table[slot]! >= 0);
      table[slot] = i;
      if (++filled === slots) return table;
    }
  }
}

/** Slots by size class: 1,999 to 20 backends, 16,381 to 160, 65,537 above. */
export function slotsFor(backends: number): number {
  return backends <= 20 ? 1999 : backends <= 160 ? 16_381 : 65_537;
}

/** A flow as its packets bear it; ports of an echo or of nothing as the session's key has them. */
export interface Tuple {
  source: Uint8Array;
  destination: Uint8Array;
  /** The two ports as they stand in a packet, 4 bytes. */
  ports: Uint8Array;
  protocol: number;
}
const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const M32 = 0xffff_ffffn;

/** The slot of a flow: 32 bits of its hash, scaled to the number of slots. */
export function slotOfFlow(tuple: Tuple, slots: number, seed: bigint): number {
  const pair = new Uint8Array([...tuple.source, ...tuple.destination]);
  const view = viewOf(pair);
  const rest = (BigInt(tuple.protocol) << 32n) | BigInt(viewOf(tuple.ports).getUint32(0, true));
  const other = ~seed & MASK;
  let h = mix(view.getBigUint64(0, true) ^ seed, K0);
  if (pair.length === 32) {
    h = mix(view.getBigUint64(8, true) ^ h, K1);
    h = mix(view.getBigUint64(16, true) ^ h ^ other, K0);
    h = mix(view.getBigUint64(24, true) ^ h, K1);
  }
  h = mix(mix(h ^ rest ^ other, K1), K0);
  return Number(((h >> 32n) & M32) * BigInt(slots) >> 32n);
}

/** The slot of a client, whatever its ports: where Services have affinity. */
export function slotOfClient(client: Uint8Array, slots: number, seed: bigint): number {
  const view = viewOf(client.length === 16 ? client
    : new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...client]));
  let h = mix(view.getBigUint64(8, true) ^ seed, K0);
  h = mix(view.getBigUint64(0, true) ^ h, K1);
  h = mix(mix(h, K0), K1);
  return Number(((h >> 32n) & M32) * BigInt(slots) >> 32n);
}

// ---- Calico's -----------------------------------------------------------------------------------

const nameOf = ({ address, port }: Pick<Place, "address" | "port">): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

/** Backends by their text, as Calico sorts them. */
export function classicOrder<T extends Pick<Place, "address" | "port">>(backends: T[]): T[] {
  return [...backends].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}
/** Place in classicOrder(), by slot: each in turn takes the next free one of its own. */
export function classicTable(backends: Pick<Place, "address" | "port">[], slots: number): number[] {
  const wishes = classicOrder(backends).map((one) => {
    const name = new TextEncoder().encode(nameOf(one));
    const offset = fnv1(0, name) % slots, skip = (fnv1(0x0a, name) % (slots - 1)) + 1;
    return Array.from({ length: slots }, (_, j) => (offset + j * skip) % slots);
  });
  const table = new Array<number>(slots).fill(-1);
  for (let turn = 0, filled = 0; filled < slots; turn = (turn + 1) % wishes.length, filled++) {
    const slot = wishes[turn]!.find((each) => table[each]! < 0)!;
    table[slot] = turn;
  }
  return table;
}
/** The slot that Calico's dataplane gives a flow. */
export function classicSlot(
  { source, destination, ports, protocol }: Tuple, slots: number,
): number {
  const words = (bytes: Uint8Array): number[] =>
    Array.from({ length: bytes.length / 4 }, (_, i) => viewOf(bytes).getUint32(i * 4, true));
  const from = viewOf(ports).getUint16(0), to = viewOf(ports).getUint16(2);
  const addresses = [...words(source), ...words(destination)];
  const tail = source.length === 4 ? [from, to, protocol] : [protocol, from, to];
  return hashword([...addresses, ...tail], 0xca_71c0) % slots;
}
