// kube-proxy's packet flows through process(): for each set-up the Services, slices and
// kube-proxy's configuration become a node's program as ever, and each flow is packets on it, one
// for each of some source ports. As they are, re-addressed into fd00::/96, and as dual stack, both
// at once.
//
//   Service, EndpointSlice, Node ─ snapshot ─ calculate ─ nodeProgram ─ Compiler ─► one engine
//
//   expectation        what must be seen
//   "a:80, b:80"       packets pass, and reach these backends, every one of them and no other
//   masqueraded        all of them bear the node's address, else the client's own
//   REJECT             an answer (TCP reset, ICMP unreachable);  DROP: nothing
//   "" and ACCEPT      the packet passes as it came: it is no Service's (ACCEPT is kube-proxy's
//                      rule for the port of its own health checks)
//
// Pods send at their own interfaces, nodes and localhost as the host, the world at an uplink. The
// set-ups follow one another in one engine, whose sessions end in between. kube-proxy's option
// localhostNodePorts stands in the set-up's name, not in its configuration.
// Cases: ../shared/conformance/services/iptables-flows.jsonl (its README tells the format); where
// that folder is not there, this says so.
import { afterAll, describe, expect, test } from "vitest";
import { Verdict } from "../../assembly/layout.ts";
import { Calculator } from "../../host/calc/calculate.ts";
import { snapshotOf } from "../../host/input/snapshot.ts";
import { familyOf } from "../../host/model/address.ts";
import type { Finding } from "../../host/model/snapshot.ts";
import { endsOf, LivingNode, outcome } from "../livingnode.ts";
import { packet } from "../packets.ts";
import { v6Address } from "./readdress.ts";
import { judgeTopology } from "./topology.ts";
import { readSetUps, type Fields, type KubeProxyFlow, type SetUp } from "./kubeproxycases.ts";

type Form = (address: string) => string;

const { there, setUps } = readSetUps("services-flows");
const flowCount = setUps.reduce((sum, { flows }) => sum + flows.length, 0);
const same: Form = (address) => address;
/** kube-proxy's configuration names pods' IPv4 alone; its IPv6 cases have pods here. */
const PODS_6 = "fd00:10::/32";
const SOURCE_PORTS = 64;

/** A pod's address, by the set-ups' own plan. */
function isPod(address: string): boolean {
  return /^(10\.|fd00:10:)/.test(address);
}

/** "ns/pod" that a source address is. */
function podName(address: string): string {
  return `pods/pod-${address.replaceAll(/[.:]+/g, "-")}`;
}

