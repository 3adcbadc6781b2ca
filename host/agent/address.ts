// Texts of addresses and prefixes that are equal where the addresses are: VPP, manifests and people
// write them in many ways.
import { addressBytes, addressText, familyOf, parsePrefix } from "../model/address.ts";

/** The address as it is printed, with its prefix length where it has one. */
export function plainAddress(text: string): string {
  const [address, length] = text.split("/") as [string, string | undefined];
  const plain = familyOf(address) === 4 ? address : addressText(addressBytes(address));
  return length === undefined ? plain : `${plain}/${Number(length)}`;
}

/** The prefix with no bits behind its length; an address alone is a prefix of full length. */
export function canonicalPrefix(text: string): string {
  const { family, network } = parsePrefix(text);
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 16; i++) bytes[i] = Number((network >> BigInt((15 - i) * 8)) & 0xffn);
  const length = text.includes("/") ? Number(text.split("/")[1]) : family === 4 ? 32 : 128;
  return `${addressText(family === 4 ? bytes.subarray(12) : bytes)}/${length}`;
}
