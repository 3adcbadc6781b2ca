// The one grammar of flows, for commands, tests and probes:
//
//   FROM[:PORT] -> TO[:PORT][/PROTO]          in `only`:  FROM [-> [PORT[-PORT]][/PROTO] | PROTO]
//
//   END    ns/name  ns/deploy/web  ns/svc/web  ns/*  node:NAME  10.0.0.1  10.0.0.0/8  fd00::1
//          [fd00::1]  [fd00::/64]  internet  a name that the test gave
//   PORT   a number, or the name of a container's or Service's port
//   PROTO  tcp (when absent), udp, sctp, udplite, icmp, icmp6, icmp:8/0, icmp6:128/0, a number
//
// A slash and a number behind a bare address are its prefix length; a protocol's number goes behind
// a port or a bracket ([10.0.0.1]/47). Text alone is read here; names are looked up in resolve.ts.
import { isIP } from "node:net";
import { familyOf, parsePrefix } from "../model/address.ts";
import { PROTOCOL_NUMBERS } from "../model/rule.ts";
import { didYouMean } from "../input/nearest.ts";

/** What can't be read or resolved; the message starts with the text in quotes. */
export class FlowError extends Error {
  constructor(
    readonly text: string,
    message: string,
    /** 0-based, of `text` in what was read. */
    readonly offset = 0,
  ) {
    super(`"${text}": ${message}`);
    this.name = "FlowError";
  }
}

export type EndName =
  | { kind: "name"; namespace: string; name: string }
  /** `ns/deploy/web`: kind in the API's spelling ("Deployment"), "Service" or "Pod". */
  | { kind: "object"; namespace: string; object: string; name: string }
  | { kind: "namespace"; namespace: string }
  | { kind: "node"; name: string }
  | { kind: "address"; address: string; prefix?: string }
  | { kind: "internet" }
  /** One word: an endpoint that only a test has. */
  | { kind: "word"; name: string };

export interface EndText {
  text: string;
  /** 0-based place in the flow's text. */
  offset: number;
  end: EndName;
  port?: number | string;
}

export interface ProtocolText {
  number: number;
  /** "tcp", "icmp", "47". */
  name: string;
  icmp?: { type: number; code: number };
  /** Was it written, or is it the default? */
  written: boolean;
}

export interface FlowText {
  text: string;
  from: EndText;
  to: EndText;
  protocol: ProtocolText;
}

/** An entry of `only`: who may reach the test's `to`, and where. */
export interface OnlyText {
  text: string;
  from: EndText;
  /** Any where absent; a name, or first and last. */
  ports?: string | { first: number; last: number };
  /** Any where absent. */
  protocol?: ProtocolText;
}

const KINDS: Record<string, string> = {
  pod: "Pod", po: "Pod", deploy: "Deployment", deployment: "Deployment", deployments: "Deployment",
  sts: "StatefulSet", statefulset: "StatefulSet", ds: "DaemonSet", daemonset: "DaemonSet",
  rs: "ReplicaSet", replicaset: "ReplicaSet", job: "Job", cj: "CronJob", cronjob: "CronJob",
  svc: "Service", service: "Service", services: "Service",
};
const PORT_MAX = 65_535;
const PROTOCOL = /^(?:(icmp|icmp6|icmpv6):(\d+)(?:\/(\d+))?|[a-z]+[a-z0-9]*|\d+)$/i;
const ECHO_REQUEST: Record<number, number> = { 1: 8, 58: 128 };

/** Names that a test gave to endpoints: they tell `stranger/udp` from a pod named udp. */
export type Words = { has(name: string): boolean };
const NO_WORDS: Words = { has: () => false };

export function parseFlow(text: string, words: Words = NO_WORDS): FlowText {
  const parts = text.split("->");
  if (parts.length !== 2) {
    const wrong = parts.length === 1 ? "no -> in it" : "more than one ->";
    throw new FlowError(text, `${wrong}; a flow is FROM[:PORT] -> TO[:PORT][/PROTO]`);
  }
  const [left, right] = parts as [string, string];
  const { rest, protocol } = splitProtocol(right, words, left.length + 2);
  return {
    text,
    from: parseEnd(left, 0),
    to: parseEnd(rest, left.length + 2),
    protocol: protocol ?? tcp(),
  };
}

