// What is to be done so that VPP has what it is to have: an ordered list, in three stages. Pure.
//
//   prepare   what must not stay goes; interfaces are made, down, with the program switched on;
//             those that another endpoint's program would meet are unbound
//   (the program is pushed)
//   bind      interfaces to endpoints of the program in force
//   settle    addresses, neighbours, routes; and then the interfaces come up
//
// So no interface carries a packet before the program is there and knows whose it is, and sessions
// that come back are there before the packets that belong to them. What exists already as it is to
// be is not touched. What bears no tag of ours is never touched: a route of somebody else's at a
// prefix of ours stays, and is told as a problem.
import { isLocal0, type Observed, type ObservedInterface, type ObservedRoute } from "./observed.ts";
import { TAG, type Desired, type DesiredInterface, type DesiredRoute } from "./desired.ts";

/** An interface by the name that it has, or will have, in the configuration; or by its index. */
export type InterfaceRef = { name: string } | { index: number; name: string };

export type Operation =
  | { do: "route-remove"; route: DesiredRoute; index: number }
  | { do: "interface-down" | "interface-delete"; observed: ObservedInterface }
  | { do: "table-add" | "table-remove"; table: number; isIp6: boolean }
  | { do: "interface-create"; desired: DesiredInterface }
  | { do: "mac-set"; on: InterfaceRef; mac: string }
  | { do: "mtu-set"; on: InterfaceRef; mtu: number }
  | { do: "enable"; on: InterfaceRef }
  | { do: "unbind"; on: InterfaceRef }
  | { do: "bind"; on: InterfaceRef; endpoint: number; owner: string }
  | { do: "address-add" | "address-remove"; on: InterfaceRef; address: string }
  | { do: "lend"; on: InterfaceRef; from: string }
  | { do: "lend-end"; on: InterfaceRef; lender: number }
  | { do: "neighbour-add" | "neighbour-remove"; on: InterfaceRef; address: string; mac: string }
  | { do: "route-add"; route: DesiredRoute }
  | { do: "interface-up"; on: InterfaceRef };

export interface Difference {
  prepare: Operation[];
  bind: Operation[];
  settle: Operation[];
  problems: string[];
}

/** `isNewProgram`: no bind of before means anything (another core, or none was there). */
export function difference(desired: Desired, observed: Observed, isNewProgram = false): Difference {
  const found = new Map<string, ObservedInterface>();
  const wanted = new Set(desired.interfaces.map(({ tag }) => tag));
  const doomed: ObservedInterface[] = [];
  for (const each of observed.interfaces) {
    if (each.tag === "") continue;
    // Two under one tag: a create whose answer got lost.
    if (!wanted.has(each.tag) || found.has(each.tag)) doomed.push(each);
    else found.set(each.tag, each);
  }
  const result: Difference = { prepare: [], bind: [], settle: [], problems: [...desired.problems] };
  const routes = routeDifference(desired, observed, found);
  result.problems.push(...routes.problems);
  result.prepare.push(...routes.remove.filter(({ index }) =>
    doomed.some((each) => each.index === index)));
  for (const each of doomed) {
    if (each.endpoint !== undefined) result.prepare.push(unbind(each));
    if (each.isUp) result.prepare.push({ do: "interface-down", observed: each });
    result.prepare.push({ do: "interface-delete", observed: each });
  }
  const tables = tableDifference(desired, observed);
  result.prepare.push(...tables.add);
  for (const each of desired.interfaces) {
    interfaceDifference(each, found.get(each.tag), found, desired, isNewProgram, result);
  }
  bindLocal0(desired, observed, isNewProgram, result);
  result.settle.push(
    ...routes.remove.filter(({ index }) => !doomed.some((each) => each.index === index)),
    ...routes.add,
    ...desired.interfaces.filter(({ tag }) => !found.get(tag)?.isUp)
      .map(({ name, tag }): Operation => ({ do: "interface-up", on: refOf(name, found.get(tag)) })),
    ...tables.remove,
  );
  return result;
}

function refOf(name: string, observed: ObservedInterface | undefined): InterfaceRef {
  return observed ? { index: observed.index, name } : { name };
}

function unbind(each: ObservedInterface): Operation {
  return { do: "unbind", on: { index: each.index, name: each.vppName } };
}

