// Schemas of Kubernetes' own kinds: Namespace, Pod, Node, ServiceAccount, Service, EndpointSlice,
// the workloads, and NetworkPolicy (networking.k8s.io/v1), which alone is read strictly.
// Source: kubernetes api/core/v1, apps/v1, batch/v1, discovery/v1, networking/v1 and its
// pkg/apis/networking/validation.
import { z } from "zod";
import { parsePrefix } from "../model/address.ts";
import {
  address, addressFault, annotations, complain, isPort, labels, labelSelector, loose, looseObject,
  portNumber, portOrName, prefix, prefixFault, strict, strictObject, transport, word,
} from "./schema-parts.ts";

/** An address, or none. */
const plainAddress = z.string().superRefine((text, context) => {
  const fault = text === "" ? undefined : addressFault(text);
  if (fault !== undefined) complain(context, [], fault);
});

const container = loose({
  ports: z.array(loose({
    name: z.string().optional(), containerPort: portNumber, protocol: transport.default("TCP"),
    hostPort: z.int().min(0).max(65535).optional(), hostIP: plainAddress.optional(),
  })).optional(),
  restartPolicy: z.string().optional(),
});

const podSpec = loose({
  nodeName: z.string().optional(),
  hostNetwork: z.boolean().optional(),
  serviceAccountName: z.string().optional(),
  serviceAccount: z.string().optional(),
  nodeSelector: z.record(z.string(), z.string()).optional(),
  containers: z.array(container).optional(),
  initContainers: z.array(container).optional(),
});

const podTemplate = loose({
  metadata: loose({ labels: labels.optional(), annotations: annotations.optional() }).optional(),
  spec: podSpec.optional(),
});

const count = z.int().min(0);
const workloadSpec = loose({ replicas: count.optional(), template: podTemplate });
const jobSpec = loose({ parallelism: count.optional(), template: podTemplate });

/** An address, "None", or none at all. */
const clusterAddress = z.string().superRefine((text, context) => {
  const fault = text === "" || text === "None" ? undefined : addressFault(text);
  if (fault !== undefined) complain(context, [], fault);
});

export const namespace = looseObject({});
export const serviceAccount = looseObject({});

export const pod = looseObject({
  spec: podSpec,
  status: loose({
    phase: z.string().optional(),
    podIP: clusterAddress.optional(),
    podIPs: z.array(loose({ ip: address })).optional(),
    conditions: z.array(loose({ type: z.string(), status: z.string() })).optional(),
  }).optional(),
});

export const node = looseObject({
  status: loose({
    addresses: z.array(loose({ type: z.string(), address: z.string() })).optional(),
  }).optional(),
});

export const workload = looseObject({ spec: workloadSpec });
export const job = looseObject({ spec: jobSpec });
export const cronJob = looseObject({
  spec: loose({ jobTemplate: loose({ spec: jobSpec }) }),
});

/** 0 and "" are the port itself, as the API server reads them. */
const targetPort = z.preprocess((value) => value === 0 || value === "" ? undefined : value,
  portOrName.optional());

/** The API server takes spaces around it. */
const sourceRange = z.string().superRefine((text, context) => {
  const fault = prefixFault(text.trim());
  if (fault !== undefined) complain(context, [], fault);
}).transform((text) => text.trim());

export const service = looseObject({
  spec: loose({
    type: z.string().default("ClusterIP"),
    selector: z.record(z.string(), z.string()).optional(),
    clusterIP: clusterAddress.optional(),
    clusterIPs: z.array(clusterAddress).optional(),
    externalIPs: z.array(address).optional(),
    externalTrafficPolicy: word("Cluster", "Local", "").optional(),
    internalTrafficPolicy: word("Cluster", "Local").optional(),
    sessionAffinity: word("None", "ClientIP", "").optional(),
    sessionAffinityConfig: loose({
      clientIP: loose({ timeoutSeconds: z.int().min(1).max(86_400).optional() }).optional(),
    }).optional(),
    loadBalancerSourceRanges: z.array(sourceRange).optional(),
    allocateLoadBalancerNodePorts: z.boolean().optional(),
    publishNotReadyAddresses: z.boolean().optional(),
    trafficDistribution: word("PreferClose", "PreferSameZone", "PreferSameNode").optional(),
    ipFamilies: z.array(word("IPv4", "IPv6")).optional(),
    ipFamilyPolicy: z.string().optional(),
    ports: z.array(loose({
      name: z.string().optional(), port: portNumber, protocol: transport.default("TCP"),
      targetPort, nodePort: z.int().min(0).max(65535).optional(),
    }).transform((port) => ({ ...port, targetPort: port.targetPort ?? port.port }))).optional(),
  }),
  status: loose({
    loadBalancer: loose({
      ingress: z.array(loose({
        ip: plainAddress.optional(), ipMode: word("VIP", "Proxy").optional(),
      })).nullish(),
    }).optional(),
  }).optional(),
});

