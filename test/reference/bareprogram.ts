// Bare policy programs (Felix's rules as JSON), judged slowly and plainly: the twin of
// `margay verdict --programs`. Written from felix/proto Rule and calico.md 2.2, 2.3; imports
// nothing of host/.

export interface BareRule {
  action: string;
  ip_version?: "IPV4" | "IPV6";
  protocol?: { name?: string; number?: number };
  not_protocol?: { name?: string; number?: number };
  icmp_type?: number;
  icmp_type_code?: { type: number; code: number };
  not_icmp_type?: number;
  not_icmp_type_code?: { type: number; code: number };
  [lists: `${string}_net` | `${string}_ids`]: string[] | undefined;
  [ranges: `${string}_ports`]: { first: number; last: number }[] | undefined;
}
export interface BarePolicy { name: string; rules: BareRule[] }
export interface BarePacket {
  id: number;
  protocol: number;
  src_ip: string;
  src_port: number;
  dst_ip: string;
  dst_port: number;
  icmp_type?: number;
  icmp_code?: number;
}
export interface BareProgram {
  id: string;
  ip_version: 4 | 6;
  rules: {
    tiers: { name: string; end_action: "pass" | "deny"; policies: BarePolicy[] }[];
    profiles: BarePolicy[];
  };
  ipsets: Record<string, string[]>;
  packets: BarePacket[];
}
export interface BareAnswer {
  verdict: "allow" | "deny";
  tier?: string;
  policy?: string;
  rule?: number;
}

const NUMBERS: Record<string, number> = {
  tcp: 6, udp: 17, icmp: 1, icmpv6: 58, sctp: 132, udplite: 136,
};
const PORTS = new Set([6, 17, 132, 136]);
const familyOf = (address: string): 4 | 6 => address.includes(":") ? 6 : 4;

function numberOf(address: string): bigint {
  if (familyOf(address) === 4) {
    return address.split(".").reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  }
  const [head, tail] = address.split("::") as [string, string | undefined];
  const words = (text = ""): string[] => text === "" ? [] : text.split(":");
  const before = words(head), after = words(tail);
  const zeros = new Array<string>(8 - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].reduce((sum, word) =>
    sum * 65_536n + BigInt(`0x${word}`), 0n);
}

function within(net: string, address: string): boolean {
  const [network, length] = net.split("/") as [string, string | undefined];
  if (familyOf(network) !== familyOf(address)) return false;
  const bits = familyOf(network) === 4 ? 32 : 128;
  const shift = BigInt(bits - (length === undefined ? bits : Number(length)));
  return numberOf(network) >> shift === numberOf(address) >> shift;
}

const protocolOf = ({ name, number }: { name?: string; number?: number }): number =>
  number ?? NUMBERS[name!.toLowerCase()]!;

function matches(rule: BareRule, packet: BarePacket, sets: Record<string, string[]>): boolean {
  const family = familyOf(packet.src_ip), { protocol } = packet;
  if (rule.ip_version && rule.ip_version !== `IPV${family}`) return false;
  if (rule.protocol && protocolOf(rule.protocol) !== protocol) return false;
  if (rule.not_protocol && protocolOf(rule.not_protocol) === protocol) return false;
  for (const side of ["src", "dst"] as const) {
    if (!sideMatches(rule, packet, side, family, sets)) return false;
  }
  const services = rule["dst_ip_port_set_ids"] ?? [];
  if (!services.every((id) => holdsPort(sets[id]!, packet, "dst"))) return false;
  const isIcmp = protocol === (family === 4 ? 1 : 58);
  const same = (type: number, code?: number): boolean => isIcmp && packet.icmp_type === type &&
    (code === undefined || packet.icmp_code === code);
  const { icmp_type: type, icmp_type_code: both } = rule;
  const { not_icmp_type: notType, not_icmp_type_code: notBoth } = rule;
  if (type !== undefined && !same(type)) return false;
  if (both && !same(both.type, both.code)) return false;
  if (notType !== undefined && same(notType)) return false;
  return !(notBoth && same(notBoth.type, notBoth.code));
}

function sideMatches(
  rule: BareRule, packet: BarePacket, side: "src" | "dst", family: 4 | 6,
  sets: Record<string, string[]>,
): boolean {
  const address = packet[`${side}_ip`], port = packet[`${side}_port`];
  for (const negated of [false, true]) {
    const not = negated ? "not_" : "" as const;
    const nets = rule[`${not}${side}_net`];
    if (nets) {
      const own = nets.filter((net) => familyOf(net) === family);
      if (own.length === 0 || (negated && own.some((net) => net.endsWith("/0")))) return false;
      if (own.some((net) => within(net, address)) === negated) return false;
    }
    for (const id of rule[`${not}${side}_ip_set_ids`] ?? []) {
      if (sets[id]!.some((net) => within(net, address)) === negated) return false;
    }
    const ranges = rule[`${not}${side}_ports`];
    const named = rule[`${not}${side}_named_port_ip_set_ids`];
    if (!ranges && !named) continue;
    const hit = PORTS.has(packet.protocol) && (
      (ranges ?? []).some(({ first, last }) => port >= first && port <= last) ||
      (named ?? []).some((id) => holdsPort(sets[id]!, packet, side)));
    if (hit === negated) return false;
  }
  return true;
}

function holdsPort(members: string[], packet: BarePacket, side: "src" | "dst"): boolean {
  const { protocol } = packet;
  return PORTS.has(protocol) && members.some((member) => {
    const [address, rest] = member.split(",") as [string, string];
    const [name, port] = rest.split(":") as [string, string];
    return numberOf(address) === numberOf(packet[`${side}_ip`]) &&
      (NUMBERS[name] ?? Number(name)) === protocol && Number(port) === packet[`${side}_port`];
  });
}

/** The first rule that decides in a policy: its index and what it says. */
function decides(
  policies: BarePolicy[], packet: BarePacket, sets: Record<string, string[]>,
): { action: string; policy: string; rule: number } | undefined {
  for (const { name, rules } of policies) {
    for (const [i, rule] of rules.entries()) {
      if (rule.action === "log" || !matches(rule, packet, sets)) continue;
      return { action: rule.action, policy: name, rule: i };
    }
  }
  return undefined;
}

export function judgeBare({ rules, ipsets }: BareProgram, packet: BarePacket): BareAnswer {
  for (const { name: tier, end_action: end, policies } of rules.tiers) {
    if (policies.length === 0) continue;
    const found = decides(policies, packet, ipsets);
    if (!found && end === "deny") return { verdict: "deny", tier };
    if (!found || found.action === "pass" || found.action === "next-tier") continue;
    const { action, policy, rule } = found;
    return { verdict: action === "deny" ? "deny" : "allow", tier, policy, rule };
  }
  const found = decides(rules.profiles, packet, ipsets);
  if (!found) return { verdict: "deny" };
  const { action, policy, rule } = found;
  return { verdict: action === "allow" || action === "" ? "allow" : "deny", policy, rule };
}