function interfaceDifference(
  each: DesiredInterface, observed: ObservedInterface | undefined,
  found: ReadonlyMap<string, ObservedInterface>, desired: Desired, isNewProgram: boolean,
  { prepare, bind, settle }: Difference,
): void {
  const on = refOf(each.name, observed);
  if (!observed) prepare.push({ do: "interface-create", desired: each });
  if (each.mac !== undefined && observed && observed.mac !== each.mac) {
    prepare.push({ do: "mac-set", on, mac: each.mac });
  }
  if (each.mtu !== undefined && observed?.mtu !== each.mtu) {
    prepare.push({ do: "mtu-set", on, mtu: each.mtu });
  }
  if (!observed?.enabled) prepare.push({ do: "enable", on });
  const isBound = observed !== undefined && !isNewProgram &&
    observed.endpoint === each.endpoint;
  if (!isBound) {
    if (observed?.endpoint !== undefined && !isNewProgram) prepare.push({ do: "unbind", on });
    if (each.endpoint !== undefined) {
      bind.push({ do: "bind", on, endpoint: each.endpoint, owner: each.owner });
    }
  }
  const has = observed?.addresses ?? [];
  for (const address of has.filter((one) => !each.addresses.includes(one))) {
    settle.push({ do: "address-remove", on, address });
  }
  const lender = observed?.unnumbered;
  const wanted = each.unnumbered === undefined ? undefined
    : desired.interfaces.find(({ name }) => name === each.unnumbered);
  const wantedIndex = wanted && found.get(wanted.tag)?.index;
  if (lender !== undefined && (wanted === undefined || lender !== wantedIndex)) {
    settle.push({ do: "lend-end", on, lender });
  }
  for (const address of each.addresses.filter((one) => !has.includes(one))) {
    settle.push({ do: "address-add", on, address });
  }
  if (wanted && (lender === undefined || lender !== wantedIndex)) {
    settle.push({ do: "lend", on, from: wanted.name });
  }
  const known = new Map(observed?.neighbours.map(({ address, mac }) => [address, mac]));
  const wantedNeighbours = new Map(each.neighbours.map(({ address, mac }) => [address, mac]));
  for (const [address, mac] of known) {
    if (!wantedNeighbours.has(address)) settle.push({ do: "neighbour-remove", on, address, mac });
  }
  for (const [address, mac] of wantedNeighbours) {
    if (known.get(address) !== mac) settle.push({ do: "neighbour-add", on, address, mac });
  }
}

/** The node itself. */
function bindLocal0(
  { host }: Desired, { interfaces }: Observed, isNewProgram: boolean, { bind }: Difference,
): void {
  const local0 = interfaces.find(isLocal0);
  if (host === undefined || !local0 || (local0.endpoint === host && !isNewProgram)) return;
  const on = { index: local0.index, name: local0.vppName };
  bind.push({ do: "bind", on, endpoint: host, owner: "the host itself" });
}

function tableDifference(
  { tables }: Desired, observed: Observed,
): { add: Operation[]; remove: Operation[] } {
  const add: Operation[] = [], remove: Operation[] = [];
  for (const table of tables) {
    for (const isIp6 of [false, true]) {
      if (observed.tables.some((each) => each.id === table && each.isIp6 === isIp6)) continue;
      add.push({ do: "table-add", table, isIp6 });
    }
  }
  for (const { id, isIp6, name } of observed.tables) {
    if (!name.startsWith(TAG) || tables.includes(id)) continue;
    remove.push({ do: "table-remove", table: id, isIp6 });
  }
  return { add, remove };
}

type RouteRemoval = Extract<Operation, { do: "route-remove" }>;

function routeDifference(
  desired: Desired, observed: Observed, found: ReadonlyMap<string, ObservedInterface>,
): { add: Operation[]; remove: RouteRemoval[]; problems: string[] } {
  const ours = new Map(observed.interfaces.filter(({ tag }) => tag !== "")
    .map((each) => [each.index, each]));
  const indexOf = new Map(desired.interfaces.map(({ name, tag }) => [name, found.get(tag)?.index]));
  const wanted = new Map(desired.routes.map((route) => [`${route.table} ${route.prefix}`, route]));
  const there = new Map(observed.routes.map((route) => [`${route.table} ${route.prefix}`, route]));
  const add: Operation[] = [], remove: RouteRemoval[] = [], problems: string[] = [];
  for (const [key, { table, prefix, paths }] of there) {
    // Some other path is in it: somebody else's.
    if (paths.length === 0 || !paths.every((path) => path.isPlain && ours.has(path.interface))) {
      continue;
    }
    const route = wanted.get(key);
    // One that changes is replaced as a whole by the one that is added.
    if (route) continue;
    for (const { via, interface: index } of paths) {
      const name = ours.get(index)!.vppName;
      remove.push({ do: "route-remove", route: { table, prefix, via, interface: name }, index });
    }
  }
  for (const [key, route] of wanted) {
    const other = there.get(key);
    if (other && isForeign(other, ours)) {
      problems.push(`route ${route.prefix} in table ${route.table}: somebody else has one; ` +
        "it stays as it is");
    } else if (!other || !isSame(other, route, indexOf)) add.push({ do: "route-add", route });
  }
  return { add, remove, problems };
}

function isForeign(
  { paths }: ObservedRoute, ours: ReadonlyMap<number, ObservedInterface>,
): boolean {
  return paths.some((path) => !path.isPlain || !ours.has(path.interface));
}

function isSame(
  { paths }: ObservedRoute, route: DesiredRoute,
  indexOf: ReadonlyMap<string, number | undefined>,
): boolean {
  const [path, ...more] = paths;
  return path !== undefined && more.length === 0 && path.via === route.via &&
    path.interface === indexOf.get(route.interface);
}
