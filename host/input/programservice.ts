// Services, sets, routes and settings of a program file (program.ts). What they are is said in
// host/model/program.ts, whose names the fields bear.
//
//   "services": [{ "name", "addresses", "port", "protocol", "backends", "kind"?, "localBackends"?,
//                  "whenEmpty"?, "whenLocalEmpty"?, "affinitySeconds"?, "sourceRanges"?,
//                  "addressAsSource"?, "dsr"?, "maglev"?, "maglevSlots"? }]
//   backend:    { "endpoint", "port", "weight"? } or
//               { "name", "address", "port", "weight"?, "node"? }: somewhere else
//   "sets":     [{ "id", "type", "members" }]      "routes": [{ "prefix", "uplink" }]
//   "settings": { "podNetworks"?, "snatAddresses"?, "snatPorts"? … }     "peers": ["node-2"]
//
// A Service has an address of each family that it serves; each VIP gets the backends of its family,
// an endpoint's by the endpoint's address of that family.
import { familyOf } from "../model/address.ts";
import type {
  AddressSet, Backend, Endpoint, FrontendKind, Route, Service, Settings, WhenEmpty,
} from "../model/program.ts";
import type { FieldReader, Fields } from "./fieldreader.ts";

/** What Services, settings and endpoints may name. */
export interface Named {
  endpoints: Endpoint[];
  sets: AddressSet[];
  peers: string[];
}
/** A backend, which has an address of each family or of one. */
interface Behind {
  name: string;
  addresses: string[];
  port: number;
  weight: number;
  node?: string;
}

const SERVICE_FIELDS = [
  "name", "addresses", "port", "protocol", "backends", "kind", "localBackends", "whenEmpty",
  "whenLocalEmpty", "affinitySeconds", "sourceRanges", "addressAsSource", "dsr", "maglev",
  "maglevSlots",
] as const;
const KINDS: readonly FrontendKind[] = [
  "cluster-ip", "node-port", "load-balancer", "external-ip", "host-port",
];
const EMPTY: readonly WhenEmpty[] = ["drop", "reject"];
const PROTOCOLS = ["tcp", "udp", "sctp"] as const;
const WEIGHT_MAX = 1000;
const DAY_SECONDS = 86_400;
const SLOTS_MAX = 655_373;

/** A Service for each of its addresses. */
export function readService(
  reader: FieldReader, json: unknown, path: string, named: Named,
): Service[] {
  const fields = reader.fields(json, path, SERVICE_FIELDS);
  const name = reader.text(fields["name"], `${path}.name`);
  const protocol = readProtocol(reader, fields["protocol"], `${path}.protocol`);
  const rest = protocol === 0; // what no other frontend of the address serves
  const port = rest ? reader.number(fields["port"] ?? 0, `${path}.port`, 0, 0)
    : reader.port(fields["port"], `${path}.port`);
  const addresses = reader.list(fields["addresses"], `${path}.addresses`, reader.address);
  const behind = (field: "backends" | "localBackends"): Behind[] => {
    const list = reader.list(fields[field], `${path}.${field}`, (one, at) =>
      readBackend(reader, one, at, named));
    if (rest && list.length) reader.problem(`${path}.${field}`, "protocol 0 has no backends");
    return list;
  };
  const backends = rest && fields["backends"] === undefined ? [] : behind("backends");
  const local = fields["localBackends"] === undefined ? undefined : behind("localBackends");
  const options = readOptions(reader, fields, path, named);
  return addresses.map((address): Service => ({
    name, address, port, protocol, ...options, backends: ofFamily(backends, address),
    ...local ? { localBackends: ofFamily(local, address) } : {},
  }));
}

type Options = Partial<Omit<Service, "name" | "address" | "port" | "protocol" | "backends">>;

function readOptions(
  reader: FieldReader, fields: Fields, path: string, named: Named,
): Options {
  const options: Options = {};
  reader.some(fields, path, ["kind"], (json, at) => {
    options.kind = reader.choice(json, at, KINDS);
  });
  reader.some(fields, path, ["whenEmpty", "whenLocalEmpty"], (json, at, field) => {
    options[field] = reader.choice(json, at, EMPTY);
  });
  reader.some(fields, path, ["addressAsSource", "dsr"], (json, at, field) => {
    options[field] = reader.flag(json, at);
  });
  reader.some(fields, path, ["maglev"], (json, at) => {
    options.maglev = reader.choice(json, at, ["margay", "calico"] as const);
  });
  reader.some(fields, path, ["maglevSlots"], (json, at) => {
    options.maglevSlots = reader.number(json, at, 3, SLOTS_MAX);
  });
  reader.some(fields, path, ["affinitySeconds"], (json, at) => {
    options.affinitySeconds = reader.number(json, at, 0, DAY_SECONDS);
  });
  reader.some(fields, path, ["sourceRanges"], (json, at) => {
    options.sourceRanges = setId(reader, json, at, named);
  });
  return options;
}

function readProtocol(
  reader: FieldReader, json: unknown, path: string,
): Service["protocol"] {
  if (typeof json === "number") return reader.number(json, path, 0, 255);
  return reader.choice(json, path, PROTOCOLS);
}

