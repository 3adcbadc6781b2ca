// The agent of a node whose packets go through VPP: what manifests and configuration want is made
// so, kept so, and comes back after VPP or the agent has ended.
//
//   connect ─► reconcile ─► watch manifests ─► update …      every checkpointSeconds: checkpoint
//      ▲          │                                           all one after the other (a queue)
//      └─ VPP is gone: again, until it is there
//
// Reconcile finds one of three: no core in VPP (it is new: everything is told, sessions come from
// the checkpoint); the core that this agent, or the one before by its file, told everything
// (kept.ts: differences); any other (a second core is filled beside, gets the sessions of the
// running one, and takes its place between two frames). VPP forwards all the while.
//
// Nothing is taken down at the end: VPP goes on by itself.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { NodeMemory } from "../compile/node.ts";
import { coreFile } from "../dataplane/core.ts";
import { PushRefused } from "../dataplane/dataplane.ts";
import { checkpointOf, type Names } from "../dataplane/checkpoint.ts";
import type { Program } from "../model/program.ts";
import { apply, indicesOf, type Indices } from "./apply.ts";
import type { Config } from "./config.ts";
import { desiredState, type Desired, type DesiredHostStack } from "./desired.ts";
import { difference } from "./diff.ts";
import { readKept, saveKept } from "./kept.ts";
import { counted, type AgentLog } from "./log.ts";
import { namesByBindings } from "./names.ts";
import { observe, type Asking, type Observed } from "./observed.ts";
import { Plugin, retvalOf, VALUE_EXIST, type PluginStatus } from "./plugin.ts";
import { advance, openProgram, Outgrown, type InForce } from "./push.ts";
import {
  readCheckpoint, restoredText, restoreInto, saveFrom, sessionsFrom, writeCheckpoint,
} from "./sessions.ts";
import { loadProgram } from "./source.ts";

export class Agent {
  private memory = new NodeMemory();
  private inForce: InForce | undefined;
  private hostStack: DesiredHostStack[] = [];
  private plugin: Plugin | undefined;
  private isFirst = true;
  /** A new VPP has not got the checkpoint's sessions yet. */
  private isOwed = false;
  private readonly core = createHash("sha256").update(readFileSync(coreFile())).digest("hex");

  constructor(private readonly config: Config, private readonly log: AgentLog) {}

  /** After each connection. Throws where the program is refused or VPP does not do as asked. */
  async reconcile(vpp: Asking): Promise<void> {
    const plugin = new Plugin(vpp);
    const status = await plugin.status();
    plugin.staged = status?.staged ?? plugin.staged;
    const known = this.knows(status) || (this.isFirst && this.adopt(status));
    this.isFirst = false;
    this.plugin = plugin;
    if (status && !status.failClosed) {
      this.log.warn("VPP is in manual mode: interfaces that others make carry packets unjudged");
    }
    const program = await this.load();
    const desired = desiredState(this.config, program);
    const observed = await observe(vpp);
    if (!status) await this.begin(vpp, plugin, program, desired, observed);
    else if (known) await this.goOn(vpp, plugin, program, desired, observed);
    else {
      // Its numbers mean what they meant only to what it told.
      const isOwn = this.inForce?.generation === status.generation && status.core === this.core;
      if (!isOwn) this.inForce = undefined;
      this.log.say("another agent's program runs in VPP, or one that is not known any more: " +
        "the own one is built beside it");
      await this.replace(vpp, plugin, program, desired, observed);
    }
    this.keep();
  }

  /** After a change of manifests. What is wrong is told; the program before runs on. */
  async update(vpp: Asking): Promise<void> {
    const { plugin } = this;
    if (!plugin || !this.inForce) return await this.reconcile(vpp);
    const program = await this.load();
    const desired = desiredState(this.config, program);
    try {
      await this.goOn(vpp, plugin, program, desired, await observe(vpp));
    } finally {
      this.keep();
    }
  }

  /** How many sessions; nothing where no program is in force. */
  async checkpoint(vpp: Asking): Promise<number | undefined> {
    if (!this.inForce) return undefined;
    const { checkpoint, count } = await saveFrom(vpp, namesOf(this.inForce));
    writeCheckpoint(this.config.state, checkpoint);
    return count;
  }

