// Calico eBPF's Maglev in the packet program: the tables that it builds from its backends' names,
// and the slots that it chooses for packets, so that nodes of both dataplanes in one cluster send a
// flow to the same backend.
//
//   table   backends + size ─► a Service with maglev "calico" ─► a packet for each slot ─► backend
//   packet  tuple ─► hash (here, slowly) ─► slot; and the backend that the program gives it
//
// Cases: ../shared/conformance/maglev (its README tells the format); where that folder is not
// there, this says so.
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Reason } from "../../assembly/layout.ts";
import { Compiler, bindRecords } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { coreModule } from "../../host/dataplane/core.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import { addressBytes, familyOf } from "../../host/model/address.ts";
import type { Backend, Program, Service } from "../../host/model/program.ts";
import { packet } from "../packets.ts";

const folder = "../shared/conformance/maglev";
const present = existsSync(folder);
if (!present) console.log(`Calico's Maglev: skipped, ${folder} is not there`);

interface Table {
  /** "10.65.0.2:8055", "[fd00::2]:8055". */
  backends: string[];
  lutSize: number;
  /** By slot: a place in `backends`. */
  lut: number[];
}
interface Hashed {
  src: string;
  dst: string;
  sport: number;
  dport: number;
  proto: number;
  hash: number;
  idx503: number;
}
const load = <T>(name: string): T[] =>
  present ? JSON.parse(readFileSync(`${folder}/${name}`, "utf8")) as T[] : [];
const tables = load<Table>("lut.json");
const hashes = load<Hashed>("packet-hash.json");

const state = new Uint32Array(3);
/** Steps of lookup3: step k takes word k mod 3 with the one before it, turned by so many bits. */
const MIX = [4, 6, 8, 16, 19, 4], FINAL = [14, 11, 25, 16, 4, 14, 24];
const turned = (x: number, k: number): number => (x << k) | (x >>> (32 - k));

/** lookup3's hashword, of any words (Bob Jenkins, 2006, public domain), with the cases' seed. */
function hashword(words: readonly number[]): number {
  state.fill(0xdeadbeef + (words.length << 2) + 0xca71c0);
  let at = 0;
  for (; words.length - at > 3; at += 3) {
    for (let i = 0; i < 3; i++) state[i]! += words[at + i]!;
    for (let k = 0; k < MIX.length; k++) {
      const x = k % 3, before = (k + 2) % 3;
      state[x] = (state[x]! - state[before]!) ^ turned(state[before]!, MIX[k]!);
      state[before]! += state[(k + 1) % 3]!;
    }
  }
  for (let i = 0; at + i < words.length; i++) state[i]! += words[at + i]!;
  for (let k = 0; k < FINAL.length; k++) {
    const x = (k + 2) % 3, before = (k + 1) % 3;
    state[x] = (state[x]! ^ state[before]!) - turned(state[before]!, FINAL[k]!);
  }
  return state[2]!;
}

type Tuple = Omit<Hashed, "hash" | "idx503">;
const loaded = new Map<string, number[]>();
/** An address as a little-endian machine loads it. */
function addressWords(text: string): number[] {
  const known = loaded.get(text);
  if (known) return known;
  const bytes = addressBytes(text).slice(familyOf(text) === 4 ? 12 : 0);
  const view = new DataView(bytes.buffer);
  const words = Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(i * 4, true));
  loaded.set(text, words);
  return words;
}
function words({ src, dst, sport, dport, proto }: Tuple): number[] {
  const addresses = [...addressWords(src), ...addressWords(dst)];
  return addresses.length === 2
    ? [...addresses, sport, dport, proto] : [...addresses, proto, sport, dport];
}

const backendsOf = (names: string[]): Backend[] => names.map((name) => {
  const [, address, port] = /^\[?(.*?)\]?:(\d+)$/.exec(name)!;
  return { name, address: address!, port: Number(port) };
});
const protocolOf = (number: number): "tcp" | "udp" => (number === 6 ? "tcp" : "udp");

