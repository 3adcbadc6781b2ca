// Prefixes with host bits, where an API server lets them pass and means the network: ipBlock,
// networks of administrators' policies, network sets. (Calico's rules it refuses: schema-rule.ts.)
import { fieldFinding } from "../input/schema-issue.ts";
import { networkOf, prefixFault } from "../input/schema-parts.ts";
import type { Finding, Manifest } from "../model/snapshot.ts";

const FIELDS = new Set(["cidr", "except", "networks", "nets"]);

export function hostBits(of: Manifest): Finding[] {
  const found: Finding[] = [];
  const visit = (value: unknown, path: (string | number)[]): void => {
    if (typeof value === "string") {
      if (!path.some((step) => FIELDS.has(String(step))) || !value.includes("/")) return;
      if (prefixFault(value) !== undefined || prefixFault(value, { masked: true }) === undefined) {
        return;
      }
      found.push(fieldFinding(of, path, `${value} has host bits set; ${networkOf(value)} is meant`,
        { severity: "warning", value: true }));
    } else if (typeof value === "object" && value !== null) {
      for (const [key, each] of Object.entries(value)) {
        visit(each, [...path, Array.isArray(value) ? Number(key) : key]);
      }
    }
  };
  visit(of.value["spec"], ["spec"]);
  return found;
}
