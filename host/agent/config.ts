// margay.yaml: what one node's agent is told. Everything is checked before anything is touched, and
// what is wrong is told by file, line and field, all of it at once.
//
//   node: node-a                      state: /var/lib/margay       manifests: [manifests]
//   vpp: { socket: api.sock }         checkpointSeconds: 10
//   interfaces:
//     - { name: web, afPacket: { host: veth-web }, pod: shop/web, mac: "02:fe:00:00:00:01" }
//     - { name: wan, memif: { socket: wan.sock, id: 0, role: slave }, uplink: eth0,
//         addresses: [192.0.2.2/24] }
//   routes: [{ prefix: 0.0.0.0/0, via: 192.0.2.1, interface: wan }]
//
// Paths are taken from the file's own folder. A pod's addresses come from the manifests, and their
// routes with them; a `neighbours` entry of `mac` alone stands for all of the pod's addresses.
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { dirname, resolve } from "node:path";
import { LineCounter, parseDocument, type Document } from "yaml";
import { z } from "zod";
import { CommandError } from "../command-error.ts";
import { parsePrefix } from "../model/address.ts";

const INTERFACE_NAME_MAX = 32;
/** Linux' IFNAMSIZ, without the NUL. */
const LINUX_NAME_MAX = 15;
const KINDS = ["afPacket", "memif", "tap", "loopback"] as const;
const OWNERS = ["pod", "uplink", "host"] as const;

const mac = z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i, "a MAC is six hex bytes: 02:…:01")
  .transform((text) => text.toLowerCase())
  .refine((text) => (parseInt(text.slice(0, 2), 16) & 1) === 0, "a multicast MAC: no interface's");
const address = z.string().refine((text) => isIP(text) !== 0, "expected an IPv4 or IPv6 address");
const prefix = z.string().refine(isPrefix, "expected a prefix, 10.0.0.0/8 or fd00::/64");
const linuxName = z.string().min(1).max(LINUX_NAME_MAX)
  .regex(/^[^\s/]+$/, "no name of an interface");
const table = z.int().min(0).max(0xffff_fffe);

const afPacket = z.strictObject({ host: linuxName });
const memif = z.strictObject({
  socket: z.string().min(1), id: z.int().min(0).max(0xffff_ffff),
  role: z.enum(["master", "slave"]).default("master"),
  mode: z.enum(["ethernet", "ip"]).default("ethernet"),
  ringSize: z.int().min(2).max(16_384).default(1_024)
    .refine((size) => (size & (size - 1)) === 0, "a ring's size is a power of two"),
});
const tap = z.strictObject({
  host: linuxName, namespace: z.string().min(1).optional(), tun: z.boolean().default(false),
});
const loopback = z.strictObject({});

const neighbour = z.strictObject({ address: address.optional(), mac });

const vppInterface = z.strictObject({
  name: z.string().min(1).max(INTERFACE_NAME_MAX).regex(/^[\w.-]+$/, "letters, digits, . _ and -"),
  afPacket: afPacket.optional(), memif: memif.optional(), tap: tap.optional(),
  loopback: loopback.optional(),
  pod: z.string().regex(/^[^/\s]+\/[^/\s]+$/, "a pod is named namespace/name").optional(),
  uplink: z.string().min(1).optional(),
  host: z.literal(true).optional(),
  mac: mac.optional(),
  mtu: z.int().min(68).max(65_535).optional(),
  addresses: z.array(prefix).default([]),
  unnumbered: z.string().optional(),
  table: table.default(0),
  neighbours: z.array(neighbour).default([]),
  peer: z.boolean().optional(),
}).superRefine((each, context) => {
  const kinds = KINDS.filter((kind) => each[kind] !== undefined);
  if (kinds.length !== 1) {
    const which = kinds.length === 0 ? "none is here" : `here are ${kinds.join(" and ")}`;
    context.addIssue({ code: "custom", message: `one of ${KINDS.join(", ")} is needed; ${which}` });
  }
  const owners = OWNERS.filter((owner) => each[owner] !== undefined);
  if (owners.length > 1) {
    context.addIssue({ code: "custom", message: `it is ${owners.join("'s and ")}'s at once` });
  }
  if (owners.length === 0 && !each.loopback) {
    context.addIssue({
      code: "custom", message: `whose is it? one of ${OWNERS.join(", ")} is needed`,
    });
  }
  if (each.peer && each.uplink === undefined) {
    const message = "only an uplink is another node's";
    context.addIssue({ code: "custom", path: ["peer"], message });
  }
  if (each.mac !== undefined && (each.memif?.mode === "ip" || each.tap?.tun)) {
    const message = "an interface without Ethernet has none";
    context.addIssue({ code: "custom", path: ["mac"], message });
  }
  each.neighbours.forEach(({ address: own }, i) => {
    if (own !== undefined || each.pod !== undefined) return;
    const path = ["neighbours", i, "address"];
    context.addIssue({ code: "custom", path, message: "needed where the interface is no pod's" });
  });
});

const route = z.strictObject({
  prefix, via: address.optional(), interface: z.string(), table: table.default(0),
}).superRefine((each, context) => {
  if (each.via === undefined || familyOf(each.via) === familyOf(each.prefix)) return;
  context.addIssue({ code: "custom", path: ["via"], message: "not of the prefix's family" });
});

const hostStack = z.strictObject({
  table: table.min(1), interface: z.string(), via: table.default(0),
});

