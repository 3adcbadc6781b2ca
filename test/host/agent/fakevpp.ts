// A stand-in for VPP and the plugin, for the agent's tests: it holds interfaces, addresses, routes
// and neighbours as the binary API tells them, refuses what VPP would refuse, and runs the real
// core in the Node engine behind margay's messages.
//
//   call("af_packet_create_v3", …) ─► interfaces       call("margay_stage", …) ─► NodeDataplane
//   dump("sw_interface_dump") ─► what is there         every call is in `calls`, in order
import { createHash } from "node:crypto";
import { LAYOUT_VERSION, SESSION4_BYTES, SESSION6_BYTES, StageError } from
  "../../../assembly/layout.ts";
import { bindRecord } from "../../../host/compile/records.ts";
import { NodeDataplane } from "../../../host/dataplane/node.ts";
import { PushRefused } from "../../../host/dataplane/dataplane.ts";
import { moduleRecord } from "../../../host/dataplane/record.ts";
import { savedRecords, savedSessions } from "../../../host/dataplane/savedsessions.ts";
import { kebab } from "../../../host/model/names.ts";
import type { Asking } from "../../../host/agent/observed.ts";

type Fields = Record<string, unknown>;
const NONE = 0xffff_ffff;

export class FakeError extends Error {
  constructor(message: string, readonly retval: number, readonly reply: Fields = {}) {
    super(`${message}: ${retval}`);
  }
}

interface Interface {
  sw_if_index: number; interface_name: string; interface_dev_type: string; tag: string;
  l2_address: string; flags: string[]; mtu: number[]; addresses: string[];
  neighbours: Fields[]; lender: number | undefined; enabled: boolean; endpoint: number | undefined;
  table: number;
}

class Loaded {
  staged = "0".repeat(64);
  readonly binds = new Map<number, number>();
  constructor(readonly dataplane: NodeDataplane, readonly core: Uint8Array) {}
  note(...parts: Uint8Array[]): void {
    const hash = createHash("sha256").update(Buffer.from(this.staged, "hex"));
    const own = createHash("sha256");
    for (const part of parts) own.update(part);
    this.staged = hash.update(own.digest()).digest("hex");
  }
}

export class FakeVpp implements Asking {
  readonly calls: { message: string; fields: Fields }[] = [];
  readonly interfaces: Interface[] = [];
  readonly routes = new Map<string, Fields>();
  tables: Fields[] = [
    { table_id: 0, is_ip6: false, name: "ipv4-VRF:0" },
    { table_id: 0, is_ip6: true, name: "ipv6-VRF:0" },
  ];
  readonly hostStack: Fields[] = [];
  nowMs = 1_000;
  running: Loaded | undefined;
  beside: Loaded | undefined;
  /** The next stage is refused so. */
  refuseNext: string | undefined;
  private uploads = new Map<number, Uint8Array>();

  constructor() {
    this.make("local0", "local", "00:00:00:00:00:00");
  }

  /** Messages that change something, since the last call of this. */
  changes(): string[] {
    const changes = this.calls.map(({ message }) => message).filter((message) =>
      !/dump|status_get|show_threads|upload|margay_save/.test(message));
    this.calls.length = 0;
    return changes;
  }

  byTag(name: string): Interface | undefined {
    return this.interfaces.find(({ tag }) => tag.startsWith(`margay:${name}:`));
  }

  private make(name: string, type: string, mac: string): Interface {
    const made: Interface = {
      sw_if_index: this.nextIndex++, interface_name: name, interface_dev_type: type, tag: "",
      l2_address: mac, flags: [], mtu: [9_000, 0, 0, 0], addresses: [], neighbours: [],
      lender: undefined, enabled: true, endpoint: undefined, table: 0,
    };
    this.interfaces.push(made);
    return made;
  }
  private nextIndex = 0;

