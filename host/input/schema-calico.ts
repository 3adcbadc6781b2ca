// Schemas of Calico's kinds (projectcalico.org/v3, and crd.projectcalico.org/v1, which is how the
// same objects lie in etcd): policies and staged policies, Tier, sets, HostEndpoint, Profile,
// IPPool, FelixConfiguration. And of ModulePolicy (margay.io/v1), which reads like one of them.
// Source: projectcalico api v3, libcalico-go lib/validator/v3; felix docs/config-params.md.
import { z } from "zod";
import { parsePrefix } from "../model/address.ts";
import {
  address, complain, isPortName, LABEL_NAME, labels, loose, portNumber, prefix, prefixFault, strict,
  strictObject, SUBDOMAIN_NAME, word,
} from "./schema-parts.ts";
import { NETWORK_POLICY_LOSSES, NETWORK_POLICY_SPEC } from "./schema-kubernetes.ts";
import { checkDirections, localSelector, protocol, rule, selector } from "./schema-rule.ts";

const TIER_ORDERS = new Map([
  ["default", { order: 1_000_000, action: "Deny" }],
  ["kube-admin", { order: 1000, action: "Pass" }],
  ["kube-baseline", { order: 10_000_000, action: "Pass" }],
]);

const tierName = z.string().regex(LABEL_NAME, {
  error: ({ input }) => `"${String(input)}" is no tier's name: a-z, 0-9 and -`,
});

const types = z.array(word("Ingress", "Egress")).min(1).max(2).refine((list) => {
  return new Set(list).size === list.length;
}, { error: "a type is there twice" });

const POLICY = {
  tier: tierName.default("default"),
  order: z.number().optional(),
  ingress: z.array(rule).max(1024).optional(),
  egress: z.array(rule).max(1024).optional(),
  selector: localSelector.optional(),
  types: types.optional(),
  serviceAccountSelector: localSelector.optional(),
  performanceHints: z.array(word("AssumeNeededOnEveryNode")).optional(),
};
const GLOBAL = {
  ...POLICY,
  doNotTrack: z.boolean().optional(),
  preDNAT: z.boolean().optional(),
  applyOnForward: z.boolean().optional(),
  namespaceSelector: localSelector.optional(),
};
const LOSSES = {
  tier: "without tier the policy is in the tier default",
  order: "without order the policy comes last in its tier",
  ingress: "without ingress no rule lets anything in",
  egress: "without egress no rule lets anything out",
  selector: "without selector the policy selects every endpoint",
  types: "without types the rules that are there decide which directions it rules",
  namespaceSelector: "without namespaceSelector the policy selects in every namespace",
  serviceAccountSelector: "without it the policy selects whatever the service account",
  doNotTrack: "the policy would be an ordinary one",
  preDNAT: "the policy would be an ordinary one",
  applyOnForward: "the policy would not judge forwarded traffic",
};

/** types as Calico fills them in. */
function withTypes<T extends { types?: string[]; ingress?: unknown[]; egress?: unknown[] }>(
  spec: T,
) {
  if (spec.types !== undefined) return spec;
  const egress = (spec.egress ?? []).length > 0;
  const ingress = (spec.ingress ?? []).length > 0 || !egress;
  return { ...spec, types: [...(ingress ? ["Ingress"] : []), ...(egress ? ["Egress"] : [])] };
}

type GlobalSpec = z.output<z.ZodObject<typeof GLOBAL>>;

function checkGlobal(spec: GlobalSpec, context: z.RefinementCtx): void {
  checkDirections(spec, context, true);
  if (spec.doNotTrack && spec.preDNAT) {
    complain(context, ["preDNAT"], "preDNAT and doNotTrack can't both be true");
  }
  for (const field of ["doNotTrack", "preDNAT"] as const) {
    if (spec[field] && !spec.applyOnForward) {
      complain(context, [field], `needs applyOnForward: true`);
    }
  }
  if (!spec.preDNAT) return;
  if ((spec.egress ?? []).length > 0) complain(context, ["egress"], "preDNAT has no egress rules");
  if (spec.types?.includes("Egress")) {
    complain(context, ["types"], "preDNAT is of type Ingress alone");
  }
}

const STAGED = { stagedAction: word("Set", "Delete", "Learn", "Ignore").default("Set") };

