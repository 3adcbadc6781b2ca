// Manifests damaged in one place after the other: whatever they hold, they are read or complained
// of, and nothing is thrown.
import fc from "fast-check";
import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { Calculator } from "../../../host/calc/calculate.ts";
import { checkManifest } from "../../../host/input/schema.ts";
import { plainManifest } from "../../../host/input/manifest.ts";
import { snapshotOf } from "../../../host/input/snapshot.ts";
import { seedOf } from "../../seed.ts";

const SHOP = "examples/shop";
const MORE = `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: a}, spec: {selector: {a: b},
  ipFamilies: [IPv4], ports: [{name: p, port: 1, targetPort: q}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: s, labels:
  {kubernetes.io/service-name: s}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1],
  targetRef: {kind: Pod, name: p}}], ports: [{port: 80}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: p, ownerReferences: [{kind: ReplicaSet, name: d-1}],
  annotations: {cni.projectcalico.org/ipAddrs: '["10.0.0.9"]'}}, spec: {nodeName: m, containers:
  [{ports: [{containerPort: 80, name: q}]}]}, status: {phase: Running, podIPs: [{ip: 10.0.0.1}],
  conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: m}, status: {addresses: [{type: InternalIP, address:
  10.0.1.1}]}}
---
{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {jobTemplate: {spec:
  {parallelism: 1, template: {spec: {hostNetwork: true}}}}}}
---
{apiVersion: policy.networking.k8s.io/v1alpha1, kind: AdminNetworkPolicy, metadata: {name: a},
  spec: {priority: 3, subject: {pods: {namespaceSelector: {}, podSelector: {}}}, egress: [{action:
  Deny, to: [{networks: [10.0.0.0/8]}, {nodes: {}}], ports: [{portRange: {start: 1, end: 2}}]}]}}
---
{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: c},
  spec: {tier: Admin, priority: 3, subject: {namespaces: {}}, ingress: [{action: Deny, from:
  [{pods: {podSelector: {}}}], protocols: [{tcp: {destinationPort: {range: {start: 1, end:
  2}}}}]}]}}
---
{apiVersion: crd.projectcalico.org/v1, kind: GlobalNetworkPolicy, metadata: {name: default.g,
  annotations: {projectcalico.org/metadata: '{"name":"g"}'}}, spec: {preDNAT: true,
  applyOnForward: true, ingress: [{action: Allow, protocol: TCP, source: {nets: [10.0.0.0/8],
  services: {name: a, namespace: b}}, destination: {ports: [1, '2:3', q]}, icmp: {type: 1, code:
  2}, http: {paths: [{exact: /}]}}]}}
---
{apiVersion: projectcalico.org/v3, kind: IPPool, metadata: {name: a}, spec: {cidr: 10.9.0.0/24,
  ipipMode: Always}}
---
{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: default}, spec:
  {failsafeInboundHostPorts: [{protocol: tcp, port: 22, net: 10.0.0.0/8}]}}
---
{apiVersion: projectcalico.org/v3, kind: StagedNetworkPolicy, metadata: {name: n}, spec:
  {stagedAction: Set, types: [Egress]}}
`;
const objects = [...readdirSync(SHOP).filter((name) => /^(?!.*\.test\.).*\.yaml$/.test(name))
  .map((name) => readFileSync(`${SHOP}/${name}`, "utf8")), MORE]
  .flatMap((text) => [parseAllDocuments(text)].flat().map((document) => document.toJS() as unknown))
  .filter((value) => value !== null);

const JUNK = [
  null, 0, -1, 3.5, 70000, true, "", "x", "10.0.0.1", "10.0.0.0/33", "::/0", "a == ", "80:1", [],
  [null], [[]], {}, { a: {} }, ["x", 1], "constructor", "__proto__",
];

interface Place {
  holder: Record<string, unknown>;
  key: string;
}

function places(value: unknown): Place[] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...places(holder[key])]);
}

test("snapshot-fuzz: damaged manifests are complained of, and nothing is thrown", () => {
  let refused = 0, read = 0;
  fc.assert(fc.property(
    fc.nat(objects.length - 1),
    fc.array(fc.tuple(fc.nat(), fc.nat(JUNK.length), fc.boolean()), { minLength: 1, maxLength: 2 }),
    (number, damages) => {
      const object = structuredClone(objects[number]) as Record<string, unknown>;
      for (const [where, what, rename] of damages) {
        const all = places(object);
        if (all.length === 0) break;
        const { holder, key } = all[where % all.length]!;
        const value = holder[key];
        if (what === JUNK.length) delete holder[key];
        else if (rename && !Array.isArray(holder)) {
          delete holder[key];
          holder[`${key.slice(0, -1)}x`] = value;
        } else holder[key] = structuredClone(JUNK[what]);
      }
      if (typeof object["kind"] !== "string") return;
      const checked = checkManifest(plainManifest(object));
      if (checked !== undefined && "findings" in checked) {
        refused++;
        for (const { message } of checked.findings) {
          expect(message).not.toMatch(/undefined|\[object/);
        }
      } else {
        read++;
        const { snapshot } = snapshotOf([...objects.slice(0, 3), object]);
        const calculator = new Calculator(snapshot);
        for (const { name } of snapshot.nodes) calculator.state(name);
      }
    },
  ), { seed: seedOf("FUZZ_SEED"), numRuns: 3000 });
  expect(refused).toBeGreaterThan(500);
  expect(read).toBeGreaterThan(300);
});
