// The route table: the longest prefix says by which uplink a packet leaves, and so which address
// SNAT puts in. Read off the rewritten source, against a slow look-up over all routes.
import { expect, test } from "vitest";
import { Reason } from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { addressBytes, addressNumber, addressText } from "../../host/model/address.ts";
import type { Budgets, Program, Route } from "../../host/model/program.ts";
import { packet } from "../packets.ts";
import { seedOf } from "../seed.ts";
import { CLIENT, core } from "../shop.ts";

const UPLINKS = 5, ROUTES = 600, PACKETS = 1000;
const budgets: Budgets = {
  workers: 1, sessions4Max: 4096, sessions6Max: 4096, endpointsMax: 16, servicesMax: 8,
};
const seed = seedOf("ROUTE_SEED");
let state = seed;
/** 0 to n - 1 (Park and Miller). */
function below(n: number): number {
  state = (state * 48271) % 0x7fffffff;
  return state % n;
}

/** Addresses close to each other, so that prefixes lie in prefixes. */
function address(family: 4 | 6): string {
  const byte = (): number => [0, 1, 127, 128, 255][below(5)]!;
  if (family === 4) return `100.${byte()}.${byte()}.${byte()}`;
  const word = (): string => ((byte() << 8) | byte()).toString(16);
  return `2001:db8:${word()}:${word()}:${word()}:${word()}:${word()}:${word()}`;
}
function prefixOf(text: string, length: number): bigint {
  const shift = BigInt(128 - length);
  return (addressNumber(addressBytes(text)) >> shift) << shift;
}
function randomRoutes(): Route[] {
  const seen = new Set<string>();
  const routes: Route[] = [];
  while (routes.length < ROUTES) {
    const family = below(2) ? 4 : 6;
    const length = family === 4 ? 8 + below(25) : 64 + below(65);
    const network = prefixOf(address(family), family === 4 ? length + 96 : length);
    const bytes = Uint8Array.from({ length: 16 }, (_, i) =>
      Number((network >> BigInt(120 - i * 8)) & 0xffn));
    const text = addressText(family === 4 ? bytes.subarray(12) : bytes);
    const prefix = `${text}/${length}`;
    if (seen.has(prefix)) continue;
    seen.add(prefix);
    routes.push({ prefix, uplink: `eth${below(UPLINKS - 1)}` });
  }
  // The last uplink has the default route of IPv4 alone.
  return [...routes, { prefix: "0.0.0.0/0", uplink: `eth${UPLINKS - 1}` }];
}
interface SlowRoute {
  family: 4 | 6;
  /** Of the 128-bit address. */
  length: number;
  network: bigint;
  uplink: string;
}
const slow = ({ prefix, uplink }: Route): SlowRoute => {
  const [network, bits] = prefix.split("/") as [string, string];
  const family = network.includes(":") ? 6 : 4;
  const length = family === 4 ? Number(bits) + 96 : Number(bits);
  return { family, length, network: prefixOf(network, length), uplink };
};
function slowly(routes: SlowRoute[], text: string, family: 4 | 6): string | undefined {
  let longest = -1, uplink: string | undefined;
  for (const route of routes) {
    if (route.family !== family || route.length <= longest) continue;
    if (route.network !== prefixOf(text, route.length)) continue;
    [longest, uplink] = [route.length, route.uplink];
  }
  return uplink;
}

test(`route-longest: of ${ROUTES} routes the longest prefix names the uplink and SNAT's address`,
  async () => {
    console.log(`ROUTE_SEED=${seed}`);
    const routes = randomRoutes();
    const table = routes.map(slow);
    const uplinks = Array.from({ length: UPLINKS }, (_, i) => ({
      name: `eth${i}`, kind: "uplink" as const, interfaces: [10 + i], addresses: [],
      snatAddresses: [`192.0.2.${i + 1}`, `fd99::${i + 1}`],
    }));
    const program: Program = {
      endpoints: [
        {
          name: "client", kind: "workload", interfaces: [CLIENT],
          addresses: ["10.0.0.1", "fd00::1"],
        },
        ...uplinks,
      ],
      services: [], policies: [], routes,
      sets: [{ id: "pods", type: "net", members: ["10.0.0.0/8", "fd00::/64"] }],
      settings: { natSources: "pods", snatAddresses: ["192.0.2.99", "fd99::99"] },
    };
    const dataplane = new NodeDataplane(core, { memoryPages: 256 });
    dataplane.stage(configureRecord(budgets));
    dataplane.push(await new Compiler(budgets).compile(program, 1));
    dataplane.stage(bindRecords(program));
    const used = new Map<string, number>();
    for (let i = 0; i < PACKETS; i++) {
      const family = below(2) ? 4 : 6;
      const to = address(family);
      const from = family === 4 ? "10.0.0.1" : "fd00::1";
      const bytes = packet({ from, to, protocol: "udp", port: 53, sourcePort: 1024 + i });
      const [result] = dataplane.process(0, [{ interface: CLIENT, bytes }],
        { nowMs: 1_000_000, nowSeconds: 1_700_000_000 });
      const uplink = slowly(table, to, family);
      if (uplink === undefined) {
        // What no route leads to may be beyond: it never leaves with the pod's own source.
        expect(result!.reason, to).toBe(Reason.NoNatAddress);
      } else {
        expect(result!.reason, to).toBe(Reason.Allowed);
        const out = result!.bytes!;
        const source = addressText(family === 4 ? out.slice(12, 16) : out.slice(8, 24));
        const number = Number(uplink.slice(3)) + 1;
        const expected = family === 4 ? `192.0.2.${number}` : `fd99::${number}`;
        expect(source, `${to} by ${uplink}`).toBe(expected);
      }
      const kind = `${family} ${uplink === undefined ? "none" : "some"}`;
      used.set(kind, (used.get(kind) ?? 0) + 1);
    }
    for (const kind of ["4 some", "6 some", "6 none"]) {
      expect(used.get(kind) ?? 0, kind).toBeGreaterThan(5);
    }
  });
