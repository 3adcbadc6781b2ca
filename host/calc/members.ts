// What the sets of rules hold, worked out when a set is first asked for and then kept.
//
//   selector  networks of all that it selects, on every node        "10.0.0.1/32"
//   port      their named ports of that name and protocol           "10.0.0.1,tcp:80"
//   service   its endpoints, with ports or without                  either
//   nodes     addresses of the nodes that it selects                "192.168.0.1/32"
//
// Source: projectcalico felix/labelindex/named_port_index.go, felix/serviceindex.
import type { Snapshot } from "../model/snapshot.ts";
import type { StateSet } from "../model/state.ts";
import type { Thing } from "./endpoint.ts";
import { LabelIndex } from "./index.ts";
import { hostText } from "./net.ts";
import type { SetDefinition } from "./rule.ts";
import type { ServiceEndpoint } from "./service.ts";

export class SetMembers {
  private readonly kept = new Map<string, StateSet>();
  private readonly index: LabelIndex<Thing>;
  private readonly services: ReadonlyMap<string, ServiceEndpoint[]>;
  private readonly nodes = new LabelIndex<string[]>();

  constructor(
    index: LabelIndex<Thing>, services: ReadonlyMap<string, ServiceEndpoint[]>,
    snapshot: Snapshot,
  ) {
    this.index = index;
    this.services = services;
    for (const { labels, addresses } of snapshot.nodes) {
      this.nodes.add(new Map(Object.entries(labels)), addresses);
    }
  }

  /** The one object of this id: whoever holds it must not change it. */
  set(definition: SetDefinition): StateSet {
    const { id } = definition;
    let set = this.kept.get(id);
    if (!set) {
      const ports = definition.kind === "port" ||
        (definition.kind === "service" && definition.ports);
      set = { id, type: ports ? "ip-port" : "net", members: this.members(definition) };
      this.kept.set(id, set);
    }
    return set;
  }

  private members(definition: SetDefinition): Set<string> {
    switch (definition.kind) {
      case "selector": return this.networks(definition);
      case "port": return this.ports(definition);
      case "service": return this.endpoints(definition);
      case "nodes": return this.addresses(definition);
    }
  }

  private networks({ selector }: SetDefinition & { kind: "selector" }): Set<string> {
    const members = new Set<string>();
    for (const { things } of this.index.select(selector)) {
      for (const { networks } of things) for (const each of networks) members.add(each);
    }
    return members;
  }

  private ports({ selector, protocol, port }: SetDefinition & { kind: "port" }): Set<string> {
    const members = new Set<string>();
    for (const { things } of this.index.select(selector)) {
      for (const { addresses, ports } of things) {
        for (const each of ports) {
          if (each.name !== port || (protocol !== "any" && each.protocol !== protocol)) continue;
          for (const address of addresses) members.add(`${address},${each.protocol}:${each.port}`);
        }
      }
    }
    return members;
  }

  private endpoints({ service, ports }: SetDefinition & { kind: "service" }): Set<string> {
    const members = new Set<string>();
    for (const { address, protocol, port } of this.services.get(service) ?? []) {
      if (!ports) members.add(hostText(address));
      else if (port !== undefined) members.add(`${address},${protocol}:${port}`);
    }
    return members;
  }

  private addresses({ selector }: SetDefinition & { kind: "nodes" }): Set<string> {
    const nodes = this.nodes.select(selector).flatMap(({ things }) => things);
    return new Set(nodes.flat().map(hostText));
  }
}
