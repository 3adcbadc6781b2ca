// IPv4 cases as IPv6 ones: 192.168.20.40 is fd00::c0a8:1428, a prefix of n bits one of 96 + n, and
// 0.0.0.0/0, which is everything, ::/0. In Felix's messages (JSON form), whole or beside IPv4.

const ADDRESS = /^(\d+)\.(\d+)\.(\d+)\.(\d+)(\/\d+)?(,.*)?$/;

/** An address, a prefix, or "address,protocol:port". */
export function v6Address(text: string): string {
  const found = ADDRESS.exec(text);
  if (!found) throw new Error(`"${text}" is no IPv4 address, prefix or ip-port`);
  const [a, b, c, d] = found.slice(1, 5).map(Number) as [number, number, number, number];
  const length = found[5] === undefined ? "" : `/${Number(found[5].slice(1)) + 96}`;
  if (length === "/96" && a + b + c + d === 0) return "::/0";
  const word = (high: number, low: number): string => ((high << 8) | low).toString(16);
  return `fd00::${word(a, b)}:${word(c, d)}${length}${found[6] ?? ""}`;
}

/** Fields that hold addresses of either family; pods' own have a field for each. */
const LISTS = new Set(["members", "added_members", "removed_members", "src_net", "dst_net",
  "not_src_net", "not_dst_net"]);

type Fields = Record<string, unknown>;

function readdress(value: unknown, turn: (list: string[]) => string[], keep4: boolean): unknown {
  if (Array.isArray(value)) return value.map((one) => readdress(one, turn, keep4));
  if (typeof value !== "object" || value === null) return value;
  const out: Fields = {};
  for (const [name, inner] of Object.entries(value)) {
    if (LISTS.has(name)) out[name] = turn(inner as string[]);
    else if (name !== "ipv4_nets") out[name] = readdress(inner, turn, keep4);
    else {
      out["ipv6_nets"] = (inner as string[]).map(v6Address);
      if (keep4) out["ipv4_nets"] = inner;
    }
  }
  return out;
}

/** A message in IPv6 alone. */
export function v6(message: object): object {
  return readdress(message, (list) => list.map(v6Address), false) as object;
}

/** A message in both families. */
export function dual(message: object): object {
  return readdress(message, (list) => [...list, ...list.map(v6Address)], true) as object;
}
