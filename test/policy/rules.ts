// Random rules and sets around flows: three of four values are such that the flow matches them.
import { familyOf } from "../../host/model/address.ts";
import type { Protocol, Rule } from "../../host/model/rule.ts";
import type { StateSet } from "../../host/model/state.ts";
import { MATCH_FIELDS } from "../reference/rule.ts";
import { PORTED, PORTS, SOURCE_PORTS, type Flow } from "./flow.ts";
import type { Random } from "./random.ts";

type Field = (typeof MATCH_FIELDS)[number];
const HOLDS = 0.8;
const LENGTHS = {
  4: [32, 32, 31, 30, 29, 24, 16, 8, 1, 0], 6: [128, 128, 127, 120, 64, 48, 32, 0],
};
const NAMES: Record<number, Protocol> =
  { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp" };
/** Elsewhere: for what must not match. */
const AWAY = ["192.0.2.200/32", "172.16.0.0/12", "fd99::/16", "2001:db8:9999::9"];

/** A prefix around an address; host bits may stand in it, and an address may stand alone. */
function around(random: Random, address: string): string {
  const length = random.pick(LENGTHS[familyOf(address)]);
  const whole = length === (familyOf(address) === 4 ? 32 : 128);
  return whole && random.chance(0.5) ? address : `${address}/${length}`;
}

const named = (protocol: number): string =>
  ({ 6: "tcp", 17: "udp", 132: "sctp" })[protocol] ?? String(protocol);

export function randomSets(random: Random, flows: Flow[]): Map<string, StateSet> {
  const sets = new Map<string, StateSet>();
  const addresses = flows.flatMap(({ from, to }) => [from, to]);
  const put = (id: string, type: StateSet["type"], members: string[]): void => {
    sets.set(id, { id, type, members: new Set(members) });
  };
  const several = <T>(most: number, one: () => T): T[] =>
    Array.from({ length: random.below(most + 1) }, one);
  for (let i = random.between(2, 4); i > 0; i--) {
    put(`s:net${i}`, "net", several(6, () => around(random, random.pick(addresses))));
  }
  for (let i = random.between(1, 2); i > 0; i--) {
    put(`s:ip${i}`, "ip", several(5, () => random.pick(addresses)));
  }
  for (let i = random.between(2, 4); i > 0; i--) {
    put(`n:port${i}`, "ip-port", several(8, () => {
      const flow = random.pick(flows);
      const [address, port] = random.chance(0.5)
        ? [flow.to, flow.port] : [flow.from, flow.sourcePort];
      const protocol = random.chance(0.85) && PORTED.includes(flow.protocol)
        ? flow.protocol : random.pick(PORTED);
      return `${address},${random.chance(0.1) ? protocol : named(protocol)}:${port}`;
    }));
  }
  return sets;
}

/** A rule with one to three match fields (or none) around a flow, and what they need. */
export function randomRule(
  random: Random, flow: Flow, sets: Map<string, StateSet>, actions: Record<Rule["action"], number>,
): Rule {
  const rule: Rule = { action: random.weighted(actions) };
  if (random.chance(0.06)) return rule;
  const fields = random.some(fieldsFor(flow), 1, random.between(1, 3));
  for (const field of fields) match(random, rule, field, flow, sets);
  if (random.chance(0.1)) return rule; // as no API server would let it, but a stream may
  const asksPorts = fields.some((field) => /Ports$/.test(field));
  const asksIcmp = fields.some((field) => /icmp$/i.test(field));
  if (asksIcmp) {
    // As an API server lets it: ICMP with its protocol, no ports.
    for (const field of MATCH_FIELDS) if (/Port/.test(field)) delete rule[field];
    delete rule.notProtocol;
    rule.protocol = familyOf(flow.from) === 4 ? "icmp" : random.pick(["icmp6", "icmpv6", 58]);
    rule.ipVersion = familyOf(flow.from);
  } else if (asksPorts) {
    delete rule.notProtocol;
    rule.protocol = PORTED.includes(flow.protocol) && random.chance(0.9)
      ? (random.chance(0.5) ? NAMES[flow.protocol]! : flow.protocol)
      : random.pick<Protocol>(["tcp", "udp", "sctp"]);
  }
  return rule;
}

/** Match fields that a flow of its protocol can meet; a rule seldom bears another one. */
function fieldsFor(flow: Flow): Field[] {
  const isIcmp = flow.protocol === (familyOf(flow.from) === 4 ? 1 : 58);
  const ported = PORTED.includes(flow.protocol);
  const plain = MATCH_FIELDS.filter((field) => !/Port|icmp$/i.test(field));
  if (isIcmp) return [...plain, "icmp", "icmp", "icmp", ...new Array<Field>(5).fill("notIcmp")];
  if (!ported) return plain;
  const ports = MATCH_FIELDS.filter((field) => /Port/.test(field));
  return [...plain, ...ports, ...ports];
}

function match(
  random: Random, rule: Rule, field: Field, flow: Flow, sets: Map<string, StateSet>,
): void {
  const isNot = field.startsWith("not");
  const holds = random.chance(field === "notIcmp" ? 0.4 : isNot ? HOLDS - 0.2 : HOLDS);
  const family = familyOf(flow.from);
  /** Should the value be one that the flow bears? */
  const own = holds !== isNot;
  const isSource = /source/i.test(field);
  switch (field) {
    case "ipVersion":
      rule.ipVersion = holds ? family : family === 4 ? 6 : 4;
      return;
    case "protocol":
    case "notProtocol": {
      const number = own ? flow.protocol : random.pick([6, 17, 132, 47]);
      rule[field] = random.chance(0.5) ? NAMES[number] ?? number : number;
      return;
    }
    case "icmp":
    case "notIcmp": {
      const { type, code } = flow.icmp;
      rule[field] = { type: own ? type : type ^ 1 };
      if (random.chance(0.5)) rule[field].code = own || random.chance(0.5) ? code : code ^ 1;
      return;
    }
    case "source":
    case "notSource":
    case "destination":
    case "notDestination": {
      const address = isSource ? flow.from : flow.to;
      const list = random.some(AWAY, isNot ? 1 : 0, 2);
      if (own || list.length === 0) list.splice(random.below(2), 0, around(random, address));
      rule[field] = list;
      return;
    }
    case "sourcePorts":
    case "notSourcePorts":
    case "destinationPorts":
    case "notDestinationPorts": {
      const port = isSource ? flow.sourcePort : flow.port;
      const list = own ? [range(random, port)] : [];
      if (list.length === 0 || random.chance(0.4)) {
        list.push(random.pick(isSource ? SOURCE_PORTS : PORTS));
      }
      rule[field] = list;
      return;
    }
    default: {
      const ports = /Port/.test(field);
      const ids = [...sets.values()].filter((set) => (set.type === "ip-port") === ports)
        .map((set) => set.id);
      const near = ids.filter((id) => touches(sets.get(id)!, ports, isSource, flow));
      const list = random.some(own && near.length ? near : ids, 1, 2);
      if (list.length) rule[field] = list;
    }
  }
}

/** Does a member name the flow's end outright? Enough to make matches likely. */
function touches(set: StateSet, ports: boolean, isSource: boolean, flow: Flow): boolean {
  const [address, port] = isSource ? [flow.from, flow.sourcePort] : [flow.to, flow.port];
  if (ports) return set.members.has(`${address},${named(flow.protocol)}:${port}`);
  return [...set.members].some((member) => member.startsWith(address));
}
function range(random: Random, port: number): number | string {
  if (random.chance(0.5)) return random.chance(0.7) ? port : String(port);
  const first = Math.max(0, port - random.below(100)), last = Math.min(65535, port + 100);
  return `${first}-${random.chance(0.5) ? port : last}`;
}
