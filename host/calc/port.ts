// Ports and protocols as authors write them, and as rules hold them.
// Source: projectcalico api/pkg/lib/numorstring; networking.k8s.io/v1 NetworkPolicyPort.
import { PROTOCOL_NUMBERS, type Protocol } from "../model/rule.ts";

const PORT_MAX = 65_535;
const NAME = /^[a-zA-Z0-9_.-]{1,128}$/;

/** Numbers from first to last, or a name that containers give to a port. */
export type PortMatch = { first: number; last: number; name?: undefined } | { name: string };

/** 80, "80", "8000:8080", "http". Throws with what is wrong. */
export function parsePort(value: unknown, separator = ":"): PortMatch {
  if (typeof value === "number") return portRange(value, value);
  if (typeof value !== "string") throw new Error(`${JSON.stringify(value)} is no port`);
  if (/^\d+$/.test(value)) return portRange(Number(value), Number(value));
  const [first, last, ...rest] = value.split(separator);
  if (rest.length === 0 && /^\d+$/.test(first!) && /^\d+$/.test(last ?? "")) {
    return portRange(Number(first), Number(last));
  }
  if (!NAME.test(value)) throw new Error(`"${value}" is no port, no range and no port's name`);
  return { name: value };
}

export function portRange(first: number, last: number): PortMatch {
  for (const port of [first, last]) {
    if (!Number.isInteger(port) || port < 0 || port > PORT_MAX) {
      throw new Error(`${port} is no port: 0 to ${PORT_MAX}`);
    }
  }
  if (first > last) throw new Error(`ports ${first} to ${last}: the first is above the last`);
  return { first, last };
}

/** As few ranges as cover the same numbers, behind the names; one number stays where it is. */
export function simplifyPorts(ports: PortMatch[]): PortMatch[] {
  const numbers = ports.filter((port) => port.name === undefined);
  const names = ports.filter((port) => port.name !== undefined);
  if (numbers.length <= 1 && numbers.every(({ first, last }) => first === last)) return ports;
  const merged: { first: number; last: number }[] = [];
  for (const { first, last } of numbers.sort((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else merged.push({ first, last });
  }
  return [...names, ...merged];
}

/** As a rule holds it: 80 or "8000-8080". */
export function portText({ first, last }: { first: number; last: number }): number | string {
  return first === last ? first : `${first}-${last}`;
}

/** "TCP", "icmpv6", 132, "47" → as rules hold it. Throws where it is none. */
export function parseProtocol(value: unknown): Protocol {
  const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
  if (typeof number === "number") {
    if (!Number.isInteger(number) || number < 0 || number > 255) {
      throw new Error(`${number} is no protocol: 0 to 255`);
    }
    return number;
  }
  const name = String(value).toLowerCase();
  if (!(name in PROTOCOL_NUMBERS)) {
    throw new Error(
      `"${String(value)}" is no protocol; TCP, UDP, SCTP, ICMP, ICMPv6, UDPLite or a number`,
    );
  }
  return name as Protocol;
}

/** What a named port is looked up by: another protocol counts as TCP, none as any. */
export type PortProtocol = "tcp" | "udp" | "sctp" | "any";

export function portProtocol(protocol: Protocol | undefined): PortProtocol {
  switch (protocol) {
    case undefined: return "any";
    case "udp": case 17: return "udp";
    case "sctp": case 132: return "sctp";
    default: return "tcp";
  }
}

/** A number that packets bear as a port; undefined of any other value. */
export function packetPort(value: unknown): number | undefined {
  const isPort = Number.isInteger(value) && value as number >= 1 && value as number <= PORT_MAX;
  return isPort ? value as number : undefined;
}

/** Of a Kubernetes port, TCP where it says nothing. */
export function kubernetesProtocol(value: unknown): PortProtocol {
  const name = String(value).toLowerCase();
  return name === "udp" || name === "sctp" ? name : "tcp";
}
