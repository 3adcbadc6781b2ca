// A rule of a policy: an action and what a packet must be for it. All fields that are there must
// hold (calico.md's model, felix/proto Rule); a rule without any matches everything.
//
//   protocol ─ family ─ source ─┬─ prefixes: any         destination ─┬─ the same
//                               ├─ sets: all                          ├─ port sets: all (Services)
//                               └─ ports, named ports: any            └─ ports, named ports: any
//
// A list that bears prefixes of one family alone holds for packets of that family alone: a positive
// list as it is empty for the other; a negative list that is empty for the other family, or that
// holds 0.0.0.0/0 or ::/0, likewise takes the rule away for that family (Felix:
// FilterRuleToIPVersion).
// Source: projectcalico felix/proto Rule, felix/rules.

export type Protocol = "tcp" | "udp" | "icmp" | "icmp6" | "icmpv6" | "sctp" | "udplite" | number;

export interface IcmpMatch {
  type: number;
  /** Any when absent. */
  code?: number;
}

/** Where an author wrote a rule. */
export interface Origin {
  /** "ingress[0]", as in the object's spec; of a profile or a default, what it is. */
  path: string;
  /** "from[1]", where the author's rule became several. */
  peer?: string;
  file?: string;
  /** 1-based. */
  line?: number;
  column?: number;
}

export interface Rule {
  /** log does not decide: the rules behind it go on. */
  action: "allow" | "deny" | "pass" | "log";
  ipVersion?: 4 | 6;
  protocol?: Protocol;
  notProtocol?: Protocol;
  icmp?: IcmpMatch;
  /** Type and, where given, code both equal: no match. */
  notIcmp?: IcmpMatch;
  /** Prefixes, any of which may hold: "10.0.0.0/8", "fd00::/64". */
  source?: string[];
  notSource?: string[];
  destination?: string[];
  notDestination?: string[];
  /** Ids of sets of addresses: all must hold the address, none of the `not` ones may. */
  sourceSets?: string[];
  notSourceSets?: string[];
  destinationSets?: string[];
  notDestinationSets?: string[];
  /** Ids of ip-port sets that must all hold (address, protocol, port): Services. */
  destinationPortSets?: string[];
  /** Ports or ranges, any of which may hold: [80, "8000-8080"]. TCP, UDP and SCTP have ports. */
  sourcePorts?: (number | string)[];
  notSourcePorts?: (number | string)[];
  destinationPorts?: (number | string)[];
  notDestinationPorts?: (number | string)[];
  /** Ids of ip-port sets: an alternative to the ports of the same side. */
  sourceNamedPorts?: string[];
  notSourceNamedPorts?: string[];
  destinationNamedPorts?: string[];
  notDestinationNamedPorts?: string[];
  origin?: Origin;
}

export const PROTOCOL_NUMBERS: Record<string, number> = {
  tcp: 6, udp: 17, icmp: 1, icmp6: 58, icmpv6: 58, sctp: 132, udplite: 136,
};

export function protocolNumber(protocol: Protocol): number {
  return typeof protocol === "number" ? protocol : PROTOCOL_NUMBERS[protocol]!;
}
