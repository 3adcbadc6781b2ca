// Maglev tables, slowly: every backend has its whole list of preferred slots, and turns are taken
// one by one (Eisenbud et al., NSDI 2016, section 3.4). A turn comes whenever a backend's added-up
// weight reaches the largest weight. The table says which backend, by its place in the sorted set.
import { addressBytes } from "../../host/model/address.ts";

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
