// The kinds that are read, and under which names of APIs. Every other object is no business of
// ours: a repository holds ConfigMaps and Ingresses too.
//
//   manifest ─ kindOf ─► schema ─ judge ─► the object with its API's defaults, or findings
import type { z } from "zod";
import type { Finding, Manifest } from "../model/snapshot.ts";
import { isObject, withValue } from "./manifest.ts";
import { editDistance, nearest, oneOf } from "./nearest.ts";
import * as admin from "./schema-admin.ts";
import * as calico from "./schema-calico.ts";
import { fieldFinding, judge } from "./schema-issue.ts";
import * as kubernetes from "./schema-kubernetes.ts";
import { SUBDOMAIN_NAME } from "./schema-parts.ts";

const CALICO = "projectcalico.org/v3";
const CALICO_CRD = "crd.projectcalico.org/v1";
const ADMIN = "policy.networking.k8s.io";

type Scope = "namespaced" | "cluster" | "either";

export interface Kind {
  kind: string;
  /** First the one to write. */
  apiVersions: string[];
  /** either: of the cluster, or of the namespace that it names. */
  scope: Scope;
  /** Is it a policy, or what policies stand on? Their API is never taken for another's. */
  policy: boolean;
  schema: z.ZodType;
}

function kind(
  name: string, apiVersions: string | string[], scope: Scope, schema: z.ZodType, policy = false,
): Kind {
  return { kind: name, apiVersions: [apiVersions].flat(), scope, policy, schema };
}

function calicoKind(name: string, scope: Scope, schema: z.ZodType): Kind {
  return kind(name, [CALICO, CALICO_CRD], scope, schema, true);
}

export const KINDS: readonly Kind[] = [
  kind("Namespace", "v1", "cluster", kubernetes.namespace),
  kind("Pod", "v1", "namespaced", kubernetes.pod),
  kind("Node", "v1", "cluster", kubernetes.node),
  kind("ServiceAccount", "v1", "namespaced", kubernetes.serviceAccount),
  kind("Service", "v1", "namespaced", kubernetes.service),
  kind("EndpointSlice", "discovery.k8s.io/v1", "namespaced", kubernetes.endpointSlice),
  kind("ServiceCIDR", ["networking.k8s.io/v1", "networking.k8s.io/v1beta1"], "cluster",
    kubernetes.serviceCIDR),
  kind("Deployment", "apps/v1", "namespaced", kubernetes.workload),
  kind("StatefulSet", "apps/v1", "namespaced", kubernetes.workload),
  kind("DaemonSet", "apps/v1", "namespaced", kubernetes.workload),
  kind("ReplicaSet", "apps/v1", "namespaced", kubernetes.workload),
  kind("Job", "batch/v1", "namespaced", kubernetes.job),
  kind("CronJob", "batch/v1", "namespaced", kubernetes.cronJob),
  kind("NetworkPolicy", "networking.k8s.io/v1", "namespaced", kubernetes.networkPolicy, true),
  kind("ClusterNetworkPolicy", `${ADMIN}/v1alpha2`, "cluster", admin.clusterNetworkPolicy, true),
  kind("AdminNetworkPolicy", `${ADMIN}/v1alpha1`, "cluster", admin.adminNetworkPolicy, true),
  kind("BaselineAdminNetworkPolicy", `${ADMIN}/v1alpha1`, "cluster",
    admin.baselineAdminNetworkPolicy, true),
  calicoKind("NetworkPolicy", "namespaced", calico.networkPolicy),
  calicoKind("GlobalNetworkPolicy", "cluster", calico.globalNetworkPolicy),
  calicoKind("StagedNetworkPolicy", "namespaced", calico.stagedNetworkPolicy),
  calicoKind("StagedGlobalNetworkPolicy", "cluster", calico.stagedGlobalNetworkPolicy),
  calicoKind("StagedKubernetesNetworkPolicy", "namespaced", calico.stagedKubernetesNetworkPolicy),
  calicoKind("Tier", "cluster", calico.tier),
  calicoKind("NetworkSet", "namespaced", calico.networkSet),
  calicoKind("GlobalNetworkSet", "cluster", calico.networkSet),
  calicoKind("HostEndpoint", "cluster", calico.hostEndpoint),
  calicoKind("Profile", "cluster", calico.profile),
  calicoKind("IPPool", "cluster", calico.ipPool),
  calicoKind("FelixConfiguration", "cluster", calico.felixConfiguration),
  kind("ModulePolicy", "margay.io/v1", "either", calico.modulePolicy, true),
];

/** APIs whose other kinds are few: a kind near one of ours there is a slip of the pen. */
const OUR_GROUPS = new Set([
  "projectcalico.org", "crd.projectcalico.org", ADMIN, "networking.k8s.io", "margay.io",
]);

