// What a run of sequences has met, and whether that is enough: shares of packets by verdict, by
// reason and by what a packet showed of sessions, Services, NAT, fragments and ICMP errors.
import type { Outcome } from "../reference/conntrack.ts";

/** The least share of packets, of each reason and feature that one packet can meet. */
export const LEAST = 0.005;
export const LEAST_PASSED = 0.3;

export const REASONS = [
  "Established", "Allowed", "Related", "Fragment", "Forwarded", "Untracked",
  "NeighbourDiscovery", "UnknownEndpoint", "SpoofedSource", "PolicyDenied", "HeadersTooLong",
  "Truncated", "BadVersion", "BadHeaderLength", "BadTotalLength", "BadChecksum", "TimeExpired",
  "LaterFragment", "TinyFragment", "ExtensionHeader", "RoutingHeader", "BadTcpFlags", "NoBackend",
  "NoSession", "TupleCollision", "EndpointMismatch", "MappedAddress", "EndpointInactive",
  "UnknownServicePort", "UnknownServiceAddress", "SourceRange", "NatPortsExhausted",
  "NoNatAddress", "SctpFragment",
];
export const FEATURES = [
  "mid-flow", "closed", "reopened", "simultaneous open", "restored plain",
  "restored with a backend",
  "rewritten tcp", "rewritten udp", "rewritten sctp", "rewritten icmp", "rewritten other",
  "rewritten partial", "rewritten udp without checksum", "rewritten IPv4", "rewritten IPv6",
  "rewritten forward", "rewritten return",
  "service cluster-ip", "service node-port", "service load-balancer", "service external-ip",
  "service host-port", "service Local", "service calico", "service affinity",
  "backend kept", "backend previous", "backend local-slot",
  "masqueraded to a service", "hairpin", "natOutgoing", "another port", "another port for DNAT",
  "answer reset", "answer unreachable IPv4", "answer unreachable IPv6",
  "first fragment", "later fragment", "later fragment rewritten",
  "related forward", "related return", "related rewritten forward", "related rewritten return",
];

export class Histogram {
  packets = 0;
  private readonly counts = new Map<string, number>();

  add({ verdict, reason, features }: Outcome): void {
    this.packets++;
    for (const name of new Set([verdict, reason, ...features])) {
      this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    }
  }
  private of(name: string): number {
    return this.counts.get(name) ?? 0;
  }
  lines(): string[] {
    const line = (name: string): string => {
      const share = (100 * this.of(name)) / this.packets;
      return `${share.toFixed(2).padStart(6)} %  ${name}`;
    };
    return [`${this.packets} packets`, ...["pass", "reply", ...REASONS, ...FEATURES].map(line)];
  }
  /** What came about too seldom. */
  /**
   * What is below its floor by more than chance makes it: of n packets, the share's count varies by
   * its square root, and three of those are let go. A long run is hardly let off anything.
   */
  missing(): string[] {
    const expected = LEAST * this.packets;
    const floor = expected - 3 * Math.sqrt(expected);
    const seldom = [...REASONS, ...FEATURES].filter((name) => this.of(name) < floor);
    return this.of("pass") < LEAST_PASSED * this.packets ? ["pass", ...seldom] : seldom;
  }
}
