// What selectors can select: pods, host endpoints, sets of networks, each with the labels that it
// has and inherits; and the profiles that labels are inherited from.
//
//   Namespace shop ─ profile kns.shop: allows all, labels "pcns.…"    ┐ parents of a pod of shop
//   ServiceAccount ─ profile ksa.shop.web: no rules, labels "pcsa.…"  ┘ (network sets: the first)
//   Profile ─ its own rules and labelsToApply                           parents of host endpoints
//
// A namespace or an account that a pod names but no manifest shows is taken to be there,
// unlabelled, for an API server lets no pod be without them.
// Source: projectcalico libcalico-go/lib/backend/k8s/conversion, syncersv1/updateprocessors.
import { createHash } from "node:crypto";
import type { Manifest, PodObject, Snapshot } from "../model/snapshot.ts";
import { listAt, mapAt, numberAt, objectAt, textAt, textsAt, fields } from "./field.ts";
import {
  inherit, KUBERNETES, METADATA_NAME_LABEL, NAME_LABEL, NAMESPACE_LABEL, NAMESPACE_PREFIX,
  namespaceProfile, ORCHESTRATOR_LABEL, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_PREFIX,
  serviceAccountProfile, withPrefix,
} from "./label.ts";
import { hostText, memberNetworks, networkText, plainAddress } from "./net.ts";
import { kubernetesProtocol, parseProtocol, portProtocol, type PortProtocol } from "./port.ts";
import type { Report } from "./report.ts";

const SPOOF_ANNOTATION = "cni.projectcalico.org/allowedSourcePrefixes";
const FINISHED = new Set(["Succeeded", "Failed", "Completed"]);

export interface NamedPort {
  name: string;
  protocol: PortProtocol;
  port: number;
}

/** What it gives to sets: networks, and (address, protocol, port) of its named ports. */
interface Selectable {
  labels: Map<string, string>;
  networks: string[];
  addresses: string[];
  ports: NamedPort[];
}

export interface PodThing extends Selectable {
  kind: "pod";
  pod: PodObject;
  node: string;
  profiles: string[];
  interface: string;
  allowedSources: string[];
}

export interface HostThing extends Selectable {
  kind: "host";
  name: string;
  node: string;
  profiles: string[];
  interface: string;
}

export interface NetworkThing extends Selectable {
  kind: "networks";
}

export type Thing = PodThing | HostThing | NetworkThing;

/** Labels by profile; every pod's namespace and account is among them. */
export type ProfileLabels = Map<string, Map<string, string>>;

export function profileLabels(snapshot: Snapshot): ProfileLabels {
  const labels: ProfileLabels = new Map();
  const namespaces = new Set([
    ...snapshot.namespaces.keys(),
    ...snapshot.pods.map(({ namespace }) => namespace),
    ...snapshot.networkSets.map(({ namespace }) => namespace),
  ]);
  for (const name of namespaces) {
    const own = snapshot.namespaces.get(name)?.labels ?? {};
    labels.set(namespaceProfile(name), new Map([
      ...withPrefix({ [METADATA_NAME_LABEL]: name, ...own }, NAMESPACE_PREFIX),
      [NAMESPACE_PREFIX + NAME_LABEL, name],
    ]));
  }
  const accounts = new Set([
    ...snapshot.serviceAccounts.keys(),
    ...snapshot.pods.filter(({ serviceAccount }) => serviceAccount !== "")
      .map(({ namespace, serviceAccount }) => `${namespace}/${serviceAccount}`),
  ]);
  for (const key of accounts) {
    const [namespace, name] = key.split("/") as [string, string];
    const own = snapshot.serviceAccounts.get(key)?.labels ?? {};
    labels.set(serviceAccountProfile(namespace, name), new Map([
      ...withPrefix(own, SERVICE_ACCOUNT_PREFIX),
      [SERVICE_ACCOUNT_PREFIX + NAME_LABEL, name],
    ]));
  }
  for (const { name, value } of snapshot.profiles) {
    const applied = mapAt(objectAt(value, "spec"), "labelsToApply");
    labels.set(name, new Map(Object.entries(applied)));
  }
  return labels;
}

/** All that can be selected; pods of the host's network and finished ones are no endpoints. */
export function things(
  snapshot: Snapshot, profiles: ProfileLabels, interfacePrefix: string, report: Report,
): Thing[] {
  const pods = snapshot.pods.filter((pod) => !pod.hostNetwork && !isFinished(pod));
  return [
    ...pods.filter(({ addresses }) => addresses.length > 0)
      .map((pod) => podThing(pod, profiles, interfacePrefix, report)),
    ...snapshot.hostEndpoints.flatMap((manifest) => hostThing(manifest, profiles, report)),
    ...snapshot.networkSets.flatMap((manifest) => networkThing(manifest, profiles, report)),
    ...snapshot.globalNetworkSets.flatMap((manifest) => networkThing(manifest, profiles, report)),
  ];
}

