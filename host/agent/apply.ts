// Carries operations out, one after the other, each a call of VPP's binary API, and says what it
// did and why. Names become indices here, as interfaces are made.
//
//   { do: "route-add", … } ─► ip_route_add_del ─► "route 10.0.0.0/8 by wan: added"
//
// An interface that is made and can't be tagged is deleted again: what has no tag is nobody's to
// remove. Errors are the client's; they name the message, and here the operation.
import { CommandError } from "../command-error.ts";
import type { InterfaceConfig } from "./config.ts";
import { TAG, type DesiredInterface, type DesiredRoute } from "./desired.ts";
import type { InterfaceRef, Operation } from "./diff.ts";
import type { Asking, Observed, ObservedInterface } from "./observed.ts";

const NONE = 0xffff_ffff;
const NO_MAC = "00:00:00:00:00:00";
const RANDOM_TAP = 0xffff_ffff;

type Fields = Record<string, unknown>;
export type Say = (line: string) => void;

/** Indices by the names of the configuration, of what is there. */
export type Indices = Map<string, number>;

export function indicesOf(interfaces: DesiredInterface[], observed: Observed): Indices {
  const byTag = new Map(observed.interfaces.map(({ tag, index }) => [tag, index]));
  return new Map(interfaces.flatMap(({ name, tag }) => {
    const index = byTag.get(tag);
    return index === undefined ? [] : [[name, index] as const];
  }));
}

export async function apply(
  vpp: Asking, operations: readonly Operation[], indices: Indices, say: Say,
): Promise<void> {
  for (const operation of operations) {
    try {
      say(await new Application(vpp, indices).run(operation));
    } catch (cause) {
      if (cause instanceof CommandError) throw cause;
      throw new Error(`${nameOf(operation)}: ${(cause as Error).message}`, { cause });
    }
  }
}

class Application {
  constructor(private readonly vpp: Asking, private readonly indices: Indices) {}

  private index(on: InterfaceRef): number {
    const index = "index" in on ? on.index : this.indices.get(on.name);
    if (index === undefined) throw new Error(`there is no interface ${on.name}`);
    return index;
  }

  async run(operation: Operation): Promise<string> {
    const { vpp } = this;
    const on = "on" in operation ? this.index(operation.on) : NONE;
    const name = "on" in operation ? operation.on.name : "";
    switch (operation.do) {
      case "interface-create":
        return await this.create(operation.desired);
      case "interface-down":
        await this.flags(operation.observed.index, false);
        return `interface ${operation.observed.vppName}: down`;
      case "interface-delete":
        await this.remove(operation.observed);
        return `interface ${operation.observed.vppName}: removed, it is not configured any more`;
      case "interface-up":
        await this.flags(on, true);
        return `interface ${name}: up`;
      case "mac-set":
        await vpp.call("sw_interface_set_mac_address",
          { sw_if_index: on, mac_address: operation.mac });
        return `interface ${name}: MAC ${operation.mac}`;
      case "mtu-set":
        await vpp.call("sw_interface_set_mtu", { sw_if_index: on, mtu: [operation.mtu, 0, 0, 0] });
        return `interface ${name}: MTU ${operation.mtu}`;
      case "enable":
        await vpp.call("margay_interface_set", { sw_if_index: on, enable: true });
        return `interface ${name}: its packets go through the program`;
      case "unbind":
        await vpp.call("margay_bind", { sw_if_index: on, endpoint: NONE });
        return `interface ${name}: nobody's, nothing passes`;
      case "bind":
        await vpp.call("margay_bind", { sw_if_index: on, endpoint: operation.endpoint });
        return `interface ${name}: ${operation.owner}'s`;
      case "address-add": case "address-remove":
        await vpp.call("sw_interface_add_del_address", {
          sw_if_index: on, is_add: operation.do === "address-add", del_all: false,
          prefix: operation.address,
        });
        return `interface ${name}: address ${operation.address} ${done(operation.do)}`;
      case "lend": case "lend-end": {
        const lender = operation.do === "lend"
          ? this.index({ name: operation.from }) : operation.lender;
        await vpp.call("sw_interface_set_unnumbered", {
          sw_if_index: lender, unnumbered_sw_if_index: on, is_add: operation.do === "lend",
        });
        return operation.do === "lend" ? `interface ${name}: addresses of ${operation.from}`
          : `interface ${name}: no addresses of another's any more`;
      }
      case "neighbour-add": case "neighbour-remove":
        await vpp.call("ip_neighbor_add_del", {
          is_add: operation.do === "neighbour-add",
          neighbor: {
            sw_if_index: on, flags: ["IP_API_NEIGHBOR_FLAG_STATIC"],
            mac_address: operation.mac, ip_address: operation.address,
          },
        });
        return `interface ${name}: neighbour ${operation.address} at ${operation.mac} ` +
          done(operation.do);
      case "route-add":
        await this.route(true, operation.route, this.index({ name: operation.route.interface }));
        return `${routeText(operation.route)}: added`;
      case "route-remove":
        await this.route(false, operation.route, operation.index);
        return `${routeText(operation.route)}: removed`;
      case "table-add": case "table-remove": {
        const { table, isIp6 } = operation;
        await vpp.call("ip_table_add_del", {
          is_add: operation.do === "table-add",
          table: { table_id: table, is_ip6: isIp6, name: `${TAG}${table}` },
        });
        return `table ${table} (IPv${isIp6 ? 6 : 4}): ${done(operation.do)}`;
      }
    }
  }

