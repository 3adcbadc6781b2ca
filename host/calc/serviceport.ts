// A Service as its fields say it, ready for any node: its addresses of each family, its ports, who
// may ask, and how clients are spread.
//
//   field                              what it becomes
//   clusterIP(s)                       an address a family; a family without one has no frontends
//   externalIPs, status…ingress[].ip   those of the same family; not where ipMode is Proxy
//   loadBalancerSourceRanges           those of the family; a family that none is of has no limit
//   external-, internalTrafficPolicy   Local or not
//   sessionAffinity ClientIP           seconds, 10,800 where nothing else is said
//
//   annotation
//   projectcalico.org/natExcludeService: "true"       no frontends: packets pass as they are
//   lb.projectcalico.org/external-traffic-strategy: maglev
//                                      Calico eBPF's table and hash for addresses from outside; all
//                                      ready endpoints, traffic policies and hints left aside
//   projectcalico.org/udpConntrackCleanup: TerminatingImmediately
//                                      UDP to an endpoint ends when that terminates
//   lb.margay.io/dsr: "true"           packets of clients outside go on to the backend's node as
//                                      they are, and it answers them (load balancer's and external
//                                      addresses); "false" where BPFExternalServiceMode is DSR
//   lb.margay.io/maglev-slots: "65537" a prime, in place of the size class
//
// Not here: headless Services, ExternalName, those with the label service-proxy-name (another
// proxy's) or headless.
// Source: Kubernetes core/v1 ServiceSpec, pkg/proxy/serviceport.go; felix/bpf/proxy, calico.md 4.
import type { Family } from "../model/address.ts";
import type { Manifest } from "../model/snapshot.ts";
import { fields, listAt, mapAt, numberAt, objectAt, textAt, textsAt } from "./field.ts";
import type { Fields } from "./field.ts";
import { memberNetworks, networkText, packetFamily, plainAddress } from "./net.ts";
import { kubernetesProtocol, packetPort, type PortProtocol } from "./port.ts";
import type { Report } from "./report.ts";

const PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name";
const HEADLESS_LABEL = "service.kubernetes.io/headless";
const EXCLUDE_ANNOTATION = "projectcalico.org/natExcludeService";
const CLEANUP_ANNOTATION = "projectcalico.org/udpConntrackCleanup";
const STRATEGY_ANNOTATION = "lb.projectcalico.org/external-traffic-strategy";
const DSR_ANNOTATION = "lb.margay.io/dsr";
const SLOTS_ANNOTATION = "lb.margay.io/maglev-slots";
const SLOTS_MAX = 65_537;
const AFFINITY_SECONDS = 10_800, DAY_SECONDS = 86_400;

/** A Service's addresses of one family. */
export interface ServiceAddresses {
  family: Family;
  clusterIP: string;
  externalIPs: string[];
  loadBalancerIPs: string[];
  /** Networks whose clients may ask the load balancer's addresses; all where it is absent. */
  sourceRanges?: string[];
}

export interface ServicePort {
  /** "shop/db:sql", with the number where the port has no name. */
  name: string;
  /** "" of one without a name. */
  portName: string;
  port: number;
  protocol: PortProtocol;
  /** 0 = none. */
  nodePort: number;
  /** Index in spec.ports. */
  index: number;
}

export interface ServiceModel {
  /** "namespace/name". */
  key: string;
  manifest: Manifest;
  addresses: ServiceAddresses[];
  ports: ServicePort[];
  internalLocal: boolean;
  externalLocal: boolean;
  affinitySeconds?: number;
  calicoMaglev: boolean;
  /** UDP of a terminating endpoint ends at once. */
  flushTerminating: boolean;
  maglevSlots?: number;
  /** Absent: as the node's configuration says. */
  dsr?: boolean;
}

