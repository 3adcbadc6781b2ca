// Who calls whom in the capture: visitors from the world, the shop's services among themselves, the
// keepers; and those that policy denies. Each has a fixed source port, so that the node can be told
// beforehand where it goes.

import { isIPv6 } from "node:net";

/** The world behind eth0: addresses that no pod has. */
export const VISITOR = ["198.51.100.7", "2001:db8:7::7"];
export const BLOCKED = "198.51.100.66";
export const CARDS = ["203.0.113.10", "2001:db8:cafe::10"];
export const SMART_HOST = "192.0.2.25";
export const OFFICE = "192.168.10.50";
export const NODE = ["192.168.10.11", "fd00:10::11"];
/** Of the pages' Service. */
const NODE_PORT = 30_080;
export const WORLD = [...VISITOR, BLOCKED, ...CARDS, SMART_HOST, OFFICE];
/** The pod-side name of the world in the capture's network. */
export const WORLD_NAME = "world";
/** An address that no pod has: what the cart sends from it is spoofed. */
export const SPOOFED = "10.65.0.199";
const METADATA = "169.254.169.254";

export interface Visit {
  kind: "http" | "dns" | "ping";
  /** "namespace/pod", or WORLD_NAME. */
  pod: string;
  source: string;
  /** 0 for a ping. */
  sourcePort: number;
  destination: string;
  destinationPort: number;
  /** Paths that curl asks for in one connection, "+" for an order sent; the name that dig asks. */
  asks: string[];
}

/** Enough for a SYN, not for its repetition. */
const CONNECT_SECONDS = "0.8";
const ORDER = "x".repeat(1200);

/** What the visits need to know of the shop. */
export interface Shop {
  /** Pods of a workload, "shop/web". */
  pods(workload: string): { name: string; addresses: string[] }[];
  /** ClusterIPs of a Service, "shop/web", and its load balancer's addresses. */
  vips(service: string): string[];
  balancers(service: string): string[];
}