  private async flags(index: number, up: boolean): Promise<void> {
    await this.vpp.call("sw_interface_set_flags", {
      sw_if_index: index, flags: up ? ["IF_STATUS_API_FLAG_ADMIN_UP"] : [],
    });
  }

  private async route(isAdd: boolean, route: DesiredRoute, index: number): Promise<void> {
    const { table, prefix, via } = route;
    const isIp6 = prefix.includes(":");
    const none = isIp6 ? "::" : "0.0.0.0";
    await this.vpp.call("ip_route_add_del", {
      is_add: isAdd, is_multipath: false,
      route: {
        table_id: table, stats_index: 0, prefix, n_paths: 1,
        paths: [{
          sw_if_index: index, table_id: 0, rpf_id: 0, weight: 1, preference: 0,
          type: "FIB_API_PATH_TYPE_NORMAL", flags: "FIB_API_PATH_FLAG_NONE",
          proto: isIp6 ? "FIB_API_PATH_NH_PROTO_IP6" : "FIB_API_PATH_NH_PROTO_IP4",
          nh: {
            address: isIp6 ? { ip6: via ?? none } : { ip4: via ?? none },
            via_label: 0, obj_id: 0, classify_table_index: 0,
          },
          n_labels: 0, label_stack: Array.from({ length: 16 }, () =>
            ({ is_uniform: 0, label: 0, ttl: 0, exp: 0 })),
        }],
      },
    });
  }

  // ---- Interfaces -------------------------------------------------------------------------------

  private async create({ name, tag, config, table }: DesiredInterface): Promise<string> {
    const { message, fields, text } = await this.creation(name, config);
    const reply = await this.vpp.call(message, fields);
    const index = reply["sw_if_index"] as number;
    try {
      await this.vpp.call("sw_interface_tag_add_del", { is_add: true, sw_if_index: index, tag });
      for (const isIp6 of table === 0 ? [] : [false, true]) {
        await this.vpp.call("sw_interface_set_table",
          { sw_if_index: index, is_ipv6: isIp6, vrf_id: table });
      }
    } catch (error) {
      const kind = config.afPacket ? "af-packet" : config.memif ? "memif" : "";
      const vppName = config.afPacket ? `host-${config.afPacket.host}` : name;
      await this.remove({ index, kind, vppName }).catch(() => {});
      throw error;
    }
    this.indices.set(name, index);
    return `interface ${name}: made, ${text}`;
  }