/** Letters that a misspelt kind may differ in (BGPConfiguration is no FelixConfiguration). */
const SLIP_MAX = 2;

/** "apps" of apps/v1, "" of v1. */
export function groupOf(apiVersion: string): string {
  return apiVersion.includes("/") ? apiVersion.split("/")[0]! : "";
}

export type Checked =
  | { manifest: Manifest; kind: Kind }
  | { findings: Finding[] }
  | undefined;

/** The object with its defaults, or what is wrong with it; undefined where it is not ours. */
export function checkManifest(of: Manifest): Checked {
  const found = KINDS.find((each) => {
    return each.kind === of.kind && each.apiVersions.includes(of.apiVersion);
  });
  if (found === undefined) {
    const message = slip(of);
    return message === undefined ? undefined : { findings: [message] };
  }
  const namespace = found.scope === "cluster" ? ""
    : of.namespace || (found.scope === "either" ? "" : "default");
  const named = withValue(of, { namespace });
  const judged = judge(found.schema, named);
  const fault = nameFault(named);
  if ("findings" in judged || fault !== undefined) {
    return {
      findings: [...(fault === undefined ? [] : [fault]),
        ...("findings" in judged ? judged.findings : [])],
    };
  }
  return { manifest: withValue(named, etcdForm(named, judged.value)), kind: found };
}

function nameFault(of: Manifest): Finding | undefined {
  const metadata = of.value["metadata"];
  if (of.name === "") {
    // A name that is no string was complained of already.
    if (isObject(metadata) && (metadata["name"] ?? "") !== "") return undefined;
    return fieldFinding(of, ["metadata", "name"], "missing: every object has a name");
  }
  return SUBDOMAIN_NAME.test(of.name) && of.name.length <= 253 ? undefined
    : fieldFinding(of, ["metadata", "name"], `"${of.name}" is no name: a-z, 0-9, - and .`,
      { value: true });
}

/**
 * In etcd's form a policy of the tier default may be called "default.name" for the policy "name",
 * and an annotation may bear the name that it had (libcalico-go backend/k8s/resources). What
 * Calico's own API server fills in, types, is not filled in there.
 */
function etcdForm(of: Manifest, value: Record<string, unknown>): Partial<Manifest> {
  if (of.apiVersion !== CALICO_CRD) return { value };
  const metadata = value["metadata"] as { annotations?: Record<string, string> };
  const spec = { ...value["spec"] as Record<string, unknown> };
  const written = of.value["spec"];
  if (isObject(written) && !Array.isArray(written["types"])) delete spec["types"];
  const kept = keptName(metadata.annotations?.["projectcalico.org/metadata"]);
  const policy = of.kind.endsWith("NetworkPolicy") && of.kind !== "StagedKubernetesNetworkPolicy";
  const name = kept ??
    (policy && spec["tier"] === "default" ? of.name.replace(/^default\./, "") : of.name);
  return { name, value: { ...value, metadata: { ...metadata, name }, spec } };
}

function keptName(annotation: string | undefined): string | undefined {
  if (annotation === undefined) return undefined;
  try {
    const kept: unknown = JSON.parse(annotation);
    return isObject(kept) && typeof kept["name"] === "string" ? kept["name"] : undefined;
  } catch {
    return undefined;
  }
}

/** A kind or an API misspelt, or one that is gone. */
function slip(of: Manifest): Finding | undefined {
  const group = groupOf(of.apiVersion);
  const same = KINDS.filter(({ kind: each }) => each === of.kind);
  if (of.apiVersion === "") {
    if (same.length === 0) return undefined;
    const versions = same.flatMap(({ apiVersions }) => apiVersions);
    return fieldFinding(of, [], `no apiVersion; of a ${of.kind} it is ${oneOf(versions)}`);
  }
  if (same.some(({ policy }) => policy)) {
    const versions = same.flatMap(({ apiVersions }) => apiVersions);
    const groups = versions.map(groupOf);
    const near = nearest(of.apiVersion, versions) ??
      (group === "extensions" ? "networking.k8s.io/v1" : undefined);
    if (near === undefined && !groups.includes(group)) return undefined;
    return fieldFinding(of, ["apiVersion"], `no API serves ${of.kind} as ${of.apiVersion}; ` +
      `it is ${oneOf(near === undefined ? versions : [near])}`, { value: true });
  }
  if (same.length > 0 || !OUR_GROUPS.has(group)) return undefined;
  const near = KINDS.find(({ kind: each, apiVersions }) => {
    return editDistance(each, of.kind) <= SLIP_MAX &&
      apiVersions.some((version) => groupOf(version) === group);
  })?.kind;
  return near === undefined ? undefined
    : fieldFinding(of, ["kind"], `no kind ${of.kind} in ${group}; did you mean ${near}?`,
      { value: true });
}