function readBackend(reader: FieldReader, json: unknown, path: string, named: Named): Behind {
  const isFar = typeof json === "object" && json !== null && "address" in json;
  const fields = reader.fields(json, path, isFar
    ? ["name", "address", "port", "weight", "node"] : ["endpoint", "port", "weight"]);
  const behind: Behind = { name: "", addresses: [], port: 0, weight: 1 };
  if (isFar) {
    behind.name = reader.text(fields["name"], `${path}.name`);
    behind.addresses = [reader.address(fields["address"], `${path}.address`)];
    reader.some(fields, path, ["node"], (one, at) => {
      behind.node = reader.text(one, at);
      if (!named.peers.includes(behind.node)) {
        reader.problem(at, `no peer is named "${behind.node}"`);
      }
    });
  } else {
    behind.name = reader.text(fields["endpoint"], `${path}.endpoint`);
    const endpoint = named.endpoints.find(({ name }) => name === behind.name);
    if (!endpoint) reader.problem(`${path}.endpoint`, `no endpoint is named "${behind.name}"`);
    behind.addresses = endpoint?.addresses ?? [];
  }
  behind.weight = reader.number(fields["weight"] ?? 1, `${path}.weight`, 1, WEIGHT_MAX);
  behind.port = reader.port(fields["port"], `${path}.port`);
  return behind;
}

function ofFamily(list: Behind[], address: string): Backend[] {
  return list.flatMap(({ addresses, ...rest }): Backend[] => {
    const own = addresses.find((each) => familyOf(each) === familyOf(address));
    return own === undefined ? [] : [{ ...rest, address: own }];
  });
}

// ---- Sets, routes, settings ---------------------------------------------------------------------

export function readSet(reader: FieldReader, json: unknown, path: string): AddressSet {
  const fields = reader.fields(json, path, ["id", "type", "members"]);
  const type = reader.choice(fields["type"], `${path}.type`, ["net", "ip", "ip-port"] as const);
  const member = type === "net" ? reader.prefix : type === "ip" ? reader.address : reader.text;
  return {
    id: reader.text(fields["id"], `${path}.id`), type,
    members: reader.list(fields["members"], `${path}.members`, member),
  };
}

/** The id of a set of addresses that the file has. */
export function setId(reader: FieldReader, json: unknown, path: string, named: Named): string {
  const id = reader.text(json, path);
  const set = named.sets.find((each) => each.id === id);
  if (!set) reader.problem(path, `no set has the id "${id}"`);
  else if (set.type === "ip-port") reader.problem(path, `set "${id}" holds ports, not addresses`);
  return id;
}

export function readRoute(
  reader: FieldReader, json: unknown, path: string, { endpoints }: Named,
): Route {
  const fields = reader.fields(json, path, ["prefix", "uplink"]);
  const uplink = reader.text(fields["uplink"], `${path}.uplink`);
  if (!endpoints.some(({ name, kind }) => name === uplink && kind === "uplink")) {
    reader.problem(`${path}.uplink`, `no uplink is named "${uplink}"`);
  }
  return { prefix: reader.prefix(fields["prefix"], `${path}.prefix`), uplink };
}

const SETS = [
  "podNetworks", "natSources", "natExcluded", "serviceNetworks", "vxlanHosts", "ipipHosts",
] as const;
const FLAGS = [
  "allowVxlanFromWorkloads", "allowIpipFromWorkloads", "rejectDenied", "masqueradeAll",
] as const;

export function readSettings(
  reader: FieldReader, json: unknown, path: string, named: Named,
): Settings {
  const fields = reader.fields(json, path, [
    "endpointToHost", "vxlanPort", ...FLAGS, ...SETS, "snatAddresses", "snatPorts",
  ]);
  const settings: Settings = {};
  reader.some(fields, path, ["endpointToHost"], (one, at) => {
    settings.endpointToHost = reader.choice(one, at, ["drop", "return", "accept"] as const);
  });
  reader.some(fields, path, ["vxlanPort"], (one, at) => {
    settings.vxlanPort = reader.port(one, at);
  });
  reader.some(fields, path, FLAGS, (one, at, field) => {
    settings[field] = reader.flag(one, at);
  });
  reader.some(fields, path, SETS, (one, at, field) => {
    settings[field] = setId(reader, one, at, named);
  });
  reader.some(fields, path, ["snatAddresses"], (one, at) => {
    settings.snatAddresses = readSnatAddresses(reader, one, at);
  });
  reader.some(fields, path, ["snatPorts"], (one, at) => {
    const [first, last, ...more] = reader.list(one, at, (port, where) => reader.port(port, where));
    if (first === undefined || last === undefined || more.length || first > last) {
      reader.problem(at, "expected two ports, the lower one first");
    } else {
      settings.snatPorts = [first, last];
    }
  });
  return settings;
}

/** At most one of each family. */
export function readSnatAddresses(reader: FieldReader, json: unknown, path: string): string[] {
  const addresses = reader.list(json, path, reader.address);
  addresses.forEach((address, i) => {
    if (addresses.findIndex((each) => familyOf(each) === familyOf(address)) < i) {
      reader.problem(`${path}[${i}]`, "a second address of its family");
    }
  });
  return addresses;
}
