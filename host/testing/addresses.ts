// Classes of addresses: the space of a family, cut at the boundaries of prefixes. Addresses in the
// same prefixes (of rules, and of sets that rules name) are alike to all of them; one of each class
// stands for it.
//
//   203.0.113.0/24  ─┐                      {}  {A}      {A, B}  {A}                 {}
//   203.0.113.64/26 ─┴─►  … 203.0.113.0│ .0 – .63 │ .64 – .127 │ .128 – .255 │ 203.0.114.0 …
//
// Prefixes nest or are apart, so a sweep with a stack finds every piece in O(n log n). Pieces that
// no packet comes from (0/8, loopback, multicast, …) and addresses that the cluster's own ends have
// are left out.
// Source: RFC 6890 (special purpose addresses), RFC 1918, RFC 4193.
import {
  addressBytes, addressNumber, addressText, familyOf, isMapped, parsePrefix, type Family,
} from "../model/address.ts";

/** A prefix, and what it means: equal labels are one thing (the prefixes of one set). */
export interface LabelledPrefix {
  prefix: string;
  label: string;
}

export interface AddressClass {
  family: Family;
  /** The address that stands for it. */
  address: string;
  labels: readonly string[];
  /** The innermost prefix around it, absent where there is none: "203.0.113.0/24". */
  within?: string;
  /** Neither private nor in any pool: what `internet` means. */
  isPublic: boolean;
  /** Where packets are usually from; IPv6's global unicast addresses are a part of all. */
  isUsual: boolean;
}

/** Nothing comes from there. */
const UNUSABLE = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "ff00::/8",
  "fe80::/10"];
/** Not the internet. */
export const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
  "169.254.0.0/16", "fc00::/7"];
const GLOBAL = "2000::/3";
const UNUSABLE_LABEL = "!";
export const PRIVATE_LABEL = "private";

interface Piece {
  first: bigint;
  last: bigint;
  label: string;
  text: string;
}

/** What holds at some depth of the stack. */
interface Frame {
  last: bigint;
  labels: readonly string[];
  key: string;
  within?: string;
  unusable: boolean;
}

/**
 * The classes of a family. `own` are addresses that something in the cluster has; `local` prefixes
 * (pools, Service ranges) that are not the internet either.
 */
export function addressClasses(
  family: Family, prefixes: Iterable<LabelledPrefix>, own: Iterable<string>,
  local: Iterable<string> = [],
): AddressClass[] {
  const pieces = [...labelled(family, prefixes), ...piece(family, GLOBAL, "")];
  for (const prefix of UNUSABLE) pieces.push(...piece(family, prefix, UNUSABLE_LABEL));
  for (const prefix of [...PRIVATE, ...local]) pieces.push(...piece(family, prefix, PRIVATE_LABEL));
  for (const address of own) pieces.push(...piece(family, address, UNUSABLE_LABEL));
  return sweep(family, pieces);
}

function* labelled(family: Family, prefixes: Iterable<LabelledPrefix>): Generator<Piece> {
  for (const { prefix, label } of prefixes) yield* piece(family, prefix, label);
}

function piece(family: Family, text: string, label: string): Piece[] {
  const prefix = parsePrefix(text);
  // ::ffff:0:0/96 is IPv6's here, where IPv4 lies among all addresses.
  if (prefix.family !== family) return [];
  const size = (1n << 128n) - 1n - prefix.mask;
  return [{ first: prefix.network, last: prefix.network | size, label, text }];
}

function sweep(family: Family, pieces: Piece[]): AddressClass[] {
  pieces.sort((a, b) => a.first < b.first ? -1 : a.first > b.first ? 1
    : a.last > b.last ? -1 : a.last < b.last ? 1 : 0);
  const whole = parsePrefix(family === 4 ? "0.0.0.0/0" : "::/0");
  const end = whole.network | ((1n << 128n) - 1n - whole.mask);
  const stack: Frame[] = [{ last: end, labels: [], key: "", unusable: false }];
  const classes = new Map<string, AddressClass>();
  let at = whole.network;
  const upTo = (limit: bigint): void => {
    const top = stack.at(-1)!;
    if (limit < at) return;
    const known = classes.get(top.key);
    if (!top.unusable && (known === undefined || !known.isUsual)) {
      const found = classOf(family, at, limit, top);
      if (known === undefined || found.isUsual) classes.set(top.key, found);
    }
    at = limit + 1n;
  };
  for (const each of pieces) {
    while (stack.at(-1)!.last < each.first) {
      upTo(stack.at(-1)!.last);
      stack.pop();
    }
    upTo(each.first - 1n);
    stack.push(frame(stack.at(-1)!, each));
  }
  while (stack.length > 0) {
    upTo(stack.at(-1)!.last);
    stack.pop();
  }
  return [...classes.values()];
}

function frame(around: Frame, { last, label, text }: Piece): Frame {
  const unusable = around.unusable || label === UNUSABLE_LABEL;
  const within = label === PRIVATE_LABEL || label === "" ? around.within : text;
  if (label === "" || around.labels.includes(label)) {
    return { last, labels: around.labels, key: around.key, within, unusable };
  }
  const labels = [...around.labels, label].sort();
  return { last, labels, key: labels.join("\n"), within, unusable };
}

function classOf(
  family: Family, first: bigint, last: bigint, { labels, within }: Frame,
): AddressClass {
  // A network's own address is a strange one to send from.
  const number = last > first ? first + 1n : first;
  const isPublic = !labels.includes(PRIVATE_LABEL);
  const address = addressOf(number);
  const isUsual = family === 4 || !isPublic || prefixHolds(GLOBAL, address);
  const found: AddressClass = { family, address, labels, isPublic, isUsual };
  if (within !== undefined) found.within = within;
  return found;
}

function addressOf(number: bigint): string {
  const bytes = new Uint8Array(16);
  for (let i = 15, rest = number; i >= 0; i--, rest >>= 8n) bytes[i] = Number(rest & 0xffn);
  return addressText(isMapped(bytes) ? bytes.slice(12) : bytes);
}

/** Does a prefix ("10.0.0.0/8", or an address) hold an address? */
export function prefixHolds(prefix: string, address: string): boolean {
  const { family, network, mask } = parsePrefix(prefix);
  if (family !== familyOf(address)) return false;
  return (addressNumber(addressBytes(address)) & mask) === network;
}