export function parseOnly(text: string): OnlyText {
  const [left, right, more] = text.split("->") as [string, string | undefined, string | undefined];
  if (more !== undefined) throw new FlowError(text, "more than one ->");
  const from = parseEnd(left, 0);
  const where = right?.trim() ?? "";
  if (where === "") {
    if (right === undefined) return { text, from };
    throw new FlowError(text, "nothing behind ->: say PORT/PROTO there, or leave the arrow out");
  }
  const slash = where.indexOf("/");
  const whole = tryProtocol(where);
  if (whole && !/^\d+$/.test(where)) return { text, from, protocol: whole };
  const portText = slash < 0 ? where : where.slice(0, slash);
  const protocol = slash < 0 ? tcp() : parseProtocol(where.slice(slash + 1), text);
  const range = /^(\d+)-(\d+)$/.exec(portText);
  if (range) {
    const [first, last] = [parsePort(range[1]!, text), parsePort(range[2]!, text)];
    if (Number(first) > Number(last)) throw new FlowError(text, `${portText} is no range of ports`);
    return { text, from, ports: { first: Number(first), last: Number(last) }, protocol };
  }
  if (portText === "" || portText === "*") return { text, from, protocol };
  const port = parsePort(portText, text);
  const ports = typeof port === "number" ? { first: port, last: port } : port;
  return { text, from, ports, protocol };
}

/** "tcp", "icmp:8/0", "47". Throws with the names that there are. */
export function parseProtocol(written: string, context = written): ProtocolText {
  const found = tryProtocol(written);
  if (found) return found;
  const names = Object.keys(PROTOCOL_NUMBERS);
  const meant = didYouMean(written.toLowerCase(), names);
  throw new FlowError(context, `no protocol "${written}"${meant}; ` +
    `${names.join(", ")}, icmp:TYPE/CODE or a number from 0 to 255`);
}

function tryProtocol(written: string): ProtocolText | undefined {
  const match = PROTOCOL.exec(written.trim());
  if (!match) return undefined;
  const name = (match[1] ?? match[0]!).toLowerCase();
  const number = /^\d+$/.test(name) ? Number(name) : PROTOCOL_NUMBERS[name];
  if (number === undefined || number > 255) return undefined;
  const echo = ECHO_REQUEST[number];
  const type = match[2] === undefined ? echo : Number(match[2]);
  const code = Number(match[3] ?? 0);
  if (type === undefined) return { number, name, written: true };
  if (type > 255 || code > 255) return undefined;
  return { number, name, icmp: { type, code }, written: true };
}

function tcp(): ProtocolText {
  return { number: PROTOCOL_NUMBERS["tcp"]!, name: "tcp", written: false };
}

/** Takes a protocol off the end of what stands right of the arrow. */
function splitProtocol(
  text: string, words: Words, offset: number,
): { rest: string; protocol?: ProtocolText } {
  const trimmed = text.trimEnd();
  const icmp = /\/((?:icmp|icmp6|icmpv6):\d+(?:\/\d+)?)$/i.exec(trimmed);
  const last = icmp ?? /\/([^/\]]*)$/.exec(trimmed);
  if (!last) return { rest: text };
  const rest = trimmed.slice(0, last.index);
  const before = rest.trim();
  const written = last[1]!;
  if (!icmp && partOfTheEnd(before, written, words)) return { rest: text };
  const protocol = tryProtocol(written);
  if (!protocol) {
    const [, second] = before.split("/");
    const kinds = second === undefined || before.includes(":") ? "" :
      `. Nor is ${second} a kind: pod, deploy, sts, ds, rs, job, cronjob and svc are`;
    try {
      parseProtocol(written);
    } catch (error) {
      const message = (error as FlowError).message.replace(/^"[^"]*": /, "");
      throw new FlowError(text.trim(), message + kinds, offset);
    }
  }
  return { rest, protocol };
}