/** A staged deletion says nothing else than whose it is. */
function emptyIfDelete(spec: Record<string, unknown>, context: z.RefinementCtx): void {
  if (spec["stagedAction"] !== "Delete") return;
  const more = Object.keys(spec).filter((key) => {
    return !["stagedAction", "tier"].includes(key) && spec[key] !== undefined;
  });
  if (more.length > 0) complain(context, [more[0]!], "can't stand with stagedAction: Delete");
}

function named<T extends z.ZodType>(object: T, pattern: RegExp, what: string) {
  return object.superRefine((value, context) => {
    const { name } = (value as { metadata: { name?: string } }).metadata;
    if (name !== undefined && !pattern.test(name)) {
      complain(context, ["metadata", "name"], `"${name}" is no name for ${what}`);
    }
  });
}

const L = LABEL_NAME.source.slice(1, -1);
const POLICY_NAME = new RegExp(
  `^(${L}(\\.${L})?|(knp|ossg)\\.default\\.${SUBDOMAIN_NAME.source.slice(1, -1)})$`,
);
const GLOBAL_NAME = new RegExp(`^(${L}\\.)?${L}$`);
const NAME_RULE = "a-z, 0-9 and -, with one dot at most";

export const globalNetworkPolicy = named(strictObject(
  strict(GLOBAL, LOSSES).superRefine(checkGlobal).transform(withTypes),
), GLOBAL_NAME, `a global policy: ${NAME_RULE}`);

export const networkPolicy = named(strictObject(
  strict(POLICY, LOSSES).superRefine((spec, context) => checkDirections(spec, context, false))
    .transform(withTypes),
), POLICY_NAME, `a policy: ${NAME_RULE}`);

export const stagedGlobalNetworkPolicy = named(strictObject(
  strict({ ...STAGED, ...GLOBAL }, LOSSES).superRefine(checkGlobal).superRefine(emptyIfDelete)
    .transform(withTypes),
), GLOBAL_NAME, `a global policy: ${NAME_RULE}`);

export const stagedNetworkPolicy = named(strictObject(
  strict({ ...STAGED, ...POLICY }, LOSSES)
    .superRefine((spec, context) => checkDirections(spec, context, false))
    .superRefine(emptyIfDelete).transform(withTypes),
), POLICY_NAME, `a policy: ${NAME_RULE}`);

export const stagedKubernetesNetworkPolicy = strictObject(
  // No server fills in its policyTypes.
  strict({ ...STAGED, ...NETWORK_POLICY_SPEC }, NETWORK_POLICY_LOSSES).prefault({}),
);

export const tier = named(strictObject(strict({
  order: z.number().optional(), defaultAction: word("Deny", "Pass").default("Deny"),
}, { order: "without order the tier comes last" }).prefault({})), LABEL_NAME, "a tier: no dots")
  .superRefine((value, context) => {
    const { metadata, spec } = value as {
      metadata: { name?: string }; spec: { order?: number; defaultAction: string };
    };
    const fixed = TIER_ORDERS.get(metadata.name ?? "");
    if (fixed === undefined) return;
    if (spec.order !== fixed.order) {
      complain(context, ["spec", "order"], `of tier ${metadata.name} it is ${fixed.order}`);
    }
    if (spec.defaultAction !== fixed.action) {
      complain(context, ["spec", "defaultAction"], `of tier ${metadata.name} it is ` +
        fixed.action);
    }
  });

export const networkSet = strictObject(strict({
  nets: z.array(prefix({ bare: true })).optional(),
}, { nets: "the set would be empty" }).prefault({})).superRefine((value, context) => {
  if (value.metadata.labels?.["projectcalico.org/namespace"] !== undefined) {
    complain(context, ["metadata", "labels", "projectcalico.org/namespace"],
      "can't be a label of a network set");
  }
});

export const hostEndpoint = strictObject(strict({
  node: z.string().min(1),
  interfaceName: z.string().regex(/^(\*|[a-zA-Z0-9_.-]{1,15})?$/, {
    error: ({ input }) => `"${String(input)}" is no interface's name (or * for all)`,
  }).optional(),
  expectedIPs: z.array(address).optional(),
  profiles: z.array(z.string()).optional(),
  ports: z.array(strict({
    name: z.string().refine(isPortName, { error: "is no port's name" }), protocol,
    port: portNumber,
  })).optional(),
}).superRefine((spec, context) => {
  if (!spec.interfaceName && (spec.expectedIPs ?? []).length === 0) {
    complain(context, [], "needs interfaceName or expectedIPs");
  }
}));