/** A node with an uplink, whose Services are balanced as Calico does. */
async function node(services: Service[]) {
  const program: Program = {
    endpoints: [{ name: "uplink", kind: "uplink", interfaces: [1], addresses: [] }],
    services, policies: [],
  };
  const budgets = {
    workers: 1, sessions4Max: 32_768, sessions6Max: 32_768, endpointsMax: 4, servicesMax: 128,
  };
  const compiler = new Compiler(budgets);
  const engine = new NodeDataplane(coreModule(), { memoryPages: 512 });
  engine.stage(configureRecord(budgets));
  engine.push(await compiler.compile(program, 1));
  engine.stage(bindRecords(program));
  return {
    /** Names of the backends that new flows get. */
    ask: (tuples: Tuple[]): string[] => {
      const packets = tuples.map(({ src, dst, sport, dport, proto }) => ({
        interface: 1, bytes: packet({
          from: src, to: dst, sourcePort: sport, port: dport, protocol: protocolOf(proto),
        }),
      }));
      return engine.process(0, packets, { nowMs: 1000, nowSeconds: 0 }).map((result) => {
        expect(Reason[result.reason]).toBe("Allowed");
        return compiler.backendAt(result.backend!)!.name;
      });
    },
  };
}

describe.skipIf(!present)("maglev-calico: Calico eBPF's tables and hash", () => {
  test("the hash here is Calico's", () => {
    expect(hashes.length).toBeGreaterThan(50);
    for (const each of hashes) {
      expect(hashword(words(each)), JSON.stringify(each)).toBe(each.hash);
      expect(each.hash % 503).toBe(each.idx503);
    }
  });

  test.each(tables.map((table) => ({ ...table, name:
    `${table.lutSize} slots, ${table.backends.length} of ${table.backends[0]}` })),
  )("table: $name", async ({ backends, lut, lutSize }) => {
    const is4 = familyOf(backendsOf(backends)[0]!.address) === 4;
    const [src, dst] = is4 ? ["198.51.100.", "10.96.0.1"] : ["2001:db8::", "fd00:96::1"];
    const { ask } = await node([{
      name: "web", address: dst!, port: 80, protocol: "udp", maglev: "calico",
      maglevSlots: lutSize, backends: backendsOf(backends).reverse(),
    }]);
    // A flow for each slot.
    const flows: Tuple[] = [];
    const slots = new Set<number>();
    for (let n = 0; slots.size < lutSize; n++) {
      const flow = { src: `${src}${1 + (n >> 16)}`, dst: dst!, sport: n & 0xffff, dport: 80,
        proto: 17 };
      const slot = hashword(words(flow)) % lutSize;
      if (slots.has(slot)) continue;
      slots.add(slot);
      flows.push(flow);
    }
    expect(ask(flows)).toEqual([...slots].map((slot) => backends[lut[slot]!]));
  }, 60_000);

  test("packets: each of the cases meets the backend of its slot among 503", async () => {
    const table = (four: boolean): Table => tables.find(({ lutSize, backends }) => lutSize === 503
      && backends.length === 100 && four === (familyOf(backendsOf(backends)[0]!.address) === 4))!;
    const key = (each: Hashed): string => `${each.dst} ${each.dport} ${each.proto}`;
    const services = new Map(hashes.map((each): [string, Service] => [key(each), {
      name: key(each), address: each.dst, port: each.dport, protocol: protocolOf(each.proto),
      maglev: "calico",
      backends: backendsOf(table(familyOf(each.dst) === 4).backends),
    }]));
    const { ask } = await node([...services.values()]);
    const expected = hashes.map(({ dst, idx503 }) => {
      const { backends, lut } = table(familyOf(dst) === 4);
      return backends[lut[idx503]!];
    });
    expect(ask(hashes)).toEqual(expected);
  });
});