export function plan(shop: Shop): Visit[] {
  const visits: Visit[] = [];
  let port = 40_000;
  const family = <T extends string>(of: T[], number: 4 | 6): T => {
    const found = of.find((one) => isIPv6(one) === (number === 6));
    if (found === undefined) throw new Error(`no IPv${number} address among ${of.join(", ")}`);
    return found;
  };
  const add = (
    kind: Visit["kind"], pod: string, source: string, to: string, toPort: number, asks: string[],
  ): void => {
    const sourcePort = kind === "ping" ? 0 : (port += 1);
    visits.push({ kind, pod, source, sourcePort, destination: to, destinationPort: toPort, asks });
  };
  let turn = 0;
  /** From a workload's pods by turns. */
  const from = (
    workload: string, number: 4 | 6, kind: Visit["kind"], to: string[], toPort: number,
    asks: string[] = ["/"],
  ): void => {
    const pods = shop.pods(workload);
    const { name, addresses } = pods[turn++ % pods.length]!;
    add(kind, name, family(addresses, number), family(to, number), toPort, asks);
  };
  const names = ["api.shop", "catalogue.shop", "db.shop", "nowhere.shop"];
  const pages = [["/", "/catalogue.json"], ["/"], ["/", "+"], ["/nothing"]];
  for (const number of [4, 6] as const) {
    const service = (name: string): string[] => [family(shop.vips(name), number)];
    const pod = (workload: string): string[] => [family(shop.pods(workload)[0]!.addresses, number)];
    ["shop/web", "shop/api", "shop/cart", "shop/orders"].forEach((workload, index) =>
      from(workload, number, "dns", service("kube-system/kube-dns"), 53, [names[index]!]));
    for (const asks of pages) {
      const balancer = family(shop.balancers("shop/web"), number);
      add("http", WORLD_NAME, family(VISITOR, number), balancer, 80, asks);
    }
    add("http", WORLD_NAME, family(VISITOR, number), family(NODE, number), NODE_PORT, ["/"]);
    for (const asks of pages.slice(1)) {
      from("shop/web", number, "http", service("shop/api"), 80, asks);
    }
    for (const back of ["catalogue", "catalogue", "cart", "orders", "search"]) {
      from("shop/api", number, "http", service(`shop/${back}`), 80);
    }
    from("shop/api", number, "http", service("shop/cache"), 6379);
    from("shop/cart", number, "http", service("shop/cache"), 6379, ["/", "+"]);
    for (const workload of ["catalogue", "search", "orders"]) {
      from(`shop/${workload}`, number, "http", service("shop/db"), 5432);
    }
    from("shop/orders", number, "http", service("shop/queue"), 5672, ["+"]);
    from("shop/orders", number, "http", service("shop/payment"), 443, ["+"]);
    from("shop/payment", number, "http", CARDS, 443, ["+"]);
    from("shop/mail", number, "http", service("shop/queue"), 5672);
    from("shop/admin", number, "http", service("shop/mail"), 25, ["+"]);
    from("ops/toolbox", number, "http", service("shop/admin"), 80);
    from("ops/backup", number, "http", service("shop/db"), 5432);
    from("monitoring/prometheus", number, "http", pod("shop/web"), 9100);
    from("ops/toolbox", number, "ping", pod("shop/api"), 0);
    // Denied: at the sender's end, at the receiver's, and by those who run the platform.
    from("shop/web", number, "http", service("shop/db"), 5432);
    from("ops/toolbox", number, "http", service("shop/payment"), 443);
    from("shop/payment", number, "http", VISITOR, 443);
    from("guests/kiosk", number, "http", service("shop/web"), 80);
    from("shop/blog", number, "dns", service("kube-system/kube-dns"), 53, [names[0]!]);
    add("http", WORLD_NAME, family(VISITOR, number), service("shop/api")[0]!, 80, ["/"]);
    // Nobody is there: no pod of that Service, no such port of that one.
    from("shop/api", number, "http", service("shop/gifts"), 80);
    from("shop/api", number, "http", service("shop/catalogue"), 81);
  }
  from("shop/mail", 4, "http", [SMART_HOST], 25, ["+"]);
  add("ping", WORLD_NAME, OFFICE, NODE[0]!, 0, []);
  const desk = family(shop.balancers("shop/admin"), 4);
  add("http", WORLD_NAME, OFFICE, desk, 80, ["/", "+"]);
  add("http", WORLD_NAME, VISITOR[0]!, desk, 80, ["/"]);
  from("shop/web", 4, "http", [METADATA], 80);
  add("http", WORLD_NAME, BLOCKED, family(shop.balancers("shop/web"), 4), 80, ["/"]);
  from("shop/cart", 4, "http", [family(shop.vips("shop/cache"), 4)], 6379);
  visits.at(-1)!.source = SPOOFED;
  return visits;
}

/** The command that makes the visit, from inside its pod. */
export function command(visit: Visit): string[] {
  const { kind, source, sourcePort, destination, destinationPort, asks } = visit;
  if (kind === "ping") {
    return ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", source, destination];
  }
  if (kind === "dns") {
    const type = isIPv6(destination) ? "AAAA" : "A";
    return ["dig", "-b", `${source}#${sourcePort}`, `@${destination}`, "-p", `${destinationPort}`,
      "+tries=1", "+time=1", "+nocookie", asks[0]!, type];
  }
  const host = isIPv6(destination) ? `[${destination}]` : destination;
  const requests = asks.flatMap((ask, index) => [
    ...(index > 0 ? ["--next"] : []), "--silent", "--show-error", "--interface", source,
    "--local-port", `${sourcePort}`, "--connect-timeout", CONNECT_SECONDS,
    ...(ask === "+" ? ["--data", ORDER] : []),
    `http://${host}:${destinationPort}${ask === "+" ? "/order" : ask}`,
  ]);
  return ["curl", ...requests];
}