export const profile = strictObject(strict({
  ingress: z.array(rule).max(1024).optional(),
  egress: z.array(rule).max(1024).optional(),
  labelsToApply: labels.optional(),
}).prefault({}));

const MODES = ["Never", "Always", "CrossSubnet", ""] as const;

export const ipPool = strictObject(loose({
  cidr: z.string().superRefine((text, context) => {
    const fault = prefixFault(text, { masked: true });
    if (fault !== undefined) complain(context, [], fault);
  }),
  ipipMode: word(...MODES).default("Never"),
  vxlanMode: word(...MODES).default("Never"),
  natOutgoing: z.boolean().default(false),
  disabled: z.boolean().default(false),
  blockSize: z.int().min(0).max(128).optional(),
  nodeSelector: selector.default("all()"),
  namespaceSelector: selector.optional(),
  allowedUses: z.array(word("Workload", "Tunnel", "LoadBalancer")).default(["Workload", "Tunnel"]),
  assignmentMode: word("Automatic", "Manual").default("Automatic"),
}).superRefine((spec, context) => {
  const on = (mode: string): boolean => mode !== "Never" && mode !== "";
  if (on(spec.ipipMode) && on(spec.vxlanMode)) {
    complain(context, ["vxlanMode"], "ipipMode and vxlanMode can't both be on");
  }
  if (prefixFault(spec.cidr) === undefined && parsePrefix(spec.cidr).family === 6 &&
    on(spec.ipipMode)) {
    complain(context, ["ipipMode"], "IPIP can't carry an IPv6 pool");
  }
}));

const failsafePorts = z.array(strict({
  protocol: z.string().regex(/^(tcp|udp|sctp)$/i, {
    error: "must be TCP, UDP or SCTP",
  }).default("TCP"),
  port: z.int().min(0).max(65535),
  net: prefix({ bare: true }).optional(),
})).optional();

const denyAction = z.string().regex(/^(drop|reject)$/i, { error: "must be Drop or Reject" })
  .optional();

/** Of the some two hundred parameters those that bear on verdicts are checked. */
export const felixConfiguration = strictObject(loose({
  failsafeInboundHostPorts: failsafePorts,
  failsafeOutboundHostPorts: failsafePorts,
  defaultEndpointToHostAction: z.string().regex(/^(drop|accept|return)$/i, {
    error: "must be Drop, Accept or Return",
  }).optional(),
  vxlanPort: z.int().min(1).max(65535).optional(),
  vxlanEnabled: z.boolean().optional(),
  ipipEnabled: z.boolean().optional(),
  allowVXLANPacketsFromWorkloads: z.boolean().optional(),
  allowIPIPPacketsFromWorkloads: z.boolean().optional(),
  workloadSourceSpoofing: word("Disabled", "Any").optional(),
  natOutgoingExclusions: word("IPPoolsOnly", "IPPoolsAndHostIPs").optional(),
  iptablesFilterDenyAction: denyAction,
  nftablesFilterDenyAction: denyAction,
  serviceLoopPrevention: z.string().regex(/^(drop|reject|disabled)$/i, {
    error: "must be Drop, Reject or Disabled",
  }).optional(),
  bpfExternalServiceMode: z.string().regex(/^(tunnel|dsr)$/i, {
    error: "must be Tunnel or DSR",
  }).optional(),
  bpfMaglevMaxEndpointsPerService: z.int().min(1).max(3000).optional(),
  interfacePrefix: z.string().optional(),
}).prefault({}));

/** A user's module in a policy's place: what it selects, where it stands, which file it is. */
export const modulePolicy = strictObject(strict({
  tier: tierName.default("default"),
  order: z.number().optional(),
  selector: localSelector.optional(),
  namespaceSelector: localSelector.optional(),
  serviceAccountSelector: localSelector.optional(),
  types: types.default(["Ingress"]),
  /** Path of the compiled module, from the manifest's folder. */
  module: z.string().min(1),
  /** Selectors of the sets that member() asks for, by number. */
  sets: z.array(z.string()).optional(),
}, { ...LOSSES, types: "without types the module judges ingress" }));
