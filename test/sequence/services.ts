// Random Services of a node, of all kinds: a few names, each with one to three frontends that share
// their backends, as a cluster's have.
import type { Backend, FrontendKind, Service } from "../../host/model/program.ts";
import type { Random } from "../policy/random.ts";

export const PORTS = [80, 443, 5353];
const TARGETS = [8080, 8081];
export const VIPS = {
  4: ["10.96.0.1", "10.96.0.2", "10.96.0.3"], 6: ["fd00:96::1", "fd00:96::2", "fd00:96::3"],
};
export const OUTSIDE_VIPS = {
  4: ["198.51.100.50", "198.51.100.60"], 6: ["2001:db8:5::50", "2001:db8:5::60"],
};
export const NODES = { 4: "192.0.2.1", 6: "2001:db8::1" };
/** In a Service's network, and nobody's. */
export const UNSERVED = { 4: "10.96.0.99", 6: "fd00:96::99" };
/** Remote pods, of the node that DSR passes packets on to. */
export const REMOTE_PODS = { 4: ["10.65.1.1", "10.65.1.2"], 6: ["fd00:65:1::1", "fd00:65:1::2"] };
export const PEER = "node-2";
const NODE_PORTS = [30080, 30443, 30053];
const SLOTS = [7, 13, 31, 61];

/** Addresses of pods that may be backends, by family. */
export type Pods = Record<4 | 6, string[]>;

export function randomServices(random: Random, pods: Pods): Service[] {
  const all = new Map<string, Service>();
  for (let n = random.between(5, 8); n > 0; n--) {
    for (const each of randomService(random.fork(), n, pods)) {
      const key = `${each.address} ${each.port} ${each.protocol}`;
      if (!all.has(key)) all.set(key, each);
    }
  }
  for (const address of [...VIPS[4], ...VIPS[6]]) {
    if (!random.chance(0.65)) continue;
    all.set(`${address} *`, {
      name: `rest of ${address}`, address, port: 0, protocol: 0, backends: [], whenEmpty: "reject",
    });
  }
  return [...all.values()];
}

function randomService(random: Random, n: number, pods: Pods): Service[] {
  const family = random.chance(0.6) ? 4 : 6;
  const protocol = random.pick([6, 6, 6, 17, 17, 132]);
  const port = random.pick(PORTS);
  const direct = n === 1 || random.chance(0.25);
  const base = {
    name: `shop/svc-${n}`, protocol, backends: randomBackends(random, family, pods, direct),
    whenEmpty: random.chance(0.75) ? "reject" as const : "drop" as const,
    ...(random.chance(0.22) ? { affinitySeconds: random.pick([1, 60, 10_800]) } : {}),
    ...(random.chance(0.2)
      ? { maglev: "calico" as const, ...(random.chance(0.5) ? { maglevSlots: 31 } : {}) }
      : random.chance(0.9) ? { maglevSlots: random.pick(SLOTS) } : {}),
  };
  const services: Service[] = [];
  if (random.chance(0.8) && !direct) {
    services.push({ ...base, address: random.pick(VIPS[family]), port });
  }
  const outside = random.some(direct ? KINDS.slice(0, 3) : KINDS, services.length ? 0 : 1, 2);
  const local = random.chance(direct ? 0.1 : 0.45) ? {
    localBackends: base.backends.filter((each) => each.node === undefined && random.chance(0.7)),
    whenLocalEmpty: random.chance(0.5) ? "reject" as const : "drop" as const,
  } : {};
  const dsr = direct ? { dsr: true } : {};
  for (const kind of outside) {
    const address = kind === "node-port" || kind === "host-port" ? NODES[family]
      : random.pick(OUTSIDE_VIPS[family]);
    services.push({
      ...base, kind, address, port: kind === "node-port" ? random.pick(NODE_PORTS) : port,
      ...(kind === "host-port" ? {} : { ...local, ...dsr }),
      ...(kind === "load-balancer" && random.chance(0.5)
        ? { sourceRanges: "ranges", addressAsSource: random.chance(0.3) } : {}),
    });
  }
  return services;
}
const KINDS: FrontendKind[] = ["node-port", "load-balancer", "external-ip", "host-port"];

export function randomBackends(
  random: Random, family: 4 | 6, pods: Pods, farther = false,
): Backend[] {
  if (random.chance(farther ? 0.03 : 0.14)) return [];
  const near = farther ? pods[family] : [...pods[family], ...pods[family], NODES[family]];
  const ends = [...near, ...REMOTE_PODS[family]]
    .flatMap((address) => TARGETS.map((port) => ({ address, port })));
  const found = new Map<string, Backend>();
  for (const { address, port } of random.some(ends, 1, 6)) {
    const name = `${address}:${port}`;
    const remote = REMOTE_PODS[family].includes(address);
    found.set(name, {
      name, address, port,
      ...(random.chance(0.3) ? { weight: random.between(1, 4) } : {}),
      ...(remote ? { node: PEER } : {}),
    });
  }
  return [...found.values()];
}

/** The same Services with one thing changed: backends, policies, one gone, one come. */
export function changedServices(random: Random, services: Service[], pods: Pods): Service[] {
  const next = [...services];
  const names = [...new Set(services.filter((each) => each.port > 0).map((each) => each.name))];
  if (names.length === 0) return randomServices(random, pods);
  const name = random.pick(names);
  switch (random.weighted({ backends: 8, less: 4, gone: 1, come: 1, all: 1 })) {
    case "backends":
    case "less": {
      const own = next.filter((each) => each.name === name);
      const { backends, address } = own[0]!;
      const fewer = backends.filter(() => random.chance(0.6));
      const now = random.chance(0.6) ? fewer
        : randomBackends(random, address.includes(":") ? 6 : 4, pods, own[0]!.dsr);
      return next.map((each) => each.name !== name ? each : {
        ...each, backends: now,
        ...(each.localBackends
          ? { localBackends: now.filter(({ node }) => node === undefined) } : {}),
      });
    }
    case "gone": return next.filter((each) => each.name !== name);
    case "come": {
      // A name of its own: frontends of one name are of one family.
      const numbers = names.map((each) => Number(each.split("-")[1]));
      const other = randomService(random, Math.max(...numbers) + 1 + random.below(9), pods);
      const taken = new Set(next.map((each) => `${each.address} ${each.port} ${each.protocol}`));
      return [...next, ...other.filter(({ address, port, protocol }) =>
        !taken.has(`${address} ${port} ${protocol}`) &&
        taken.add(`${address} ${port} ${protocol}`))];
    }
    default: return randomServices(random, pods);
  }
}