/** The objects of a set-up as an API server shows them, in the families of `forms`. */
function objects({ test: name, config, ...setUp }: SetUp, forms: Form[]): Fields[] {
  const each = (address: string): string[] => forms.map((form) => form(address));
  // As dual stack the node has its IPv4 addresses in both forms, and in the same order.
  const nodeIPs = forms.length === 1 && forms[0] === same ? config.nodeIPs
    : config.nodeIPs.filter((ip) => familyOf(ip) === 4).flatMap(each);
  const prefixes = config.nodePortAddresses.replaceAll(/[[\]]/g, "").split(" ").flatMap(each);
  const localhost = !name.includes("localhost-nodeports_disabled");
  const parameters = {
    KubeProxyNodePortAddresses: prefixes.join(), KubeProxyLocalhostNodePorts: String(localhost),
    KubeProxyMasqueradeAll: String(config.masqueradeAll),
    KubeProxyDetectLocalMode: config.localDetectorImplemented ? "ClusterCIDR" : "None",
  };
  const sources = [...new Set(setUp.flows.map(({ sourceIP }) => sourceIP))].filter(isPod);
  return [
    { apiVersion: "v1", kind: "Node", metadata: { name: config.nodeName },
      status: { addresses: nodeIPs.map((address) => ({ type: "InternalIP", address })) } },
    { apiVersion: "projectcalico.org/v3", kind: "FelixConfiguration",
      metadata: { name: "default", annotations: Object.fromEntries(Object.entries(parameters)
        .map(([parameter, value]) => [`config.projectcalico.org/${parameter}`, value])) },
      spec: {} },
    ...[...each(config.podCIDR), PODS_6].map((cidr, i) => ({
      apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: `pods-${i}` },
      spec: { cidr, natOutgoing: false },
    })),
    ...sources.map((source) => ({
      apiVersion: "v1", kind: "Pod",
      metadata: { namespace: "pods", name: podName(source).split("/")[1] },
      spec: { nodeName: config.nodeName, containers: [] },
      status: { podIPs: each(source).map((ip) => ({ ip })) },
    })),
    ...setUp.services.map((service) => ({
      apiVersion: "v1", kind: "Service", ...inForms(service, forms),
    })),
    ...setUp.endpointSlices.flatMap((slice) => forms.map((form, i) => {
      const { metadata, addressType, endpoints } = slice as {
        metadata: { name: string }; addressType: string; endpoints: { addresses: string[] }[];
      };
      return { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", ...slice,
        metadata: { ...metadata, name: `${metadata.name}-${i}` },
        addressType: form === same ? addressType : "IPv6",
        endpoints: endpoints.map((one) => ({ ...one, addresses: one.addresses.map(form) })) };
    })),
  ];
}

/** Fields of a Service that hold addresses. */
function inForms(service: Fields, forms: Form[]): Fields {
  const spec = service["spec"] as {
    clusterIP: string; externalIPs?: string[]; loadBalancerSourceRanges?: string[];
  };
  const status = service["status"] as { loadBalancer: { ingress?: { ip: string }[] } };
  const all = (list: string[]): string[] =>
    forms.flatMap((form) => list.map((text) => form(text.trim())));
  const clusterIPs = all([spec.clusterIP]);
  return {
    ...service,
    spec: { ...spec, clusterIP: clusterIPs[0], clusterIPs,
      externalIPs: all(spec.externalIPs ?? []),
      loadBalancerSourceRanges: all(spec.loadBalancerSourceRanges ?? []) },
    status: { loadBalancer: { ingress: all((status.loadBalancer.ingress ?? [])
      .map(({ ip }) => ip)).map((ip) => ({ ip })) } },
  };
}

/** Set-ups after one another, on one node. */
class Bench {
  private readonly node = new LivingNode();
  private port = 1024;
  private own = new Set<string>();

  async push(setUp: SetUp, forms: Form[]): Promise<void> {
    const { snapshot, findings } = snapshotOf(objects(setUp, forms));
    const faults: Finding[] = [...findings];
    const name = setUp.config.nodeName;
    const state = new Calculator(snapshot, { findings: faults }).state(name);
    expect(faults).toEqual([]);
    const addresses = state.hosts.get(name)!;
    await this.node.push(state, {
      uplinks: [{ name: "eth0", addresses, routes: ["0.0.0.0/0", "::/0"] }],
    });
    this.own = new Set([...addresses, "127.0.0.1", "::1"]);
    this.node.forget();
  }

  /** The endpoint that a flow's packets come from. */
  private sender({ sourceIP, name }: KubeProxyFlow, source: string): string {
    // A client whose source is the load balancer's address is the node itself, which bears it.
    if (this.own.has(source) || /^same node/.test(name)) return "host";
    return isPod(sourceIP) ? podName(sourceIP) : "eth0";
  }

