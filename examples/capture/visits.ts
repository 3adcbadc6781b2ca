// Who calls whom in the capture: the connections to the Services, straight between pods, and those
// that policy denies. Each has a fixed source port, so that the node can be told beforehand where
// it goes.

import { isIPv6 } from "node:net";
import { ADMIN_PORT, PAGES_PORT } from "./servers.ts";

export interface Visit {
  kind: "http" | "dns" | "ping";
  pod: string;
  source: string;
  /** 0 for a ping. */
  sourcePort: number;
  destination: string;
  destinationPort: number;
  /** Paths that curl asks for in one connection, "+" for an order sent; the name that dig asks. */
  asks: string[];
}

const HTTP_VISITS = 32;
const DNS_VISITS = 32;
/** curl's own timer for connections that nobody answers: a SYN and its repetition. */
const CONNECT_SECONDS = "1.3";
const ORDER = "x".repeat(2500);

/** An address that no pod has: what is sent from it is spoofed. */
export const SPOOFED = "10.244.0.99";

interface Shop {
  /** Address of an endpoint or a Service, by name and family. */
  address(name: string, family: 4 | 6): string;
}

export function plan(shop: Shop): Visit[] {
  const visits: Visit[] = [];
  let port = 40_000;
  const add = (kind: Visit["kind"], pod: string, family: 4 | 6, to: string, toPort: number,
    asks: string[]) => visits.push({
    kind, pod, source: shop.address(pod, family), sourcePort: kind === "ping" ? 0 : (port += 1),
    destination: shop.address(to, family), destinationPort: toPort, asks,
  });
  const pages = [["/"], ["/", "/catalogue.json"], ["/", "+"], ["/nothing"]];
  const names = ["shop.example", "http-1.example", "http-3.example", "nobody.example"];
  for (let index = 0; index < Math.max(HTTP_VISITS, DNS_VISITS); index += 1) {
    const family = index % 2 === 0 ? 4 : 6;
    const turn = index >> 1;
    if (index < DNS_VISITS) add("dns", "client", family, "dns", 53, [names[turn % 4]!]);
    if (index < HTTP_VISITS) add("http", "client", family, "http", 80, pages[turn % 4]!);
  }
  for (const family of [4, 6] as const) {
    // Pods among themselves, and a backend that is a client of the other Service.
    add("http", "client", family, "http-2", PAGES_PORT, ["/"]);
    add("dns", "http-1", family, "dns", 53, ["http-2.example"]);
    add("dns", "http-3", family, "dns-1", 5353, ["shop.example"]);
    add("ping", "client", family, "http-1", 0, []);
    // Denied: the stranger, and a port that the policy leaves out.
    add("http", "stranger", family, "http", 80, ["/"]);
    add("http", "client", family, "http-1", ADMIN_PORT, ["/"]);
  }
  add("http", "client", 4, "http", 80, ["/"]);
  visits.at(-1)!.source = SPOOFED;
  return visits;
}

/** The command that makes the visit, from inside its pod. */
export function command(visit: Visit): string[] {
  const { kind, source, sourcePort, destination, destinationPort, asks } = visit;
  if (kind === "ping") return ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", destination];
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