  private at(index: unknown): Interface {
    const found = this.interfaces.find(({ sw_if_index: own }) => own === index);
    if (!found) throw new FakeError(`no interface ${String(index)}`, -2);
    return found;
  }
  private remove(each: Interface): Fields {
    this.interfaces.splice(this.interfaces.indexOf(each), 1);
    return {};
  }

  async call(message: string, fields: Fields = {}): Promise<Fields> {
    this.calls.push({ message, fields });
    const own = (this as unknown as Record<string, (f: Fields) => Fields>)[`on_${message}`];
    if (!own) throw new Error(`the stand-in knows no ${message}`);
    return own.call(this, fields);
  }

  async *dump(message: string, fields: Fields = {}): AsyncGenerator<Fields> {
    this.calls.push({ message, fields });
    const own = (this as unknown as Record<string, (f: Fields) => Fields[]>)[`of_${message}`];
    if (!own) throw new Error(`the stand-in knows no ${message}`);
    yield* own.call(this, fields);
  }

  // ---- VPP's own --------------------------------------------------------------------------------

  protected on_show_threads = (): Fields => ({ count: 1 });
  protected of_sw_interface_dump = (): Fields[] => this.interfaces as unknown as Fields[];
  protected of_ip_address_dump = ({ sw_if_index: i, is_ipv6: six }: Fields): Fields[] => {
    const own = this.at(i);
    const addresses = own.lender === undefined ? own.addresses : this.at(own.lender).addresses;
    return addresses.filter((text) => text.includes(":") === six).map((prefix) => ({ prefix }));
  };
  protected of_ip_neighbor_dump = ({ sw_if_index: i, af }: Fields): Fields[] =>
    this.at(i).neighbours.filter(({ ip_address: text }) =>
      String(text).includes(":") === (af === "ADDRESS_IP6")).map((neighbor) => ({ neighbor }));
  protected of_ip_unnumbered_dump = (): Fields[] => this.interfaces.flatMap((each) =>
    each.lender === undefined ? []
      : [{ sw_if_index: each.sw_if_index, ip_sw_if_index: each.lender }]);
  protected of_ip_table_dump = (): Fields[] => this.tables.map((table) => ({ table }));
  protected of_fib_source_dump = (): Fields[] => [{ src: { id: 7, name: "API", priority: 0 } }];
  protected of_ip_route_v2_dump = ({ table }: Fields): Fields[] => {
    const { table_id: id, is_ip6: six } = table as Fields;
    return [...this.routes.values()].filter((route) => route["table_id"] === id &&
      String(route["prefix"]).includes(":") === six).map((route) => ({ route }));
  };
  protected on_af_packet_create_v3 = ({ host_if_name: name, hw_addr: mac }: Fields): Fields => {
    const full = `host-${String(name)}`;
    if (this.interfaces.some((each) => each.interface_name === full)) {
      throw new FakeError(`${full} is there`, -68);
    }
    return { sw_if_index: this.make(full, "af-packet", mac as string).sw_if_index };
  };
  protected on_af_packet_delete = ({ host_if_name: name }: Fields): Fields =>
    this.remove(this.interfaces.find((each) => each.interface_name === `host-${String(name)}`)!);
  protected on_create_loopback_instance = ({ mac_address: mac }: Fields): Fields =>
    ({ sw_if_index: this.make("loop0", "Loopback", mac as string).sw_if_index });
  protected on_delete_loopback = ({ sw_if_index: i }: Fields): Fields => this.remove(this.at(i));
  protected on_sw_interface_tag_add_del = ({ sw_if_index: i, tag }: Fields): Fields => {
    this.at(i).tag = tag as string;
    return {};
  };
  protected on_sw_interface_set_table = ({ sw_if_index: i, vrf_id: id }: Fields): Fields => {
    this.at(i).table = id as number;
    return {};
  };
  protected on_sw_interface_set_mac_address =
    ({ sw_if_index: i, mac_address: mac }: Fields): Fields => {
      this.at(i).l2_address = mac as string;
      return {};
    };
  protected on_sw_interface_set_mtu = ({ sw_if_index: i, mtu }: Fields): Fields => {
    this.at(i).mtu = mtu as number[];
    return {};
  };
  protected on_sw_interface_set_flags = ({ sw_if_index: i, flags }: Fields): Fields => {
    this.at(i).flags = flags as string[];
    return {};
  };
  protected on_sw_interface_set_unnumbered =
    ({ sw_if_index: lender, unnumbered_sw_if_index: i, is_add: add }: Fields): Fields => {
      this.at(i).lender = add ? this.at(lender).sw_if_index : undefined;
      return {};
    };
  protected on_sw_interface_add_del_address =
    ({ sw_if_index: i, prefix, is_add: add }: Fields): Fields => {
      const own = this.at(i);
      const has = own.addresses.includes(prefix as string);
      if (has === add) throw new FakeError(`address ${String(prefix)}`, add ? -105 : -97);
      own.addresses = add ? [...own.addresses, prefix as string]
        : own.addresses.filter((each) => each !== prefix);
      return {};
    };
  protected on_ip_neighbor_add_del = ({ neighbor, is_add: add }: Fields): Fields => {
    const { sw_if_index: i, ip_address: text } = neighbor as Fields;
    const own = this.at(i);
    own.neighbours = own.neighbours.filter((each) => each["ip_address"] !== text);
    if (add) own.neighbours.push(neighbor as Fields);
    return {};
  };
  protected on_ip_table_add_del = ({ table, is_add: add }: Fields): Fields => {
    const { table_id: id, is_ip6: six } = table as Fields;
    this.tables = this.tables.filter((each) => each["table_id"] !== id || each["is_ip6"] !== six);
    if (add) this.tables.push(table as Fields);
    return {};
  };
  protected on_ip_route_add_del = ({ route, is_add: add }: Fields): Fields => {
    const { table_id: id, prefix } = route as Fields;
    const key = `${String(id)} ${String(prefix)}`;
    if (add) this.routes.set(key, route as Fields);
    else if (!this.routes.delete(key)) throw new FakeError(`route ${key}`, -6);
    return {};
  };