/** Is the last /part no protocol, but a name, a prefix length or nothing at all? */
function partOfTheEnd(before: string, written: string, words: Words): boolean {
  // What bears a port is the end's last part: 10.0.0.0/8:80, ns/deploy/web:80.
  if (written.includes(":")) return true;
  if (before.endsWith("]")) return false;
  if (isIP(before)) return /^\d+$/.test(written);
  const segments = before.split("/");
  if (segments.length === 1) {
    return !before.includes(":") && before !== "internet" && !words.has(before);
  }
  return segments.length === 2 && !before.includes(":") && segments[1]! in KINDS;
}

/** One end: `shop/db:5432`, `[fd00::1]:80`, `node:worker:22`. */
export function parseEnd(written: string, at = 0): EndText {
  const text = written.trim();
  const offset = at + (written.length - written.trimStart().length);
  const fail = (message: string): never => {
    throw new FlowError(text, message, offset);
  };
  if (text === "") {
    throw new FlowError(written, "an end is missing: say who, as in shop/web -> shop/db:5432", at);
  }
  const { name, port } = splitPort(text);
  const end = parseName(name, fail);
  if (port === undefined) return { text: name, offset, end };
  if (port === "") fail("nothing behind the colon: a port's number or name goes there");
  return { text: name, offset, end, port: parsePort(port, text, offset) };
}

function splitPort(text: string): { name: string; port?: string } {
  const bracketed = /^(\[[^\]]*\])(?::(.*))?$/.exec(text);
  if (bracketed) return { name: bracketed[1]!, port: bracketed[2] };
  // IPv6 without brackets can't have a port.
  if (isIP(text.split("/")[0]!) === 6) return { name: text };
  const from = text.startsWith("node:") ? "node:".length : 0;
  const colon = text.indexOf(":", from);
  return colon < 0 ? { name: text } : { name: text.slice(0, colon), port: text.slice(colon + 1) };
}

function parseName(name: string, fail: (message: string) => never): EndName {
  const bare = /^\[(.*)\]$/.exec(name)?.[1];
  const address = bare ?? name;
  if (isIP(address.split("/")[0]!)) return parseAddress(address, fail);
  if (bare !== undefined) fail("brackets hold an address, as in [fd00::1]:80");
  if (name === "internet") return { kind: "internet" };
  if (name.startsWith("node:")) {
    const node = name.slice("node:".length);
    return node === "" ? fail("say which node: node:NAME") : { kind: "node", name: node };
  }
  const [first, second, third, ...more] = name.split("/") as [string, string?, string?];
  if (second === undefined) return { kind: "word", name };
  if (more.length || first === "" || second === "" || third === "") {
    fail("an object is NAMESPACE/NAME or NAMESPACE/KIND/NAME");
  }
  if (third === undefined) {
    return second === "*"
      ? { kind: "namespace", namespace: first }
      : { kind: "name", namespace: first, name: second };
  }
  const object = KINDS[second.toLowerCase()];
  if (object === undefined) {
    fail(`no kind "${second}"${didYouMean(second, Object.keys(KINDS))}; ` +
      "pod, deploy, sts, ds, rs, job, cronjob or svc");
  }
  return { kind: "object", namespace: first, object: object!, name: third };
}

function parseAddress(text: string, fail: (message: string) => never): EndName {
  const [address, length] = text.split("/") as [string, string?];
  if (length === undefined) return { kind: "address", address };
  try {
    parsePrefix(text);
  } catch {
    fail(`the prefix length must be 0 to ${familyOf(address) === 4 ? 32 : 128}`);
  }
  return { kind: "address", address, prefix: text };
}

function parsePort(text: string, context: string, offset = 0): number | string {
  if (!/^\d+$/.test(text)) {
    if (/^(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i.test(text)) return text;
    throw new FlowError(context, `"${text}" is no port: a number or a port's name`, offset);
  }
  const port = Number(text);
  if (port <= PORT_MAX) return port;
  throw new FlowError(context, `port ${text}: ports are 0 to ${PORT_MAX}`, offset);
}
