// The program on a random node: the Node engine, its compiler, and what a site adds to the program
// that host/compile makes of its state.
import { configureRecord } from "../../host/compile/records.ts";
import { NodeMemory, nodeProgram } from "../../host/compile/node.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { coreModule } from "../../host/dataplane/core.ts";
import { Reason, SlotFlag, Verdict } from "../../assembly/layout.ts";
import type { Result } from "../../host/dataplane/dataplane.ts";
import { restoreCheckpoint, saveCheckpoint } from "../../host/dataplane/checkpoint.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { AddressSet, Budgets, Endpoint, Program } from "../../host/model/program.ts";
import type { Arrival } from "../reference/conntrack.ts";
import { HOST } from "../reference/node.ts";
import type { Site } from "../reference/site.ts";

export const MAGLEV_SEED = 0x0123_4567_89ab_cdefn;
/** udp, icmp, opening, established, closing, other. */
export const TIMEOUTS_MS = [60_000, 5_000, 20_000, 3_600_000, 40_000, 600_000];
export const BUDGETS: Budgets = {
  workers: 1, sessions4Max: 4096, sessions6Max: 4096, endpointsMax: 32, servicesMax: 128,
  setsMax: 256, classesMax: 512, members4Max: 1024, members6Max: 1024, groupsMax: 1024,
  backendsMax: 16_384, affinityMax: 4096, fragmentsMax: 65_536, maglevSeed: MAGLEV_SEED,
  timeoutsMs: TIMEOUTS_MS,
};
const PAGES = 400;
/** An interface that no endpoint has. */
const NOBODY = 4000;
export const NOW_SECONDS = 1_700_000_000;

/** The program of a site: that of its state, and Services and NAT as the site says. */
export function programOf(site: Site, memory: NodeMemory): Program {
  const program = nodeProgram(site.state, site.devices, memory);
  const sets: AddressSet[] = [...program.sets ?? []];
  const settings: NonNullable<Program["settings"]> = {
    ...program.settings, masqueradeAll: site.masqueradeAll, rejectDenied: site.rejectDenied,
    snatAddresses: site.snatAddresses, snatPorts: site.snatPorts,
  };
  const named = {
    podNetworks: site.pods, natSources: site.natSources, natExcluded: site.natExcluded,
    serviceNetworks: site.serviceNetworks,
  };
  for (const [name, members] of Object.entries(named) as [keyof typeof named, string[]?][]) {
    delete settings[name];
    if (!members) continue;
    sets.push({ id: `site:${name}`, type: "net", members: [...members] });
    settings[name] = `site:${name}`;
  }
  for (const [id, members] of site.ranges) sets.push({ id, type: "net", members: [...members] });
  const endpoints = program.endpoints.map((each): Endpoint => {
    const own = each.kind === "uplink" ? site.uplinks.get(each.name) : undefined;
    return own ? { ...each, ...own } : each;
  });
  return { ...program, endpoints, services: site.services, sets, settings, peers: site.peers };
}

let changes = 0;
/** A clock of changes: each is a minute behind the one before, none counts as one with another. */
const minutes = (): number => ++changes * 60_000;

export class Engine {
  dataplane = new NodeDataplane(coreModule(), { workers: 1, memoryPages: PAGES });
  compiler = new Compiler(BUDGETS, undefined, minutes);
  private memory = new NodeMemory();
  private readonly interfaces = new Map<string, number>();
  private program!: Program;
  generation = 0;

  constructor() {
    this.dataplane.stage(configureRecord(BUDGETS));
  }

  async push(site: Site): Promise<void> {
    this.program = programOf(site, this.memory);
    this.dataplane.push(await this.compiler.compile(this.program, ++this.generation));
    this.dataplane.stage(bindRecords(this.program));
    this.interfaces.clear();
    const bind = (key: string, name: string | undefined, kind: string): void => {
      const found = this.program.endpoints.find((each) =>
        each.kind === kind && (name === undefined || each.name === name));
      this.interfaces.set(key, found!.interfaces[0]!);
    };
    for (const { name } of site.devices.uplinks) bind(name, name, "uplink");
    for (const one of site.state.workloads.values()) {
      bind(one.interface, one.workload, "workload");
    }
    bind(HOST, undefined, "host");
  }
  /** A fresh process in its place, with a checkpoint of the sessions; how many came over. */
  async restart(site: Site, nowMs: number): Promise<number> {
    const { endpoints, peers = [] } = this.program;
    const backendAt = this.compiler.backendAt.bind(this.compiler);
    const saved = saveCheckpoint(this.dataplane, { endpoints, peers, backendAt }, nowMs);
    this.dataplane = new NodeDataplane(coreModule(), { workers: 1, memoryPages: PAGES });
    this.compiler = new Compiler(BUDGETS, undefined, minutes);
    this.memory = new NodeMemory();
    this.dataplane.stage(configureRecord(BUDGETS));
    await this.push(site);
    const backendId = this.compiler.backendId.bind(this.compiler);
    const now = { endpoints: this.program.endpoints, peers, backendId };
    return restoreCheckpoint(this.dataplane, 0, saved, now, nowMs).taken;
  }

  run(packets: readonly Arrival[], nowMs: number): Result[] {
    return this.dataplane.process(0, packets.map((each) => ({
      interface: this.interfaces.get(each.interface) ?? NOBODY, bytes: each.bytes,
      ...(each.partial ? { flags: SlotFlag.PartialChecksum as number } : {}),
    })), { nowMs, nowSeconds: NOW_SECONDS });
  }

  backendName(id: number | undefined): string {
    return id === undefined ? "" : this.compiler.backendAt(id)?.name ?? `backend ${id}`;
  }
}

export const reasonOf = ({ reason }: Result): string => Reason[reason] ?? `reason ${reason}`;
export function verdictOf({ verdict }: Result): "pass" | "drop" | "reply" | "none" {
  if (verdict === Verdict.Pass) return "pass";
  return verdict === Verdict.Drop ? "drop" : verdict === Verdict.Reply ? "reply" : "none";
}