/** Where ClusterIPs are taken from. */
export const serviceCIDR = looseObject({ spec: loose({ cidrs: z.array(prefix()) }) });

const hints = z.array(loose({ name: z.string() })).nullish();

export const endpointSlice = looseObject({
  addressType: word("IPv4", "IPv6", "FQDN"),
  endpoints: z.array(loose({
    addresses: z.array(z.string()),
    nodeName: z.string().optional(),
    hints: loose({ forZones: hints, forNodes: hints }).nullish(),
    conditions: loose({
      ready: z.boolean().optional(), serving: z.boolean().optional(),
      terminating: z.boolean().optional(),
    }).optional(),
    targetRef: loose({
      kind: z.string().optional(), name: z.string().optional(), namespace: z.string().optional(),
    }).optional(),
  })).nullish().transform((endpoints) => endpoints ?? []),
  ports: z.array(loose({
    name: z.string().optional(), port: portNumber.optional(), protocol: transport.default("TCP"),
  })).nullish().transform((ports) => ports ?? []),
});

const ipBlock = strict({
  cidr: prefix(), except: z.array(prefix()).optional(),
}, { except: "the whole block would match" }).superRefine(({ cidr, except }, context) => {
  if (prefixFault(cidr) !== undefined) return;
  const block = parsePrefix(cidr);
  (except ?? []).forEach((text, i) => {
    if (prefixFault(text) !== undefined) return;
    const hole = parsePrefix(text);
    const inside = hole.family === block.family && (hole.network & block.mask) === block.network &&
      hole.mask > block.mask;
    if (inside) return;
    complain(context, ["except", i], `${text} must lie within ${cidr}, and be smaller`);
  });
});

const peer = strict({
  podSelector: labelSelector.optional(),
  namespaceSelector: labelSelector.optional(),
  ipBlock: ipBlock.optional(),
}, {
  "": "an empty peer is refused",
  podSelector: "without podSelector all pods of those namespaces would match",
  namespaceSelector: "without namespaceSelector the policy's own namespace is meant",
}).superRefine((value, context) => {
  const selects = value.podSelector !== undefined || value.namespaceSelector !== undefined;
  if (!selects && value.ipBlock === undefined) {
    complain(context, [], "empty peer: the API server refuses it; podSelector: {} is every pod " +
      "of this namespace, namespaceSelector: {} every pod");
  } else if (selects && value.ipBlock !== undefined) {
    complain(context, ["ipBlock"], "can't stand beside podSelector or namespaceSelector: the API " +
      "server refuses it; make it a peer of its own");
  }
});

const port = strict({
  protocol: transport.default("TCP"),
  port: portOrName.optional(),
  endPort: portNumber.optional(),
}, {
  port: "without port every port of the protocol matches",
  endPort: "the one port would match alone",
  protocol: "without protocol TCP is meant",
}).superRefine((value, context) => {
  if (value.endPort === undefined) return;
  if (!isPort(value.port)) {
    complain(context, ["endPort"], "needs a port that is a number beside it");
  } else if (value.endPort < value.port) {
    complain(context, ["endPort"], `${value.endPort} is below port ${value.port}`);
  }
});

const ports = z.array(port).optional();
const ingressRule = strict({ from: z.array(peer).optional(), ports }, {
  from: "a rule without from allows every source",
  ports: "a rule without ports allows every port",
});
const egressRule = strict({ to: z.array(peer).optional(), ports }, {
  to: "a rule without to allows every destination",
  ports: "a rule without ports allows every port",
});

/** Fields of NetworkPolicySpec; StagedKubernetesNetworkPolicy has the same and one more. */
export const NETWORK_POLICY_SPEC = {
  podSelector: labelSelector.prefault({}),
  ingress: z.array(ingressRule).optional(),
  egress: z.array(egressRule).optional(),
  policyTypes: z.array(word("Ingress", "Egress")).max(2).optional(),
};
export const NETWORK_POLICY_LOSSES = {
  podSelector: "without podSelector the policy selects every pod of its namespace",
  ingress: "without ingress the policy lets nothing in",
  egress: "without egress the policy says nothing of it, or lets nothing out",
  policyTypes: "without policyTypes, Ingress is meant, and Egress where there are egress rules",
};

/** policyTypes as the API server fills them in. */
function filledTypes<T extends { policyTypes?: string[] | undefined; egress?: unknown }>(
  spec: T,
) {
  const types = spec.policyTypes;
  if (types !== undefined && types.length > 0) return spec;
  const egress = Array.isArray(spec.egress) && spec.egress.length > 0 ? ["Egress"] : [];
  return { ...spec, policyTypes: ["Ingress", ...egress] };
}

export const networkPolicy = strictObject(
  strict(NETWORK_POLICY_SPEC, NETWORK_POLICY_LOSSES).prefault({}).transform(filledTypes),
);