/** Its network is gone: it is no endpoint, and no Service's backend. */
export function isFinished({ manifest }: PodObject): boolean {
  return FINISHED.has(textAt(objectAt(manifest?.value, "status"), "phase"));
}

function podThing(
  pod: PodObject, profiles: ProfileLabels, interfacePrefix: string, report: Report,
): PodThing {
  const { namespace, name, serviceAccount } = pod;
  const own = Object.entries(pod.labels).filter(([label]) => {
    // No pod may take another namespace's or account's labels on.
    return !label.startsWith(NAMESPACE_PREFIX) && !label.startsWith(SERVICE_ACCOUNT_PREFIX);
  });
  own.push([NAMESPACE_LABEL, namespace], [ORCHESTRATOR_LABEL, KUBERNETES]);
  const parents = [namespaceProfile(namespace)];
  if (serviceAccount !== "") {
    own.push([SERVICE_ACCOUNT_LABEL, serviceAccount]);
    parents.push(serviceAccountProfile(namespace, serviceAccount));
  }
  const hash = createHash("sha1").update(`${namespace}.${name}`).digest("hex").slice(0, 11);
  return {
    kind: "pod", pod, node: pod.node, profiles: parents,
    labels: inherit(own, parents.map((parent) => profiles.get(parent))),
    addresses: pod.addresses.map(plainAddress),
    networks: pod.addresses.map(hostText),
    ports: pod.ports.filter((port) => port.name !== "").map((port) => ({
      name: port.name, protocol: kubernetesProtocol(port.protocol), port: port.port,
    })),
    interface: interfacePrefix + hash,
    allowedSources: allowedSources(pod, report),
  };
}

function allowedSources({ annotations, manifest }: PodObject, report: Report): string[] {
  const text = annotations[SPOOF_ANNOTATION];
  if (text === undefined || text === "") return [];
  try {
    const prefixes: unknown = JSON.parse(text);
    if (!Array.isArray(prefixes)) throw new Error("a JSON list of prefixes is expected");
    return prefixes.map((prefix) => networkText(String(prefix)));
  } catch (error) {
    const path = ["metadata", "annotations", SPOOF_ANNOTATION];
    if (manifest) report.error(manifest, path, `${SPOOF_ANNOTATION}: ${(error as Error).message}`);
    return [];
  }
}

function hostThing(manifest: Manifest, profiles: ProfileLabels, report: Report): HostThing[] {
  const spec = objectAt(manifest.value, "spec");
  const parents = textsAt(spec, "profiles");
  const addresses = attempt(manifest, "expectedIPs", report, () => {
    return textsAt(spec, "expectedIPs").map(plainAddress);
  });
  const ports = attempt(manifest, "ports", report, () => {
    return listAt(spec, "ports").map((value): NamedPort => {
      const port = fields(value);
      const protocol = portProtocol(parseProtocol(port?.["protocol"]));
      return { name: textAt(port, "name"), protocol, port: numberAt(port, "port") ?? 0 };
    });
  });
  if (!addresses || !ports) return [];
  return [{
    kind: "host", name: manifest.name, node: textAt(spec, "node"), profiles: parents,
    labels: inherit(ownLabels(manifest), parents.map((parent) => profiles.get(parent))),
    addresses, networks: addresses.map(hostText), ports,
    interface: textAt(spec, "interfaceName"),
  }];
}

function networkThing(
  manifest: Manifest, profiles: ProfileLabels, report: Report,
): NetworkThing[] {
  const spec = objectAt(manifest.value, "spec");
  const { namespace } = manifest;
  const networks = attempt(manifest, "nets", report, () => {
    return textsAt(spec, "nets").map(networkText).flatMap(memberNetworks);
  });
  if (!networks) return [];
  const own = ownLabels(manifest);
  if (namespace !== "") own.push([NAMESPACE_LABEL, namespace]);
  const parents = namespace === "" ? [] : [profiles.get(namespaceProfile(namespace))];
  const labels = inherit(own, parents);
  return [{ kind: "networks", labels, networks, addresses: [], ports: [] }];
}

function ownLabels({ value }: Manifest): [string, string][] {
  return Object.entries(mapAt(objectAt(value, "metadata"), "labels"));
}

function attempt<T>(
  manifest: Manifest, field: string, report: Report, what: () => T,
): T | undefined {
  try {
    return what();
  } catch (error) {
    report.error(manifest, ["spec", field], `${field}: ${(error as Error).message}`);
    return undefined;
  }
}
