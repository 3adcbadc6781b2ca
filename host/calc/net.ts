// Prefixes as Felix writes them: "10.0.0.0/8", "192.168.1.5/32", "fd00::/64", host bits zero.
import { isIPv4, isIPv6 } from "node:net";
import {
  addressBytes, addressText, isMapped, parsePrefix, type Family,
} from "../model/address.ts";

/** Of a prefix or an address alone. Throws with what is wrong. */
export function networkText(text: string): string {
  if (!text.includes("/")) return hostText(text);
  const { family, network, mask } = parsePrefix(text);
  const bytes = new Uint8Array(16);
  for (let i = 15, rest = network; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  let ones = 0;
  for (let rest = mask; rest !== 0n; rest &= rest - 1n) ones++;
  return family === 4
    ? `${addressText(bytes.subarray(12))}/${ones - 96}`
    : `${addressText(bytes)}/${ones}`;
}

/** An address's own prefix: "10.0.0.1/32". */
export function hostText(address: string): string {
  const plain = plainAddress(address);
  return plain.includes(":") ? `${plain}/128` : `${plain}/32`;
}

/** 4 or 6; 0 of what no packet bears as its address: other text, and IPv4 in IPv6's form. */
export function packetFamily(text: string): 0 | Family {
  if (isIPv4(text)) return 4;
  return isIPv6(text) && !isMapped(addressBytes(text)) ? 6 : 0;
}

/** An address in its one spelling. Throws on text that is none. */
export function plainAddress(text: string): string {
  return text.includes(":") ? addressText(addressBytes(text)) : addressBytes(text) && text;
}

/**
 * Members of a set for a network: a prefix of length 0 becomes its two halves, as Linux' sets hold
 * no such prefix (Felix: extractCIDRsFromNetworkSet).
 */
export function memberNetworks(network: string): string[] {
  if (network === "0.0.0.0/0") return ["0.0.0.0/1", "128.0.0.0/1"];
  if (network === "::/0") return ["::/1", "8000::/1"];
  return [network];
}
