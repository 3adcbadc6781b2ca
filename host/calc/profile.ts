// Rules of profiles, which stand behind all tiers: kns.* allow all, ksa.* have none, a Profile has
// its own; and projectcalico-default-allow, which host endpoints may name, is always there.
// Source: projectcalico libcalico-go/lib/backend/k8s/conversion (NamespaceToProfile),
// updateprocessors/profileprocessor.go.
import type { Rule } from "../model/rule.ts";
import type { Snapshot } from "../model/snapshot.ts";
import type { ProfileState } from "../model/state.ts";
import { calicoRules } from "./calico.ts";
import type { ProfileLabels } from "./endpoint.ts";
import { Reader } from "./reader.ts";
import type { Report } from "./report.ts";
import { ruleOf, type SetDefinition } from "./rule.ts";

const DEFAULT_ALLOW = "projectcalico-default-allow";

export interface ConvertedProfile {
  state: ProfileState;
  sets: Map<string, SetDefinition>;
}

/** By name. A Profile with an error is left out: then it is missing, and denies. */
export function profileStates(
  snapshot: Snapshot, labels: ProfileLabels, report: Report,
): Map<string, ConvertedProfile> {
  const profiles = new Map<string, ConvertedProfile>();
  const add = (name: string, allows: boolean): void => {
    const rules = (path: string): Rule[] => (allows ? [{ action: "allow", origin: { path } }] : []);
    const state = { name, inbound: rules("ingress[0]"), outbound: rules("egress[0]") };
    profiles.set(name, { state, sets: new Map() });
  };
  for (const name of labels.keys()) {
    if (name.startsWith("kns.")) add(name, true);
    else if (name.startsWith("ksa.")) add(name, false);
  }
  add(DEFAULT_ALLOW, true);
  for (const manifest of snapshot.profiles) {
    const reader = new Reader(manifest, report);
    const sets = new Map<string, SetDefinition>();
    const [inbound, outbound] = (["ingress", "egress"] as const).map((direction) => {
      const specs = calicoRules(reader, direction, "");
      if (reader.failed) return [];
      return specs.flatMap((spec) => {
        return reader.attempt(["spec", direction], () => ruleOf(spec, "", sets)) ?? [];
      });
    }) as [Rule[], Rule[]];
    const { name } = manifest;
    profiles.delete(name);
    if (!reader.failed) profiles.set(name, { state: { name, inbound, outbound }, sets });
  }
  return profiles;
}