  /** VPP's connection ended: what ran there is asked for again. */
  disconnected(): void {
    this.plugin = undefined;
  }

  // ---- Which program runs in VPP? ---------------------------------------------------------------

  private knows(status: PluginStatus | undefined): boolean {
    return status !== undefined && this.inForce !== undefined && !this.inForce.isTorn &&
      status.core === this.core && status.generation === this.inForce.generation &&
      status.staged === this.staged;
  }
  /** The last hash that this agent brought about. */
  private staged = "";

  private adopt(status: PluginStatus | undefined): boolean {
    if (!status) return false;
    const kept = readKept(this.config.state);
    if (typeof kept === "string") {
      this.log.say(`state of before: ${kept}`);
      return false;
    }
    const fits = kept.core === status.core && kept.core === this.core &&
      kept.staged === status.staged && kept.inForce.generation === status.generation;
    if (!fits) {
      this.log.say("state of before: it is not of the program that runs in VPP");
      return false;
    }
    this.memory = kept.memory;
    this.inForce = kept.inForce;
    this.hostStack = kept.hostStack;
    this.staged = kept.staged;
    this.log.say(`state of before fits: generation ${kept.inForce.generation}; ` +
      "only what changed since is told");
    return true;
  }

  private keep(): void {
    const { inForce, plugin, memory, hostStack, core } = this;
    if (!inForce || !plugin || inForce.isTorn) return;
    this.staged = plugin.staged;
    saveKept(this.config.state, { staged: plugin.staged, core, inForce, memory, hostStack });
  }

  private async load(): Promise<Program> {
    const { program, remarks } = await loadProgram(this.config, this.memory);
    for (const remark of remarks) this.log.warn(remark);
    return program;
  }

  // ---- Three ways -------------------------------------------------------------------------------

  /** VPP has no core: it is new. */
  private async begin(
    vpp: Asking, plugin: Plugin, program: Program, desired: Desired, observed: Observed,
  ): Promise<void> {
    this.inForce = undefined;
    this.isOwed = true;
    this.hostStack = [];
    const steps = this.steps(desired, observed, true);
    const indices = indicesOf(desired.interfaces, observed);
    await this.apply(vpp, steps.prepare, indices);
    const inForce = await openProgram(plugin, program, await this.options(vpp, false));
    this.log.say(`program of node ${this.config.node}: ${programText(program)}`);
    await this.apply(vpp, steps.bind, indices);
    await this.restoreOwed(vpp, plugin, inForce);
    this.inForce = inForce;
    await this.apply(vpp, steps.settle, indices);
    await this.settleHostStack(vpp, desired, indices);
  }

  /** What runs is known: differences. */
  private async goOn(
    vpp: Asking, plugin: Plugin, program: Program, desired: Desired, observed: Observed,
  ): Promise<void> {
    const steps = this.steps(desired, observed, false);
    const indices = indicesOf(desired.interfaces, observed);
    await this.apply(vpp, steps.prepare, indices);
    try {
      const text = await advance(plugin, this.inForce!, program);
      if (text !== undefined) this.log.say(`program: ${text}`);
    } catch (error) {
      if (!(error instanceof Outgrown)) throw error;
      this.log.say(`program: ${error.message}: a larger core is built beside the running one`);
      return await this.replace(vpp, plugin, program, desired, await observe(vpp));
    }
    await this.apply(vpp, steps.bind, indices);
    await this.apply(vpp, steps.settle, indices);
    await this.settleHostStack(vpp, desired, indices);
  }

