// The labels that Calico itself gives to endpoints, and the names of the profiles that pods have.
//
//   pod's own labels  +  projectcalico.org/{namespace,orchestrator,serviceaccount}
//     └ parents: kns.NAMESPACE (labels "pcns.…")  then  ksa.NAMESPACE.ACCOUNT (labels "pcsa.…")
//
// Own labels win over a parent's, the first parent's over the next one's.
// Source: projectcalico libcalico-go/lib/backend/k8s/conversion.
import type { Labels } from "./selector/node.ts";

export const NAMESPACE_LABEL = "projectcalico.org/namespace";
export const ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator";
export const SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount";
/** Of namespaces and service accounts, behind their prefix. */
export const NAME_LABEL = "projectcalico.org/name";
/** The API server's own, on every namespace. */
export const METADATA_NAME_LABEL = "kubernetes.io/metadata.name";
export const NAMESPACE_PREFIX = "pcns.";
export const SERVICE_ACCOUNT_PREFIX = "pcsa.";
export const KUBERNETES = "k8s";

export function namespaceProfile(namespace: string): string {
  return `kns.${namespace}`;
}

export function serviceAccountProfile(namespace: string, account: string): string {
  return `ksa.${namespace}.${account}`;
}

/** Labels with a prefix before each name. */
export function withPrefix(labels: Record<string, string>, prefix: string): [string, string][] {
  return Object.entries(labels).map(([name, value]) => [prefix + name, value]);
}

/** Own labels and those of parents as one map. */
export function inherit(
  own: Iterable<[string, string]>, parents: (ReadonlyMap<string, string> | undefined)[],
): Map<string, string> {
  const labels = new Map(own);
  for (const parent of parents) {
    for (const [name, value] of parent ?? []) if (!labels.has(name)) labels.set(name, value);
  }
  return labels;
}

/** Labels that an index can be asked with. */
export type LabelMap = ReadonlyMap<string, string> & Labels;
