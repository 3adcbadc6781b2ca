// Felix's rules as Margay's (model/rule.ts), and the checks of what stands in them: Felix has
// validated its objects, so what is wrong here is no message of its, and the message is refused
// whole.
//
//   action ""  allow    "next-tier"  pass    ─ names of protocols in any case, or numbers
//   src_* → source…     dst_* → destination… ─ an absent list says nothing
//
// original_* and rule_id are what the author wrote, already in the other fields. http_match is for
// proxies: no L3/L4 dataplane enforces it, so it is told as a warning.
// Source: projectcalico felix/proto Rule, felix/calc/rule_convert.go.
import { isIP } from "node:net";
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import type { IcmpMatch, Protocol, Rule } from "../model/rule.ts";
import type { IcmpTypeAndCode, PortRange, Protocol as FelixProtocol, Rule as FelixRule } from
  "./felixbackend_pb.ts";
import { FelixError } from "./felixframe.ts";

const PORT_MAX = 65_535;
const BYTE_MAX = 255;

const ACTIONS: Record<string, Rule["action"]> = {
  "": "allow", allow: "allow", deny: "deny", pass: "pass", "next-tier": "pass", log: "log",
};

/** Rules of one direction; `warn` hears of what is not enforced. */
export function rules(
  felix: FelixRule[], direction: "ingress" | "egress", warn: (text: string) => void,
): Rule[] {
  const field = direction === "ingress" ? "inbound_rules" : "outbound_rules";
  return felix.map((rule, index) => {
    const path = `${direction}[${index}]`;
    if (rule.httpMatch) {
      warn(`${path}: http_match is not enforced: the rule holds for every request`);
    }
    return ruleOf(rule, `${field}[${index}]`, path);
  });
}

function ruleOf(felix: FelixRule, place: string, path: string): Rule {
  const action = ACTIONS[felix.action.toLowerCase()];
  if (action === undefined) {
    throw new FelixError(`${place}.action`, `unknown action "${felix.action}"`);
  }
  const rule: Rule = {
    action,
    ...ipVersion(felix.ipVersion, place),
    protocol: protocol(felix.protocol, `${place}.protocol`),
    notProtocol: protocol(felix.notProtocol, `${place}.not_protocol`),
    icmp: icmp(felix.icmp, `${place}.icmp`),
    notIcmp: icmp(felix.notIcmp, `${place}.not_icmp`),
    source: prefixes(felix.srcNet, `${place}.src_net`),
    notSource: prefixes(felix.notSrcNet, `${place}.not_src_net`),
    destination: prefixes(felix.dstNet, `${place}.dst_net`),
    notDestination: prefixes(felix.notDstNet, `${place}.not_dst_net`),
    sourceSets: present(felix.srcIpSetIds),
    notSourceSets: present(felix.notSrcIpSetIds),
    destinationSets: present(felix.dstIpSetIds),
    notDestinationSets: present(felix.notDstIpSetIds),
    destinationPortSets: present(felix.dstIpPortSetIds),
    sourcePorts: ports(felix.srcPorts, `${place}.src_ports`),
    notSourcePorts: ports(felix.notSrcPorts, `${place}.not_src_ports`),
    destinationPorts: ports(felix.dstPorts, `${place}.dst_ports`),
    notDestinationPorts: ports(felix.notDstPorts, `${place}.not_dst_ports`),
    sourceNamedPorts: present(felix.srcNamedPortIpSetIds),
    notSourceNamedPorts: present(felix.notSrcNamedPortIpSetIds),
    destinationNamedPorts: present(felix.dstNamedPortIpSetIds),
    notDestinationNamedPorts: present(felix.notDstNamedPortIpSetIds),
    origin: { path },
  };
  // An absent field and one without value are the same rule: let them look the same.
  for (const name of Object.keys(rule) as (keyof Rule)[]) {
    if (rule[name] === undefined) delete rule[name];
  }
  return rule;
}

function ipVersion(version: number, place: string): { ipVersion?: 4 | 6 } {
  if (version === 0) return {};
  if (version === 4 || version === 6) return { ipVersion: version };
  throw new FelixError(`${place}.ip_version`, `${version} is no IP version`);
}

function protocol(felix: FelixProtocol | undefined, place: string): Protocol | undefined {
  if (felix === undefined) return undefined;
  const { case: kind, value } = felix.numberOrName;
  if (kind === undefined) throw new FelixError(place, "neither a number nor a name");
  const number = kind === "number" ? value : /^\d+$/.test(value) ? Number(value) : undefined;
  if (number !== undefined) return between(number, BYTE_MAX, place);
  const name = (value as string).toLowerCase();
  if (Object.hasOwn(PROTOCOL_NUMBERS, name)) return name as Protocol;
  throw new FelixError(place, `unknown protocol "${value}"`);
}

/** Both of Rule's oneofs. */
type Icmp = { case: `${string}TypeCode`; value: IcmpTypeAndCode }
  | { case: "icmpType" | "notIcmpType"; value: number } | { case: undefined; value?: undefined };

function icmp(felix: Icmp, place: string): IcmpMatch | undefined {
  if (felix.value === undefined) return undefined;
  if (typeof felix.value === "number") return { type: between(felix.value, BYTE_MAX, place) };
  const { type, code } = felix.value;
  return { type: between(type, BYTE_MAX, place), code: between(code, BYTE_MAX, place) };
}

function ports(ranges: PortRange[], place: string): (number | string)[] | undefined {
  return present(ranges.map(({ first, last }, index) => {
    const where = `${place}[${index}]`;
    between(first, PORT_MAX, where);
    between(last, PORT_MAX, where);
    if (first > last) throw new FelixError(where, `${first} to ${last} is no range`);
    return first === last ? first : `${first}-${last}`;
  }));
}

/** Prefixes, all of them well formed; absent where there are none. */
export function prefixes(texts: string[], place: string): string[] | undefined {
  texts.forEach((text, index) => checkPrefix(text, `${place}[${index}]`));
  return present(texts);
}

function present<T>(list: T[]): T[] | undefined {
  return list.length > 0 ? list : undefined;
}

function between(number: number, most: number, place: string): number {
  if (number >= 0 && number <= most) return number;
  throw new FelixError(place, `${number} is not from 0 to ${most}`);
}

/** "10.0.0.0/8", or an address alone. */
export function checkPrefix(text: string, place: string): void {
  const slash = text.indexOf("/");
  const family = isIP(slash < 0 ? text : text.slice(0, slash));
  if (family !== 0 && slash < 0) return;
  const length = text.slice(slash + 1);
  const right = family !== 0 && /^\d{1,3}$/.test(length)
    && Number(length) <= (family === 4 ? 32 : 128);
  if (!right) throw new FelixError(place, `"${text}" is neither an address nor a prefix`);
}

/** "10.0.0.1,tcp:80"; the protocol is a name or a number. */
export function checkIpPort(text: string, place: string): void {
  const comma = text.indexOf(","), colon = text.lastIndexOf(":");
  const port = text.slice(colon + 1), name = text.slice(comma + 1, colon).toLowerCase();
  const right = comma > 0 && colon > comma && isIP(text.slice(0, comma)) !== 0
    && /^\d{1,5}$/.test(port) && Number(port) <= PORT_MAX
    && (Object.hasOwn(PROTOCOL_NUMBERS, name)
      || /^\d{1,3}$/.test(name) && Number(name) <= BYTE_MAX);
  if (!right) throw new FelixError(place, `"${text}" is no "address,protocol:port"`);
}
