// The types that people write as text: addresses, prefixes, MACs.
//
//   mac_address   "02:fe:00:00:00:01"          address   "10.0.0.1" or "fd00::1"
//   ip4_address   "10.0.0.1"                   prefix    "10.0.0.0/24" or "fd00::/64"
//   ip6_address   "fd00::1"                    ip4_prefix, ip6_prefix
//
// They wrap the codec of the definition, which goes on to take its own form (bytes, or fields); a
// type of such a name but another size is left as it is defined.
// An address is its family (0 or 1) and sixteen bytes, an IPv4 address in the first four.

import type { Reader, Writer } from "./bytes.ts";
import {
  formatIp4, formatIp6, formatMac, parseIp4, parseIp6, parseMac, splitPrefix,
} from "./address.ts";
import { isIPv4 } from "node:net";
import type { Codec } from "./scalars.ts";

interface Text {
  size: number;
  parse(text: string): Uint8Array;
  /** undefined: these bytes have no text. */
  format(bytes: Uint8Array): string | undefined;
}

const ADDRESS_BYTES = 17;

const address: Text = {
  size: ADDRESS_BYTES,
  parse(text) {
    const bytes = new Uint8Array(ADDRESS_BYTES);
    const isV4 = isIPv4(text);
    bytes[0] = isV4 ? 0 : 1;
    bytes.set(isV4 ? parseIp4(text) : parseIp6(text), 1);
    return bytes;
  },
  format(bytes) {
    if (bytes[0] === 0) return formatIp4(bytes.subarray(1, 5));
    return bytes[0] === 1 ? formatIp6(bytes.subarray(1)) : undefined;
  },
};

/** An address and a byte for its length. */
function prefix(of: Text, bits: (text: string) => number): Text {
  return {
    size: of.size + 1,
    parse(text) {
      const [part, length] = splitPrefix(text, bits(text));
      return Uint8Array.from([...of.parse(part), length]);
    },
    format(bytes) {
      const text = of.format(bytes.subarray(0, of.size));
      const length = bytes[of.size]!;
      return text === undefined || length > bits(text) ? undefined : `${text}/${length}`;
    },
  };
}

const ip4: Text = { size: 4, parse: parseIp4, format: formatIp4 };
const ip6: Text = { size: 16, parse: parseIp6, format: formatIp6 };

const TEXTS: Record<string, Text> = {
  mac_address: { size: 6, parse: parseMac, format: formatMac },
  ip4_address: ip4,
  ip6_address: ip6,
  address,
  prefix: prefix(address, (text) => (text.includes(":") ? 128 : 32)),
  ip4_prefix: prefix(ip4, () => 32),
  ip6_prefix: prefix(ip6, () => 128),
};

/** Names of the types that are text, for the declarations. */
export const isText = (type: string): boolean => type in TEXTS;

export function naturalCodec(type: string, defined: Codec): Codec {
  const text = TEXTS[type];
  if (!text || text.size !== defined.size) return defined;
  return {
    size: defined.size,
    write(to: Writer, value: unknown) {
      if (typeof value === "string") to.put(text.parse(value));
      else defined.write(to, value);
    },
    read(from: Reader) {
      const at = from.take(text.size);
      const shown = text.format(from.buffer.subarray(at, at + text.size));
      if (shown !== undefined) return shown;
      from.at = at;
      return defined.read(from);
    },
  };
}
