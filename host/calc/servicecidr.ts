// Where Services' addresses are taken from, as ServiceCIDRs say it, less the addresses that another
// proxy serves. What no frontend serves there is refused or dropped.
//
//   10.96.0.0/30 less 10.96.0.1  ─►  10.96.0.0/32, 10.96.0.2/31
//
// Source: networking.k8s.io/v1 ServiceCIDR; kubernetes pkg/proxy/nftables (cluster-ips, no-endpoint
// chains).
import { addressText, parsePrefix, type Prefix } from "../model/address.ts";
import type { Manifest, Snapshot } from "../model/snapshot.ts";
import { objectAt, textsAt } from "./field.ts";
import type { Report } from "./report.ts";
import { clusterIPs, isExcluded } from "./serviceport.ts";

const ALL = (1n << 128n) - 1n;

/** Prefixes; none where no ServiceCIDR is known. */
export function serviceNetworks(snapshot: Snapshot, report: Report): string[] {
  const prefixes = snapshot.serviceCIDRs.flatMap((manifest) => prefixesOf(manifest, report));
  if (prefixes.length === 0) return [];
  const others = snapshot.services.filter(isExcluded)
    .flatMap(({ value }) => clusterIPs(objectAt(value, "spec")))
    .map((address) => parsePrefix(address));
  return others.reduce((left, other) => left.flatMap((prefix) => less(prefix, other)), prefixes)
    .map(prefixText);
}

function prefixesOf(manifest: Manifest, report: Report): Prefix[] {
  const spec = objectAt(manifest.value, "spec");
  return textsAt(spec, "cidrs").flatMap((text, i) => {
    try {
      return [parsePrefix(text)];
    } catch (error) {
      report.error(manifest, ["spec", "cidrs", i], (error as Error).message);
      return [];
    }
  });
}

/** What of the prefix is not in the other, which lies within it or apart from it. */
function less(prefix: Prefix, other: Prefix): Prefix[] {
  const { family, network, mask } = prefix;
  if (family !== other.family || (other.network & mask) !== network) return [prefix];
  if (mask === ALL) return [];
  // One bit longer: two halves.
  const longer = (mask >> 1n) | (1n << 127n);
  const bit = longer & ~mask & ALL;
  return [network, network | bit].flatMap((half) =>
    less({ family, network: half, mask: longer }, other));
}

function prefixText({ family, network, mask }: Prefix): string {
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => {
    return Number((network >> BigInt(120 - 8 * i)) & 255n);
  });
  const ones = mask.toString(2).replaceAll("0", "").length;
  return family === 4
    ? `${addressText(bytes.subarray(12))}/${ones - 96}` : `${addressText(bytes)}/${ones}`;
}
