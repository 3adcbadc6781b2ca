// Schemas of cluster-wide policies of Kubernetes: ClusterNetworkPolicy (policy.networking.k8s.io/
// v1alpha2) and its elders AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1). Strict.
// Source: kubernetes-sigs/network-policy-api apis/v1alpha1, apis/v1alpha2.
import { z } from "zod";
import {
  complain, exactlyOne, labelSelector, portNumber, prefix, strict, strictObject, transport, word,
} from "./schema-parts.ts";

const EMPTY_PEER = "an empty peer fails closed: Deny and Pass rules would deny all";

// v1alpha1 wants namespaceSelector to be there; v1alpha2 takes its absence for every namespace.
const namespacedPod = strict({
  namespaceSelector: labelSelector.prefault({}), podSelector: labelSelector,
}, {
  namespaceSelector: "pods of every namespace would match",
  podSelector: "a peer without podSelector is refused",
});

const subject = strict({
  namespaces: labelSelector.optional(), pods: namespacedPod.optional(),
}, { "": "an empty subject is refused" })
  .superRefine(exactlyOne("a subject", ["namespaces", "pods"]));

const ingressPeer = strict({
  namespaces: labelSelector.optional(), pods: namespacedPod.optional(),
}, { "": EMPTY_PEER }).superRefine(exactlyOne("a peer", ["namespaces", "pods"]));

const DOMAIN_WORD = "[a-zA-Z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?";
const DOMAIN = new RegExp(`^(\\*\\.)?(${DOMAIN_WORD}\\.)+${DOMAIN_WORD}\\.?$`);
const domainName = z.string().regex(DOMAIN, {
  error: ({ input }) => `"${String(input)}" is no domain name (example.com, *.example.com)`,
});

const networks = z.array(prefix()).min(1).max(25);
const BASELINE_PEER = {
  namespaces: labelSelector.optional(), pods: namespacedPod.optional(),
  nodes: labelSelector.optional(), networks: networks.optional(),
};
const baselineEgressPeer = strict(BASELINE_PEER, { "": EMPTY_PEER })
  .superRefine(exactlyOne("a peer", Object.keys(BASELINE_PEER)));
const EGRESS_PEER = {
  ...BASELINE_PEER, domainNames: z.array(domainName).min(1).max(25).optional(),
};
const egressPeer = strict(EGRESS_PEER, { "": EMPTY_PEER })
  .superRefine(exactlyOne("a peer", Object.keys(EGRESS_PEER)));

function ascending(
  { start, end }: { start: number; end: number }, context: z.RefinementCtx,
): void {
  if (end <= start) complain(context, ["end"], `${end} must be above start, ${start}`);
}

const range = strict({ start: portNumber, end: portNumber }).superRefine(ascending);
const numberOrRange = strict({ number: portNumber.optional(), range: range.optional() })
  .superRefine(exactlyOne("a port", ["number", "range"]));
const transportMatch = strict({ destinationPort: numberOrRange });

/** One of a rule's protocols (v1alpha2). */
const protocol = strict({
  tcp: transportMatch.optional(), udp: transportMatch.optional(), sctp: transportMatch.optional(),
  destinationNamedPort: z.string().min(1).optional(),
}).superRefine(exactlyOne("a protocol", ["tcp", "udp", "sctp", "destinationNamedPort"]));

/** One of a rule's ports (v1alpha1). */
const port = strict({
  portNumber: strict({ protocol: transport.default("TCP"), port: portNumber }).optional(),
  namedPort: z.string().min(1).optional(),
  portRange: strict({
    protocol: transport.default("TCP"), start: portNumber, end: portNumber,
  }).superRefine(ascending).optional(),
}).superRefine(exactlyOne("a port", ["portNumber", "namedPort", "portRange"]));

/** networks, nodes and domain names have no named ports. */
function noNamedPorts(portsField: string, named: string) {
  return (rule: Record<string, unknown>, context: z.RefinementCtx): void => {
    const peers = rule["to"] as Record<string, unknown>[];
    const nameless = peers.find((each) => each["networks"] ?? each["nodes"] ?? each["domainNames"]);
    const ports = (rule[portsField] ?? []) as Record<string, unknown>[];
    const at = ports.findIndex((each) => each[named] !== undefined);
    if (nameless === undefined || at < 0) return;
    const what = Object.keys(nameless).find((key) => nameless[key] !== undefined)!;
    complain(context, [portsField, at, named], `peers of ${what} have no named ports; the API ` +
      "server refuses it");
  };
}

interface RuleParts {
  action: z.ZodType;
  peers: z.ZodType;
  portsField: string;
  ports: z.ZodType;
  max: number;
}

function rule(side: "from" | "to", { action, peers, portsField, ports, max }: RuleParts) {
  return strict({
    name: z.string().max(100).optional(),
    action,
    [side]: z.array(peers).min(1).max(max),
    [portsField]: z.array(ports).min(1).max(max).optional(),
  }, {
    [side]: `a rule without ${side} is refused`,
    [portsField]: `a rule without ${portsField} matches every port`,
  });
}

function rules(
  action: z.ZodType, to: z.ZodType, portsField: string, ports: z.ZodType, named: string,
  max: number,
) {
  const parts = { action, portsField, ports, max };
  return {
    subject,
    ingress: z.array(rule("from", { ...parts, peers: ingressPeer })).max(max).optional(),
    egress: z.array(rule("to", { ...parts, peers: to })
      .superRefine(noNamedPorts(portsField, named))).max(max).optional(),
  };
}

const priority = z.int().min(0).max(1000);
const LOSSES = {
  ingress: "a policy without ingress rules says nothing of ingress",
  egress: "a policy without egress rules says nothing of egress",
};

export const clusterNetworkPolicy = strictObject(strict({
  tier: word("Admin", "Baseline"), priority,
  ...rules(word("Accept", "Deny", "Pass"), egressPeer, "protocols", protocol,
    "destinationNamedPort", 25),
}, LOSSES));

export const adminNetworkPolicy = strictObject(strict({
  priority,
  ...rules(word("Allow", "Deny", "Pass"), egressPeer, "ports", port, "namedPort", 100),
}, LOSSES));

export const baselineAdminNetworkPolicy = strictObject(strict(
  rules(word("Allow", "Deny"), baselineEgressPeer, "ports", port, "namedPort", 100), LOSSES,
)).superRefine(({ metadata }, context) => {
  if (metadata.name !== "default") {
    complain(context, ["metadata", "name"], "the one baseline policy must be called default");
  }
});
