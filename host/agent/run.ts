// `margay run`, as a process: connections, signals, timers; the agent does the rest.
//
//   connect ─► reconcile ─► (changed manifests: update │ timer: checkpoint)* ─► VPP gone: again
//   SIGINT, SIGTERM ─► a last checkpoint ─► status 0; VPP goes on
//   --once: connect, reconcile, checkpoint ─► status 0
//
// Exit status of --once: 1 the program is refused, 2 configuration or manifests can't be used,
// 3 there is no VPP, or one without the plugin. Without it, what can't be done now is told, and
// tried again after the next change or connection.
import { existsSync } from "node:fs";
import { CommandError } from "../command-error.ts";
import { startEmitter } from "../compile/emitter.ts";
import { makeFolder } from "../folder.ts";
import { VppClient } from "../vpp/api/index.ts";
import { Agent, isRefusal } from "./agent.ts";
import { readConfig, type Config } from "./config.ts";
import { lockState } from "./lock.ts";
import { AgentLog, counted } from "./log.ts";
import { watchManifests } from "./source.ts";

const WAIT_MS = { least: 100, most: 2_000 };
const CONNECT_SECONDS_MAX = 5;
/** After what could not be done at a connection: a veth may come later than VPP. */
const AGAIN_MS = 2_000;
const STATUS_REFUSED = 1, STATUS_ABSENT = 3;
const PLUGIN_MESSAGE = "margay_status_get";

export interface RunOptions {
  config: string;
  once?: boolean;
  /** Ends it as a signal would. */
  signal?: AbortSignal;
}

/** The exit status. */
export async function runAgent(options: RunOptions, log = new AgentLog()): Promise<number> {
  startEmitter();
  const config = readConfig(options.config);
  try {
    makeFolder(config.state);
  } catch (error) {
    throw new CommandError(`${options.config}: state: ${(error as Error).message}`);
  }
  const unlock = lockState(config.state);
  try {
    return options.once ? await once(config, log) : await new Life(config, log, options).run();
  } finally {
    unlock();
  }
}

async function connect(config: Config): Promise<VppClient> {
  const { socket } = config.vpp;
  let vpp: VppClient;
  try {
    vpp = await VppClient.connect({
      socket, name: "margay", connectSecondsMax: CONNECT_SECONDS_MAX,
    });
  } catch (error) {
    const why = existsSync(socket) ? (error as Error).message : "VPP's API socket is not there";
    throw new CommandError(`${socket}: ${why}`, STATUS_ABSENT);
  }
  if (await vpp.has(PLUGIN_MESSAGE)) return vpp;
  vpp.close();
  throw new CommandError(`${socket}: VPP runs without the margay plugin`, STATUS_ABSENT);
}

async function once(config: Config, log: AgentLog): Promise<number> {
  const vpp = await connect(config);
  const agent = new Agent(config, log);
  try {
    await agent.reconcile(vpp);
    await agent.checkpoint(vpp);
    log.say("done");
    return 0;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    log.fail(`the program is refused: ${error.message}`);
    return STATUS_REFUSED;
  } finally {
    vpp.close();
  }
}

class Life {
  private readonly agent: Agent;
  private vpp: VppClient | undefined;
  private isEnding = false;
  private wake = (): void => {};
  /** What is being done; the next waits for it. */
  private doing: Promise<unknown> = Promise.resolve();
  private waitsFor = new Set<string>();
  private told = "";

  constructor(
    private readonly config: Config, private readonly log: AgentLog,
    private readonly options: RunOptions,
  ) {
    this.agent = new Agent(config, log);
  }

  async run(): Promise<number> {
    const end = (): void => {
      this.isEnding = true;
      this.wake();
    };
    process.on("SIGINT", end);
    process.on("SIGTERM", end);
    this.options.signal?.addEventListener("abort", end, { once: true });
    const unwatch = watchManifests(this.config.manifests, () => {
      this.inTurn("update", () => this.update());
    });
    const timer = setInterval(() => this.inTurn("checkpoint", () => this.checkpoint()),
      this.config.checkpointSeconds * 1_000);
    try {
      await this.keepConnected();
    } finally {
      clearInterval(timer);
      unwatch();
      await this.doing;
      await this.checkpoint().catch(() => {});
      this.vpp?.close();
      process.off("SIGINT", end);
      process.off("SIGTERM", end);
      this.log.say("the agent ends; VPP goes on");
    }
    return 0;
  }

  private async keepConnected(): Promise<void> {
    let wait = WAIT_MS.least;
    while (!this.isEnding) {
      try {
        const vpp = await connect(this.config);
        wait = WAIT_MS.least;
        this.told = "";
        await this.stay(vpp);
      } catch (error) {
        if (!(error instanceof CommandError)) throw error;
        if (this.told !== error.message) this.log.warn(`${error.message}: waiting for it`);
        this.told = error.message;
      }
      if (!this.isEnding) await this.pause(wait);
      wait = Math.min(WAIT_MS.most, wait * 2);
    }
  }

  /** Until the connection ends, or the agent is to end. */
  private async stay(vpp: VppClient): Promise<void> {
    let isGone = false;
    vpp.on("close", () => {
      isGone = true;
      this.vpp = undefined;
      this.agent.disconnected();
      this.wake();
    });
    this.vpp = vpp;
    this.log.say(`VPP ${vpp.pid}: connected`);
    this.inTurn("reconcile", () => this.reconcile(vpp));
    while (!isGone && !this.isEnding) await this.pause();
    if (isGone) this.log.warn("VPP is gone: waiting for it");
  }

  private async reconcile(vpp: VppClient): Promise<void> {
    const isDone = await this.guarded("reconcile", () => this.agent.reconcile(vpp));
    if (isDone || this.isEnding || this.vpp !== vpp) return;
    setTimeout(() => {
      if (this.vpp === vpp) this.inTurn("reconcile", () => this.reconcile(vpp));
    }, AGAIN_MS).unref();
  }

  private async pause(ms?: number): Promise<void> {
    await new Promise<void>((done) => {
      const timer = ms === undefined ? undefined : setTimeout(done, ms);
      this.wake = () => {
        clearTimeout(timer);
        done();
      };
      if (this.isEnding || (ms === undefined && !this.vpp)) this.wake();
    });
  }

  /** One thing at a time; what waits already is not asked for twice. */
  private inTurn(name: string, what: () => Promise<void>): void {
    if (this.waitsFor.has(name)) return;
    this.waitsFor.add(name);
    this.doing = this.doing.then(async () => {
      this.waitsFor.delete(name);
      await what();
    });
  }

  private async update(): Promise<void> {
    const { vpp } = this;
    if (vpp) await this.guarded("manifests", () => this.agent.update(vpp));
  }

  private async checkpoint(): Promise<void> {
    const { vpp } = this;
    if (!vpp) return;
    await this.guarded("checkpoint", async () => {
      const count = await this.agent.checkpoint(vpp);
      if (count === undefined || count === this.saved) return;
      this.saved = count;
      this.log.say(`checkpoint: ${counted(count, "session")}`);
    });
  }
  private saved: number | undefined;

  private async guarded(what: string, run: () => Promise<void>): Promise<boolean> {
    try {
      await run();
      this.fault = "";
      return true;
    } catch (error) {
      if (!this.vpp) return false; // said where the connection ended
      const why = isRefusal(error) ? `refused: ${error.message}; nothing changed`
        : (error as Error).message;
      if (this.fault !== why) this.log.fail(`${what}: ${why}`);
      this.fault = why;
      return false;
    }
  }
  /** What failed last; the same is told once. */
  private fault = "";
}