  /** Another core beside the running one, with its sessions. */
  private async replace(
    vpp: Asking, plugin: Plugin, program: Program, desired: Desired, observed: Observed,
  ): Promise<void> {
    // Interfaces of before keep their endpoints until the swap.
    const steps = this.steps(desired, observed, true);
    const indices = indicesOf(desired.interfaces, observed);
    await this.apply(vpp, steps.prepare, indices);
    const before = this.inForce;
    const inForce = await openProgram(plugin, program, await this.options(vpp, true));
    try {
      await this.apply(vpp, steps.bind, indices);
      const sessions = await sessionsFrom(vpp);
      const names = before ? namesOf(before)
        : namesByBindings(sessions, desired, observed, program);
      await this.restore(vpp, plugin, checkpointOf(sessions, names), inForce);
      await this.restoreOwed(vpp, plugin, inForce);
      await plugin.swap();
    } catch (error) {
      await plugin.discard().catch(() => {});
      throw error;
    }
    this.inForce = inForce;
    this.log.say(`program of node ${this.config.node}: ${programText(program)}; swapped in`);
    await this.apply(vpp, steps.settle, indices);
    await this.settleHostStack(vpp, desired, indices);
  }

  /** Those of the file, once for each VPP that is new. */
  private async restoreOwed(vpp: Asking, plugin: Plugin, inForce: InForce): Promise<void> {
    const checkpoint = this.isOwed ? readCheckpoint(this.config.state) : undefined;
    if (checkpoint) await this.restore(vpp, plugin, checkpoint, inForce);
    this.isOwed = false;
  }

  private async restore(
    vpp: Asking, plugin: Plugin, checkpoint: Uint8Array, { program, compiler }: InForce,
  ): Promise<void> {
    const { endpoints, peers = [] } = program;
    const numbers = {
      endpoints, peers,
      backendId: (backend: Parameters<typeof compiler.backendId>[0]) => compiler.backendId(backend),
    };
    const nowMs = (await plugin.status())!.nowMs;
    try {
      this.log.say(`sessions: ${restoredText(await restoreInto(vpp, checkpoint, numbers, nowMs))}`);
    } catch (error) {
      const { message } = error as Error;
      if (retvalOf(error) !== undefined || !/checkpoint/.test(message)) throw error;
      this.log.warn(`sessions: none came back: ${message}`);
    }
  }

  // ---- The rest ---------------------------------------------------------------------------------

  private steps(desired: Desired, observed: Observed, isNew: boolean) {
    const steps = difference(desired, observed, isNew);
    for (const problem of steps.problems) this.log.warn(problem);
    return steps;
  }

  private async apply(
    vpp: Asking, operations: Parameters<typeof apply>[1], indices: Indices,
  ): Promise<void> {
    await apply(vpp, operations, indices, (line) => this.log.say(line));
  }

  private async options(vpp: Asking, beside: boolean) {
    const { vpp: { pages, hugePages, workers }, sessions } = this.config;
    const { count } = await vpp.call("show_threads", {});
    return { workers: workers ?? count as number, sessions, pages, hugePages, beside };
  }

  private async settleHostStack(vpp: Asking, desired: Desired, indices: Indices): Promise<void> {
    const key = (each: DesiredHostStack): string => JSON.stringify(each);
    const now = new Set(desired.hostStack.map(key)), before = new Set(this.hostStack.map(key));
    const say = async (isAdd: boolean, each: DesiredHostStack): Promise<void> => {
      const index = indices.get(each.interface);
      if (index === undefined) return;
      try {
        await vpp.call("margay_host_stack_add_del", {
          is_add: isAdd, table_id: each.table, sw_if_index: index, via_table_id: each.via,
        });
      } catch (error) {
        if (!isAdd || retvalOf(error) !== VALUE_EXIST) throw error;
      }
      this.log.say(`host stack in table ${each.table}: ` +
        (isAdd ? `judged as from ${each.interface}` : "not judged any more"));
    };
    for (const each of this.hostStack) if (!now.has(key(each))) await say(false, each);
    for (const each of desired.hostStack) if (!before.has(key(each))) await say(true, each);
    this.hostStack = desired.hostStack;
  }
}

export function isRefusal(error: unknown): error is PushRefused {
  return error instanceof PushRefused;
}

function namesOf({ program, compiler }: InForce): Names {
  const { endpoints, peers = [] } = program;
  return { endpoints, peers, backendAt: (id) => compiler.backendAt(id) };
}

function programText({ endpoints, services, policies }: Program): string {
  const pods = endpoints.filter(({ kind, name }) => kind === "workload" && name !== "").length;
  return `${counted(pods, "pod")}, ${counted(services.length, "Service port")}, ` +
    `${counted(policies.length, "policy unit")}`;
}