const schema = z.strictObject({
  node: z.string().min(1),
  manifests: z.array(z.string().min(1)).min(1),
  state: z.string().min(1),
  vpp: z.strictObject({
    socket: z.string().min(1),
    /** The memory's pages, of 64 KiB; by the program's size where absent. */
    pages: z.int().min(64).max(65_536).optional(),
    hugePages: z.boolean().default(false),
    /** Those that drive frames; as many as VPP has threads where absent. */
    workers: z.int().min(1).max(64).optional(),
  }),
  sessions: z.strictObject({
    ipv4: z.int().min(1).max(1 << 24).default(65_536),
    ipv6: z.int().min(1).max(1 << 24).default(65_536),
  }).default({ ipv4: 65_536, ipv6: 65_536 }),
  checkpointSeconds: z.number().min(0.2).max(86_400).default(10),
  interfaces: z.array(vppInterface).min(1),
  routes: z.array(route).default([]),
  hostStack: z.array(hostStack).default([]),
}).superRefine((config, context) => {
  const fault = (path: (string | number)[], message: string): void => {
    context.addIssue({ code: "custom", path, message });
  };
  unique(config.interfaces.map(({ name }) => name), (i, name) =>
    fault(["interfaces", i, "name"], `"${name}" is another interface's name`));
  for (const owner of ["pod", "uplink"] as const) {
    const names = config.interfaces.map((each) => each[owner]);
    unique(names, (i, name) => fault(["interfaces", i, owner], `"${name}" has another interface`));
  }
  const known = new Map(config.interfaces.map((each) => [each.name, each]));
  config.interfaces.forEach(({ unnumbered, addresses, table: own }, i) => {
    if (unnumbered === undefined) return;
    const lender = known.get(unnumbered);
    const path = ["interfaces", i, "unnumbered"];
    if (!lender) fault(path, `there is no interface "${unnumbered}"`);
    else if (lender.addresses.length === 0) fault(path, `"${unnumbered}" has no address to lend`);
    else if (lender.table !== own) fault(path, `"${unnumbered}" is in table ${lender.table}`);
    if (addresses.length > 0) fault(path, "it has addresses of its own");
  });
  for (const list of ["routes", "hostStack"] as const) {
    config[list].forEach(({ interface: name }, i) => {
      if (!known.has(name)) fault([list, i, "interface"], `there is no interface "${name}"`);
    });
  }
  config.hostStack.forEach(({ table: own, via }, i) => {
    if (own === via) fault(["hostStack", i, "via"], "its packets would come back to it for ever");
  });
});

export type Config = z.infer<typeof schema>;
export type InterfaceConfig = Config["interfaces"][number];

/** Throws a CommandError that names the file and every field that is wrong. */
export function readConfig(file: string): Config {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new CommandError(`${file}: ${(error as Error).message}`);
  }
  const folder = dirname(resolve(file));
  const config = parseConfigText(text, file);
  const at = (path: string): string => resolve(folder, path);
  const missing = config.manifests.map(at).filter((path) => !existsSync(path));
  if (missing.length > 0) {
    const lines = missing.map((path) => `${file}: manifests: ${path}: not there`);
    throw new CommandError(lines.join("\n"));
  }
  return {
    ...config, manifests: config.manifests.map(at), state: at(config.state),
    vpp: { ...config.vpp, socket: at(config.vpp.socket) },
    interfaces: config.interfaces.map((each): InterfaceConfig => each.memif === undefined ? each
      : { ...each, memif: { ...each.memif, socket: memifSocket(each.memif.socket, at) } }),
  };
}

/** "@name" and "abstract:name" are no paths. */
function memifSocket(socket: string, at: (path: string) => string): string {
  return /^(@|abstract:)/.test(socket) ? socket : at(socket);
}

export function parseConfigText(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [error] = document.errors;
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new CommandError(`${file}:${line}:${col} ${error.message.split("\n")[0]}`);
  }
  const parsed = schema.safeParse(document.toJS() ?? {});
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.flatMap((issue) => {
    const keys = issue.code === "unrecognized_keys" ? issue.keys : [undefined];
    return keys.map((key) => {
      const path = (key === undefined ? issue.path : [...issue.path, key]) as (string | number)[];
      const message = key === undefined ? issue.message : "there is no such field";
      return `${file}:${placeOf(document, lines, path)} ${fieldText(path)}: ${message}`;
    });
  });
  throw new CommandError(faults.join("\n"));
}

/** Line and column of a field, or of the nearest that is there. */
function placeOf(document: Document, lines: LineCounter, path: (string | number)[]): string {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number] } | undefined;
    if (node?.range === undefined) continue;
    const { line, col } = lines.linePos(node.range[0]);
    return `${line}:${col}`;
  }
  return "1:1";
}

function fieldText(path: readonly (string | number)[]): string {
  const text = path.map((key, i) => typeof key === "number" ? `[${key}]` : i ? `.${key}` : key);
  return text.join("") || "the file";
}

function unique(names: (string | undefined)[], fault: (i: number, name: string) => void): void {
  const seen = new Set<string>();
  names.forEach((name, i) => {
    if (name === undefined) return;
    if (seen.has(name)) fault(i, name);
    seen.add(name);
  });
}

function isPrefix(text: string): boolean {
  try {
    parsePrefix(text);
    return true;
  } catch {
    return false;
  }
}
function familyOf(text: string): 4 | 6 {
  return text.includes(":") ? 6 : 4;
}
