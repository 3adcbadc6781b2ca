// FelixConfiguration → Felix' parameters by the names that Felix knows them by ("VXLANPort").
//
//   "default"  <  the one whose nodeSelector selects the node  <  "node.NAME"
//
// Values are texts, durations in seconds ("90", or milliseconds where the name says so). Where
// nothing says whether VXLAN and IPIP are in use, the pools do.
// Source: projectcalico api FelixConfigurationSpec (confignamev1), libcalico-go/lib/backend/
// syncersv1/updateprocessors/felixconfigprocessor.go, felix/calc/encapsulation_resolver.go.
import type { Manifest, NodeObject, Snapshot } from "../model/snapshot.ts";
import { fields, mapAt, numberAt, objectAt, textAt, type Fields } from "./field.ts";
import type { Report } from "./report.ts";
import { Selector } from "./selector/selector.ts";

/** Fields whose parameter is not the field's name with a capital letter. */
const NAMES: Record<string, string> = {
  ipipEnabled: "IpInIpEnabled",
  ipipMTU: "IpInIpMtu",
  ipForwarding: "IPForwarding",
  externalNodesList: "ExternalNodesCIDRList",
  wireguardKeepAlive: "WireguardPersistentKeepAlive",
  bpfConntrackMode: "BPFConntrackCleanupMode",
  bpfMapSizePerCpuConntrack: "BPFMapSizePerCPUConntrack",
  iptablesPostWriteCheckInterval: "IptablesPostWriteCheckIntervalSecs",
  iptablesLockProbeInterval: "IptablesLockProbeIntervalMillis",
  netlinkTimeout: "NetlinkTimeoutSecs",
  reportingInterval: "ReportingIntervalSecs",
  reportingTTL: "ReportingTTLSecs",
  endpointReportingDelay: "EndpointReportingDelaySecs",
  usageReportingInitialDelay: "UsageReportingInitialDelaySecs",
  usageReportingInterval: "UsageReportingIntervalSecs",
};
/** First words that Felix writes in capitals. */
const CAPITALS: [RegExp, string][] = [
  [/^bpf/, "BPF"], [/^vxlan/, "VXLAN"], [/^nat(?=[A-Z])/, "NAT"], [/^nftables/, "NFTables"],
  [/^xdp/, "XDP"], [/^aws/, "AWS"], [/^mtu/, "MTU"], [/^ipv(?=[46](Normal|Elevated))/, "IPv"],
];
const ANNOTATION = "config.projectcalico.org/";
const DURATION = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/;
const UNIT_SECONDS: Record<string, number> = {
  ns: 1e-9, us: 1e-6, "µs": 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600,
};
const PORT_LISTS = new Set(["FailsafeInboundHostPorts", "FailsafeOutboundHostPorts"]);

export function configOf(
  snapshot: Snapshot, node: NodeObject | undefined, nodeName: string, report: Report,
): Map<string, string> {
  const config = new Map<string, string>();
  const named = (name: string) => (manifest: Manifest) => manifest.name === name;
  const all = snapshot.felixConfigurations;
  const selecting = all.find((manifest) => selects(manifest, node, report));
  for (const manifest of [
    all.find(named("default")), selecting, all.find(named(`node.${nodeName}`)),
  ]) {
    for (const [name, value] of manifest ? parameters(manifest) : []) config.set(name, value);
  }
  encapsulation(snapshot, config);
  return config;
}

function selects(manifest: Manifest, node: NodeObject | undefined, report: Report): boolean {
  if (manifest.name === "default" || manifest.name.startsWith("node.")) return false;
  const text = textAt(objectAt(manifest.value, "spec"), "nodeSelector");
  if (text === "" || !node) return false;
  try {
    return Selector.parse(text).evaluate(new Map(Object.entries(node.labels)));
  } catch (error) {
    report.error(manifest, ["spec", "nodeSelector"], `nodeSelector: ${(error as Error).message}`);
    return false;
  }
}

/** Annotations "config.projectcalico.org/NAME" win over fields. */
function parameters({ value }: Manifest): [string, string][] {
  const found: [string, string][] = [];
  for (const [field, each] of Object.entries(objectAt(value, "spec"))) {
    const name = parameterName(field);
    if (field === "nodeSelector" || each === null || each === "") continue;
    found.push([name, PORT_LISTS.has(name) ? portList(each) : parameterText(name, each)]);
  }
  const annotations = mapAt(objectAt(value, "metadata"), "annotations");
  for (const [name, each] of Object.entries(annotations)) {
    if (name.startsWith(ANNOTATION)) found.push([name.slice(ANNOTATION.length), each]);
  }
  return found;
}

/** "vxlanPort" → "VXLANPort". */
export function parameterName(field: string): string {
  const odd = NAMES[field];
  if (odd !== undefined) return odd;
  const capital = CAPITALS.find(([pattern]) => pattern.test(field));
  if (capital) return field.replace(capital[0], capital[1]);
  return field.charAt(0).toUpperCase() + field.slice(1);
}

function parameterText(name: string, value: unknown): string {
  if (Array.isArray(value)) {
    return value.map((each) => {
      const range = fields(each);
      return range ? `${numberAt(range, "min")}-${numberAt(range, "max")}` : String(each);
    }).join(",");
  }
  const map = fields(value);
  if (map) return Object.entries(map).map(([key, each]) => `${key}=${String(each)}`).join(",");
  const text = String(value);
  if (typeof value !== "string" || !DURATION.test(text)) return text;
  const seconds = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)]
    .reduce((sum, [, number, unit]) => sum + Number(number) * UNIT_SECONDS[unit!]!, 0);
  return String(name.endsWith("Millis") ? seconds * 1000 : seconds);
}

/** "tcp:22,udp:10.0.0.0/8:68,tcp:[fd00::/8]:179"; none = "none". */
function portList(value: unknown): string {
  const ports = (Array.isArray(value) ? value : []).map((each) => fields(each) ?? {});
  if (ports.length === 0) return "none";
  return ports.map((port: Fields) => {
    const net = textAt(port, "net");
    const within = net === "" ? "" : net.includes(":") ? `[${net}]:` : `${net}:`;
    return `${textAt(port, "protocol").toLowerCase()}:${within}${numberAt(port, "port")}`;
  }).join(",");
}

function encapsulation(snapshot: Snapshot, config: Map<string, string>): void {
  for (const [name, field] of [["VXLANEnabled", "vxlanMode"], ["IpInIpEnabled", "ipipMode"]]) {
    if (config.has(name!)) continue;
    const used = snapshot.ipPools.some(({ value }) => {
      const mode = textAt(objectAt(value, "spec"), field!);
      return mode !== "" && mode !== "Never";
    });
    if (used) config.set(name!, "true");
  }
}