  /** Why the flow does not do what it should; "" where it does. */
  fault(flow: KubeProxyFlow, form: Form): string {
    const source = form(flow.sourceIP), destination = form(flow.destIP);
    const sent = Array.from({ length: SOURCE_PORTS }, () => packet({
      from: source, to: destination, protocol: flow.protocol.toLowerCase() as "tcp", flags: "S",
      sourcePort: this.port++, port: flow.destPort,
    }));
    // Answers are few at a time: between them the clock moves on.
    const results = this.node.send(this.sender(flow, source), sent, 100);
    const verdicts = [...new Set(results.map(({ verdict }) => Verdict[verdict]))].join();
    const { expectOutput, expectMasq } = flow;
    const shall = { REJECT: "Reply", DROP: "Drop" }[expectOutput] ?? "Pass";
    if (verdicts !== shall) return `${[...new Set(results.map(outcome))].join()}, not ${shall}`;
    if (shall !== "Pass") return "";
    if (expectOutput === "" || expectOutput === "ACCEPT") {
      const untouched = results.every(({ bytes }, i) => Buffer.compare(bytes!, sent[i]!) === 0);
      return untouched ? "" : "the packet was changed";
    }
    const ends = results.map(({ bytes }) => endsOf(bytes!));
    const wrong = ends.find(({ fault }) => fault !== "");
    if (wrong) return wrong.fault;
    const reached = [...new Set(ends.map(({ to }) => to))].sort().join(", ");
    const backends = expectOutput.split(",").map((text) => reform(text.trim(), form)).sort();
    if (reached !== backends.join(", ")) return `reached ${reached}, not ${backends.join(", ")}`;
    const sources = [...new Set(ends.map(({ from }) => from))];
    const bears = expectMasq ? this.node.program.settings!.snatAddresses! : [source];
    return sources.length === 1 && bears.includes(sources[0]!) ? ""
      : `from ${sources.join()}, not ${bears.join(" or ")}`;
  }

  close(): void {
    this.node.close();
  }
}

function reform(place: string, form: Form): string {
  const [, address, port] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(place)!;
  const formed = form(address!);
  return formed.includes(":") ? `[${formed}]:${port}` : `${formed}:${port}`;
}

describe.skipIf(!there)("kube-proxy's packet flows", () => {
  const lines: string[] = [];

  async function run(
    title: string, of: SetUp[], forms: Form[], which: (flow: KubeProxyFlow) => boolean,
  ) {
    const bench = new Bench();
    const wrong: string[] = [];
    let right = 0, all = 0;
    for (const setUp of of) {
      await bench.push(setUp, forms);
      for (const flow of setUp.flows.filter(which)) {
        for (const form of forms) {
          const fault = bench.fault(flow, form);
          all++;
          if (fault === "") right++;
          else wrong.push(`${setUp.test}:${setUp.line} ${flow.name} (${form(flow.sourceIP)} -> ` +
            `${form(flow.destIP)}:${flow.destPort}): ${fault}`);
        }
      }
    }
    bench.close();
    lines.push(`${title} ${right}/${all}`);
    expect(wrong).toEqual([]);
    expect(all).toBeGreaterThan(0);
    return all;
  }
  /** kube-proxy has no NodePorts on IPv6's localhost. */
  const isNear = ({ sourceIP }: KubeProxyFlow): boolean => sourceIP === "127.0.0.1";
  const of4 = setUps.filter(({ services, flows }) => [...flows.map((flow) => flow.destIP),
    ...services.map((each) => (each["spec"] as { clusterIP: string }).clusterIP)]
    .every((address) => familyOf(address) === 4));

  test("services-flows: every flow does what kube-proxy's rules say", async () => {
    expect(await run("services", setUps, [same], () => true)).toBe(flowCount);
  }, 120_000);

  test("services-flows-v6: and in fd00::/96", async () => {
    await run("services-v6", of4, [v6Address], (flow) => !isNear(flow));
  }, 120_000);

  test("services-flows-dual: and with both families at once", async () => {
    await run("services-dual", of4, [same, v6Address], (flow) => !isNear(flow));
  }, 120_000);

  afterAll(() => {
    const { right, all } = judgeTopology();
    console.log([`${lines[0]} topology ${right}/${all}`, ...lines.slice(1)].join("\n"));
  });
});