/** Undefined where the Service has no frontends. */
export function serviceModel(manifest: Manifest, report: Report): ServiceModel | undefined {
  const spec = objectAt(manifest.value, "spec");
  const metadata = objectAt(manifest.value, "metadata");
  const labels = mapAt(metadata, "labels"), annotations = mapAt(metadata, "annotations");
  if (textAt(spec, "type") === "ExternalName" || isExcluded(manifest)) return undefined;
  if (HEADLESS_LABEL in labels) return undefined;
  const addresses = addressesOf(manifest, spec, report);
  if (addresses.length === 0) return undefined;
  const key = `${manifest.namespace}/${manifest.name}`;
  const model: ServiceModel = {
    key, manifest, addresses, ports: portsOf(key, spec),
    internalLocal: textAt(spec, "internalTrafficPolicy") === "Local",
    externalLocal: textAt(spec, "externalTrafficPolicy") === "Local",
    flushTerminating: annotations[CLEANUP_ANNOTATION] === "TerminatingImmediately",
    calicoMaglev: annotations[STRATEGY_ANNOTATION]?.toLowerCase() === "maglev",
  };
  if (textAt(spec, "sessionAffinity") === "ClientIP") {
    const config = objectAt(objectAt(spec, "sessionAffinityConfig"), "clientIP");
    const seconds = Math.floor(numberAt(config, "timeoutSeconds") ?? 0);
    model.affinitySeconds = seconds < 1 ? AFFINITY_SECONDS : Math.min(seconds, DAY_SECONDS);
  }
  const attempt = <T>(annotation: string, read: (text: string) => T): T | undefined => {
    const text = annotations[annotation];
    if (text === undefined) return undefined;
    try {
      return read(text);
    } catch (error) {
      report.error(manifest, ["metadata", "annotations", annotation], (error as Error).message);
      return undefined;
    }
  };
  const dsr = attempt(DSR_ANNOTATION, parseFlag);
  const slots = attempt(SLOTS_ANNOTATION, parseSlots);
  if (dsr !== undefined) model.dsr = dsr;
  if (slots !== undefined) model.maglevSlots = slots;
  return model;
}

/** Somebody else serves its addresses: packets to them pass as they are. */
export function isExcluded({ value }: Manifest): boolean {
  const metadata = objectAt(value, "metadata");
  return PROXY_NAME_LABEL in mapAt(metadata, "labels") ||
    mapAt(metadata, "annotations")[EXCLUDE_ANNOTATION] === "true";
}

/** In their order; none of a headless Service, or of one that has none yet. */
export function clusterIPs(spec: Fields): string[] {
  const several = textsAt(spec, "clusterIPs");
  return (several.length > 0 ? several : [textAt(spec, "clusterIP")])
    .filter((address) => packetFamily(address) !== 0).map(plainAddress);
}

function addressesOf(manifest: Manifest, spec: Fields, report: Report): ServiceAddresses[] {
  const own = clusterIPs(spec);
  const ingress = listAt(objectAt(objectAt(manifest.value, "status"), "loadBalancer"), "ingress")
    .map((value) => fields(value))
    .filter((each) => textAt(each, "ipMode") !== "Proxy");
  const of = (texts: string[], family: Family): string[] =>
    [...new Set(texts.filter((text) => packetFamily(text) === family).map(plainAddress))];
  const ranges = textsAt(spec, "loadBalancerSourceRanges").flatMap((text, i) => {
    try {
      return [networkText(text.trim())];
    } catch (error) {
      const path = ["spec", "loadBalancerSourceRanges", i];
      report.error(manifest, path, (error as Error).message);
      return [];
    }
  });
  return ([4, 6] as const).flatMap((family): ServiceAddresses[] => {
    const clusterIP = own.find((address) => packetFamily(address) === family);
    if (clusterIP === undefined) return [];
    const sourceRanges = ranges.filter((text) => text.includes(":") === (family === 6));
    return [{
      family, clusterIP,
      externalIPs: of(textsAt(spec, "externalIPs"), family),
      loadBalancerIPs: of(ingress.map((each) => textAt(each, "ip")), family),
      ...(sourceRanges.length ? { sourceRanges: sourceRanges.flatMap(memberNetworks) } : {}),
    }];
  }).sort((a, b) => own.indexOf(a.clusterIP) - own.indexOf(b.clusterIP));
}

function portsOf(key: string, spec: Fields): ServicePort[] {
  return listAt(spec, "ports").flatMap((value, index): ServicePort[] => {
    const port = fields(value);
    const number = packetPort(port?.["port"]);
    if (number === undefined) return [];
    const portName = textAt(port, "name");
    return [{
      name: `${key}:${portName === "" ? number : portName}`, portName, port: number, index,
      protocol: kubernetesProtocol(port?.["protocol"]),
      nodePort: packetPort(port?.["nodePort"]) ?? 0,
    }];
  });
}

function parseFlag(text: string): boolean {
  if (text === "true") return true;
  if (text === "false") return false;
  throw new Error(`"${text}" is neither "true" nor "false"`);
}

function parseSlots(text: string): number {
  const slots = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  let divisor = 2;
  while (divisor * divisor <= slots && slots % divisor !== 0) divisor++;
  if (slots >= 2 && slots <= SLOTS_MAX && divisor * divisor > slots) return slots;
  throw new Error(`"${text}" is no number of slots: a prime up to ${SLOTS_MAX}`);
}