  private async creation(
    name: string, { afPacket, memif, tap, mac }: InterfaceConfig,
  ): Promise<{ message: string; fields: Fields; text: string }> {
    const own = { hw_addr: mac ?? NO_MAC };
    if (afPacket) {
      return {
        message: "af_packet_create_v3", text: `af_packet on ${afPacket.host}`,
        fields: {
          ...own, mode: "AF_PACKET_API_MODE_ETHERNET", use_random_hw_addr: mac === undefined,
          host_if_name: afPacket.host, rx_frame_size: 0, tx_frame_size: 0, rx_frames_per_block: 0,
          tx_frames_per_block: 0, flags: [], num_rx_queues: 1, num_tx_queues: 1,
        },
      };
    }
    if (memif) {
      const socket = await this.memifSocket(memif.socket);
      return {
        message: "memif_create_v2", text: `memif ${memif.id} at ${memif.socket}`,
        fields: {
          ...own, role: memif.role === "master" ? "MEMIF_ROLE_API_MASTER" : "MEMIF_ROLE_API_SLAVE",
          mode: memif.mode === "ip" ? "MEMIF_MODE_API_IP" : "MEMIF_MODE_API_ETHERNET",
          rx_queues: 1, tx_queues: 1, id: memif.id, socket_id: socket, ring_size: memif.ringSize,
          buffer_size: 2_048, no_zero_copy: false, use_dma: false, secret: "",
        },
      };
    }
    if (tap) {
      return {
        message: "tap_create_v3", text: `tap ${tap.host}`,
        fields: {
          id: RANDOM_TAP, use_random_mac: mac === undefined, mac_address: mac ?? NO_MAC,
          num_rx_queues: 1, num_tx_queues: 1, tx_ring_sz: 256, rx_ring_sz: 256,
          tap_flags: tap.tun ? ["TAP_API_FLAG_TUN"] : [], host_if_name_set: true,
          host_if_name: tap.host, host_namespace_set: tap.namespace !== undefined,
          host_namespace: tap.namespace ?? "", tag: "",
        },
      };
    }
    return {
      message: "create_loopback_instance", text: "a loopback",
      fields: { mac_address: mac ?? NO_MAC, is_specified: false, user_instance: 0 },
    };
  }

  /** The number under which VPP has the file, from now on if not before. */
  private async memifSocket(file: string): Promise<number> {
    for await (const each of this.vpp.dump("memif_socket_filename_dump", {})) {
      if (each["socket_filename"] === file) return each["socket_id"] as number;
    }
    const reply = await this.vpp.call("memif_socket_filename_add_del_v2",
      { is_add: true, socket_id: NONE, socket_filename: file });
    return reply["socket_id"] as number;
  }

  private async remove(
    { index, kind, vppName }: Pick<ObservedInterface, "index" | "kind" | "vppName">,
  ): Promise<void> {
    const [message, fields] = deletion(kind, index, vppName);
    await this.vpp.call(message, fields);
  }
}

function deletion(kind: string, index: number, vppName: string): [string, Fields] {
  if (vppName.startsWith("host-")) {
    return ["af_packet_delete", { host_if_name: vppName.slice("host-".length) }];
  }
  if (/^memif/i.test(kind)) return ["memif_delete", { sw_if_index: index }];
  if (/^(tap|tun|virtio)/i.test(vppName)) return ["tap_delete_v2", { sw_if_index: index }];
  return ["delete_loopback", { sw_if_index: index }];
}

function routeText({ prefix, via, table, interface: by }: DesiredRoute): string {
  return `route ${prefix}${via === undefined ? "" : ` via ${via}`} by ${by}` +
    (table === 0 ? "" : ` in table ${table}`);
}
function done(what: string): string {
  return what.endsWith("add") ? "added" : "removed";
}
function nameOf(operation: Operation): string {
  if ("on" in operation) return `${operation.do} ${operation.on.name}`;
  if ("desired" in operation) return `${operation.do} ${operation.desired.name}`;
  if ("observed" in operation) return `${operation.do} ${operation.observed.vppName}`;
  return "route" in operation ? `${operation.do} ${operation.route.prefix}`
    : `${operation.do} ${operation.table}`;
}
