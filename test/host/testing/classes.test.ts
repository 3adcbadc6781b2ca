// One packet speaks for its class: under random rules, random packets meet the verdict that the
// packet of their class met. The classes are only.ts', the verdicts process()'.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import type { Flow } from "../../../host/cluster/types.ts";
import { PRIVATE, PRIVATE_LABEL, prefixHolds, type LabelledPrefix } from
  "../../../host/testing/addresses.ts";
import type { Range } from "../../../host/testing/cuts.ts";
import { Ground } from "../../../host/testing/ground.ts";
import { planOnly, type Probe } from "../../../host/testing/only.ts";
import type { Source } from "../../../host/testing/sources.ts";
import { onlyCase } from "../../../host/testing/testfile.ts";
import { seedOf } from "../../seed.ts";

const folder = mkdtempSync(join(tmpdir(), "margay-classes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const RUNS = 16;
const PACKETS = 120;

const pod = (name: string, labels: object, ip: string): object => ({
  apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "shop", labels },
  spec: { nodeName: "node-1", containers: [{
    name: "a", image: "a", ports: [{ name: "http", containerPort: 8080 }],
  }] },
  status: { phase: "Running", podIP: ip },
});
const CLUSTER = [
  pod("db", { app: "db" }, "10.65.0.2"), pod("api", { app: "api" }, "10.65.0.3"),
  pod("web", { app: "web", tier: "a" }, "10.65.0.4"),
  { apiVersion: "projectcalico.org/v3", kind: "GlobalNetworkSet",
    metadata: { name: "office", labels: { role: "office" } },
    spec: { nets: ["192.0.2.0/28", "198.51.100.64/26"] } },
];

const port = fc.constantFrom<number | string>(1, 22, 80, "70:90", "81", "8000:8080", 65_535, "http",
  "1:1023");
const ports = fc.array(port, { minLength: 1, maxLength: 3 });
const net = fc.constantFrom("192.0.2.0/24", "192.0.2.8/29", "198.51.100.0/24", "10.65.0.4/32",
  "0.0.0.0/0", "203.0.113.7/32", "10.0.0.0/8");
const nets = fc.array(net, { minLength: 1, maxLength: 2 });
const notNets = nets.map((list) => [...new Set(list.map((each) =>
  each === "0.0.0.0/0" ? "203.0.113.0/24" : each))]);
const selector = fc.constantFrom("app == 'api'", "role == 'office'", "has(tier)", "all()");
const source = fc.record({
  nets, notNets, selector, ports: fc.constantFrom([1], ["1000:2000"]),
}, { requiredKeys: [] });
const destination = fc.record({ ports, notPorts: ports }, { requiredKeys: [] });
const rule = fc.tuple(
  fc.constantFrom("Allow", "Deny", "Allow"), source, destination,
  fc.constantFrom("TCP", "UDP", "SCTP", "ICMP", 47, undefined),
  fc.constantFrom({ type: 8, code: 0 }, { type: 13 }, { type: 8 }), fc.boolean(),
).map(([action, source, destination, protocol, icmp, negated]) => {
  const withPorts = ["TCP", "UDP", "SCTP"].includes(String(protocol));
  const portless = (fields: object): object => withPorts ? fields
    : Object.fromEntries(Object.entries(fields).filter(([key]) => !/orts$/.test(key)));
  return {
    action, source: portless(source), destination: portless(destination),
    ...(protocol === undefined ? {} : { protocol }),
    ...(protocol === "ICMP" ? negated ? { notICMP: icmp } : { icmp } : {}),
  };
});

const address = fc.oneof(
  fc.constantFrom("10.65.0.3", "10.65.0.4", "203.0.113.7", "10.9.9.9"),
  fc.integer({ min: 0, max: 255 }).map((last) => `192.0.2.${last}`),
  fc.integer({ min: 0, max: 255 }).map((last) => `198.51.100.${last}`),
  fc.tuple(fc.integer({ min: 11, max: 126 }), fc.nat(255)).map(([a, b]) => `${a}.${b}.7.7`),
);
const number = fc.oneof(fc.constantFrom(1, 2, 21, 22, 23, 69, 70, 80, 81, 90, 91, 1023, 1024, 7999,
  8000, 8080, 8081, 65_534, 65_535, 999, 1000, 2000, 2001), fc.integer({ min: 1, max: 65_535 }));
const packet = fc.record({
  address, port: number, sourcePort: number,
  protocol: fc.constantFrom<number>(6, 17, 132, 1, 47, 50, 99),
  type: fc.constantFrom(8, 13, 15, 17, 42), code: fc.constantFrom(0, 1),
});
type Packet = typeof packet extends fc.Arbitrary<infer T> ? T : never;

test("test-only-sound: a class's packet speaks for every packet of the class", async () => {
  const seed = seedOf("FUZZ_SEED");
  let allowed = 0;
  const runs = fc.sample(fc.array(rule, { minLength: 1, maxLength: 5 }), { seed, numRuns: RUNS });
  for (const [run, rules] of runs.entries()) {
    // Every other policy lets in what its rules don't name.
    const ingress = run % 2 === 0 ? rules : [...rules, { action: "Allow" }];
    const policy = { apiVersion: "projectcalico.org/v3", kind: "NetworkPolicy",
      metadata: { name: "db", namespace: "shop" },
      spec: { selector: "app == 'db'", types: ["Ingress"], ingress } };
    const path = join(folder, "all.json");
    writeFileSync(path, JSON.stringify({ kind: "List", items: [...CLUSTER, policy] }));
    const ground = await Ground.open([path], []);
    try {
      const { probes } = planOnly(onlyCase("shop/db", [], new Set()), ground);
      const spoken = ground.cluster.run(probes.map(({ flow }) => flow));
      const prefixes = ground.book.sourcePrefixes([probes[0]!.flow.to]);
      const origin = `FUZZ_SEED=${seed} run ${run}`;
      const packets = fc.sample(packet, { seed: seed + run, numRuns: PACKETS });
      const find = (each: Packet): number => {
        const labels = labelsOf(each.address, prefixes);
        return probes.findIndex((one) => isOf(each, one, labels));
      };
      // A protocol that no rule names is of the class that stands for all those.
      const other = probes.find(({ traffic }) => traffic.unnamed)!.traffic.protocol;
      const classes = packets.map((each) => {
        const own = find(each);
        return own >= 0 ? own : find({ ...each, protocol: other });
      });
      const lost = packets[classes.indexOf(-1)];
      if (lost) throw new Error(`${origin}: no class for ${JSON.stringify(lost)}`);
      const results = ground.cluster.run(packets.map((each, i) =>
        flowOf(each, probes[classes[i]!]!)));
      results.forEach(({ verdict }, i) => {
        if (verdict === "allow") allowed++;
        const expected = spoken[classes[i]!]!.verdict;
        if (verdict === expected) return;
        throw new Error(`${origin}: ${JSON.stringify(packets[i])} got ${verdict}, ` +
          `its class ${JSON.stringify(probes[classes[i]!]!.traffic)} ${expected}, under ` +
          JSON.stringify(rules));
      });
    } finally {
      ground.close();
    }
  }
  expect(allowed / (RUNS * PACKETS)).toBeGreaterThan(0.1);
});

function inside(value: number, range: Range | undefined): boolean {
  return range === undefined || (range.first <= value && value <= range.last);
}

/** Is a packet of a probe's class? */
function isOf(one: Packet, probe: Probe, labels: string): boolean {
  return isAs(one, probe) && isFrom(one.address, probe.source, labels);
}

function isAs(one: Packet, { traffic }: Probe): boolean {
  if (traffic.protocol !== one.protocol) return false;
  if (traffic.port) {
    return inside(one.port, traffic.port) && inside(one.sourcePort, traffic.sourcePort);
  }
  return traffic.icmp === undefined || inside(one.type << 8 | one.code, traffic.icmp);
}

const PODS = ["10.65.0.3", "10.65.0.4"];

/** A pod is itself; of addresses, those in the same prefixes are alike. */
function isFrom(from: string, { end, class: found }: Source, labels: string): boolean {
  if (PODS.includes(from) || found === undefined) {
    return end.address === from && end.kind === "pod";
  }
  return labels === String(found.labels);
}

function labelsOf(from: string, prefixes: readonly LabelledPrefix[]): string {
  const labels = new Set(prefixes.filter(({ prefix }) => prefixHolds(prefix, from))
    .map(({ label }) => label));
  if (PRIVATE.some((prefix) => prefixHolds(prefix, from))) labels.add(PRIVATE_LABEL);
  return String([...labels].sort());
}

function flowOf(one: Packet, { source, flow: { to } }: Probe): Flow {
  const { address, protocol, port, sourcePort, type, code } = one;
  const from: Flow["from"] = source.class ? { kind: "address", address } : source.end;
  const flow: Flow = { from, to, protocol };
  if ([6, 17, 132].includes(protocol)) return { ...flow, port, sourcePort };
  return protocol === 1 ? { ...flow, icmp: { type, code } } : flow;
}
