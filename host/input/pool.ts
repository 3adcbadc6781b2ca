// Addresses for what has none yet: of pods from IP pools, of nodes, of Services. In the order in
// which they are asked for, the lowest first, never one that something else has.
//
//   pool 10.65.0.0/16:  .0 is not given, .1, .2 … ; full: the next pool
import { addressBytes, addressNumber, addressText, parsePrefix } from "../model/address.ts";
import type { Family } from "../model/address.ts";
import type { Manifest } from "../model/snapshot.ts";

/** Where no IPPool says otherwise. */
export const POD_PREFIX = "10.65.0.0/16";
const NODE_PREFIXES: Record<Family, string> = { 4: "192.168.65.0/24", 6: "fd65::/112" };
const SERVICE_PREFIXES: Record<Family, string> = { 4: "10.96.0.0/16", 6: "fd96::/112" };

/** Addresses of one family, from several prefixes, one after the other. */
export class AddressPool {
  readonly family: Family;
  private readonly prefixes: { next: bigint; end: bigint }[];
  private readonly taken: Set<bigint>;

  /** `taken`: addresses that something has; the pool adds those that it gives. */
  constructor(family: Family, prefixes: readonly string[], taken: Set<bigint>) {
    this.family = family;
    this.taken = taken;
    this.prefixes = prefixes.map((text) => {
      const { network, mask } = parsePrefix(text);
      const size = ((1n << 128n) - 1n) ^ mask;
      // The network's own address and IPv4's broadcast are no endpoints'.
      const spare = size >= 3n ? 1n : 0n;
      return { next: network + spare, end: network + size - (family === 4 ? spare : 0n) };
    });
  }

  /** The next free address; undefined where every prefix is used up. */
  take(): string | undefined {
    for (const prefix of this.prefixes) {
      for (; prefix.next <= prefix.end; prefix.next++) {
        if (this.taken.has(prefix.next)) continue;
        this.taken.add(prefix.next);
        return numberText(prefix.next++, this.family);
      }
    }
    return undefined;
  }
}

export function numberOf(address: string): bigint {
  return addressNumber(addressBytes(address));
}

/** Text of an address that is a 128-bit number (IPv4 under ::ffff:0:0/96). */
export function numberText(number: bigint, family: Family): string {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => {
    return Number((number >> BigInt(120 - 8 * i)) & 255n);
  });
  return addressText(family === 4 ? bytes.subarray(12) : bytes);
}

interface PoolSpec {
  cidr: string;
  disabled: boolean;
  nodeSelector: string;
  namespaceSelector?: string;
  allowedUses: string[];
  assignmentMode: string;
}

/**
 * One pool a family: of the IPPools that any pod may be given addresses from, in order of name;
 * where there are none, of those that select nodes or namespaces. Without IPPools IPv4 alone.
 */
export function podPools(ipPools: readonly Manifest[], taken: Set<bigint>): AddressPool[] {
  const specs = [...ipPools].sort((a, b) => a.name < b.name ? -1 : 1)
    .map(({ value }) => value["spec"] as PoolSpec)
    .filter(({ disabled, allowedUses, assignmentMode }) => {
      return !disabled && allowedUses.includes("Workload") && assignmentMode === "Automatic";
    });
  const everybodys = specs.filter(({ nodeSelector, namespaceSelector }) => {
    return ["", "all()"].includes(nodeSelector.trim()) && !namespaceSelector;
  });
  const prefixes = specs.length === 0 ? [POD_PREFIX]
    : [...everybodys, ...specs.filter((spec) => !everybodys.includes(spec))]
      .map(({ cidr }) => cidr);
  return ([4, 6] as const).map((family) => {
    const own = prefixes.filter((text) => parsePrefix(text).family === family);
    return new AddressPool(family, own, taken);
  }).filter((pool) => prefixes.some((text) => parsePrefix(text).family === pool.family));
}

export function nodePool(family: Family, taken: Set<bigint>): AddressPool {
  return new AddressPool(family, [NODE_PREFIXES[family]], taken);
}

export function servicePool(family: Family, taken: Set<bigint>): AddressPool {
  return new AddressPool(family, [SERVICE_PREFIXES[family]], taken);
}