  // ---- Margay's ---------------------------------------------------------------------------------

  private get target(): Loaded {
    const found = this.beside ?? this.running;
    if (!found) throw new FakeError("no core", -6);
    return found;
  }
  private take({ upload, sha256 }: Fields): Uint8Array {
    const bytes = this.uploads.get(upload as number);
    if (!bytes) throw new FakeError("no such upload", -6);
    this.uploads.delete(upload as number);
    const hash = createHash("sha256").update(bytes).digest();
    if (!hash.equals(Buffer.from(sha256 as Uint8Array))) throw new FakeError("hash", -7);
    return bytes;
  }
  private refusing(what: () => void): Fields {
    try {
      if (this.refuseNext !== undefined) {
        const why = this.refuseNext;
        this.refuseNext = undefined;
        throw new PushRefused("slot-not-admitted", 0, 0, why);
      }
      what();
      return { retval: 0 };
    } catch (error) {
      if (!(error instanceof PushRefused)) throw error;
      const number = Object.entries(StageError).find(([name]) => kebab(name) === error.reason)?.[1];
      throw new FakeError(error.message, -1, {
        retval: -1, error: number ?? 0, record: error.record, detail: error.detail,
        why: error.message,
      });
    }
  }

  protected on_margay_upload = ({ upload, offset, total, data }: Fields): Fields => {
    const before = this.uploads.get(upload as number) ?? new Uint8Array(total as number);
    before.set(data as Uint8Array, offset as number);
    this.uploads.set(upload as number, before);
    return {};
  };
  protected on_margay_abandon_uploads = (): Fields => {
    this.uploads.clear();
    return {};
  };
  protected on_margay_open = (fields: Fields): Fields => {
    const core = this.take(fields);
    if (this.running && !fields["beside"]) throw new FakeError("a core is there", -81);
    const dataplane = new NodeDataplane(core, { memoryPages: fields["pages"] as number });
    const loaded = new Loaded(dataplane, core);
    if (fields["beside"]) this.beside = loaded;
    else this.running = loaded;
    return {};
  };
  protected on_margay_swap = (): Fields => {
    if (!this.beside) throw new FakeError("none beside", -6);
    this.running = this.beside;
    this.beside = undefined;
    for (const each of this.interfaces) {
      each.endpoint = this.running.binds.get(each.sw_if_index);
    }
    return {};
  };
  protected on_margay_discard = (): Fields => {
    this.beside = undefined;
    return {};
  };
  protected on_margay_stage = (fields: Fields): Fields => {
    const records = this.take(fields);
    const { target } = this;
    return this.refusing(() => {
      target.dataplane.stage(records);
      target.note(records);
    });
  };
  protected on_margay_module = (fields: Fields): Fields => {
    const wasm = this.take(fields);
    const kind = fields["kind"] as number;
    const { target } = this;
    const slot = fields["slot"] as number;
    return this.refusing(() => {
      const name = kind === 2 ? "user" : "generated";
      const { dataplane } = target;
      dataplane["table"].set(slot, dataplane["admit"]({ slot, kind: name, wasm }));
      target.note(moduleRecord(slot, kind, wasm));
    });
  };
  protected on_margay_publish = ({ generation }: Fields): Fields => {
    const { target } = this;
    return this.refusing(() => {
      target.dataplane.push({
        generation: generation as number, modules: [], records: new Uint8Array(0),
      });
      target.note(words(generation as number));
    });
  };
  protected on_margay_bind = ({ sw_if_index: i, endpoint }: Fields): Fields => {
    const own = this.at(i);
    const bound = endpoint === NONE ? undefined : endpoint as number;
    return this.refusing(() => {
      this.target.dataplane.stage(bindRecord(own.sw_if_index, bound));
      if (bound === undefined) this.target.binds.delete(own.sw_if_index);
      else this.target.binds.set(own.sw_if_index, bound);
      if (!this.beside) own.endpoint = bound;
    });
  };
  protected on_margay_interface_set = ({ sw_if_index: i, enable }: Fields): Fields => {
    this.at(i).enabled = enable as boolean;
    return {};
  };
  protected of_margay_interface_dump = (): Fields[] => this.interfaces.map((each) => ({
    sw_if_index: each.sw_if_index, enabled: each.enabled, bound: each.endpoint !== undefined,
    endpoint: each.endpoint ?? NONE,
  }));
  protected on_margay_host_stack_add_del = (fields: Fields): Fields => {
    this.hostStack.push(fields);
    return {};
  };
  protected on_margay_status_get = (): Fields => {
    const { running } = this;
    if (!running) throw new FakeError("no core", -6, { retval: -6 });
    return {
      retval: 0, core_sha256: createHash("sha256").update(running.core).digest(),
      staged_sha256: Buffer.from(running.staged, "hex"), layout_version: LAYOUT_VERSION,
      generation: running.dataplane.generation, now_ms: this.nowMs, sessions4: 0, sessions6: 0,
      pid: 1, fail_closed: true,
    };
  };
  protected on_margay_save = ({ family }: Fields): Fields => {
    const saved = savedRecords(this.running!.dataplane.saveSessions(this.nowMs));
    const own = saved.filter((each) => each.family === family);
    const records = Buffer.concat(own.map(({ view }) =>
      new Uint8Array(view.buffer, view.byteOffset, view.byteLength)));
    return {
      layout_version: LAYOUT_VERSION, next_cursor: NONE, now_ms: this.nowMs, records,
      record_bytes: Number(family === 4 ? SESSION4_BYTES : SESSION6_BYTES),
    };
  };
  protected on_margay_restore = ({ family, records }: Fields): Fields => {
    const pieces = { 4: [] as Uint8Array[], 6: [] as Uint8Array[] };
    pieces[family as 4 | 6].push(records as Uint8Array);
    const saved = savedSessions(pieces, this.nowMs);
    return { taken: this.target.dataplane.restoreSessions(0, saved, this.nowMs) };
  };
}

function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}
