// The live sample: real clients in pods, through VPP, under an agent; and both of them killed.
//
//   visits ─ a stranger ─ policy changed ─ agent killed, twice ─ VPP killed ─► what was seen
//
// One connection is kept open from the first step to the last, and goes on being asked over. All
// is bounded in time, and taken away at the end, whatever happens.
import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VppInstall } from "../../host/vpp/install.ts";
import { VppProcess } from "../../host/vpp/process.ts";
import { People, visit, type Answer } from "./people.ts";
import { Pods } from "./pods.ts";

const SAMPLE = "examples/vpp-live";
const COMMAND = "dist/margay.js";
const VIP = "http://10.96.0.80/";
const STEP_MS_MAX = 20_000;
/** A packet that a busy machine loses is sent again after a second. */
const ANSWER_SECONDS_MAX = 3;
const FOREVER_MS = 120_000;

export interface Seen {
  id: "service" | "stranger" | "policy" | "agent" | "beside" | "vpp";
  isRight: boolean;
  text: string;
}

export interface LiveOptions {
  install: VppInstall;
  /** What happens, line by line. */
  say: (line: string) => void;
}

const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** Polls until it is so; false where it is not in time. */
async function until(isSo: () => boolean, ms = STEP_MS_MAX): Promise<boolean> {
  for (const end = Date.now() + ms; Date.now() < end; await pause(50)) if (isSo()) return true;
  return false;
}

export async function live({ install, say }: LiveOptions): Promise<Seen[]> {
  const stage = new Stage(install, say);
  const timer = setTimeout(() => stage.close(), FOREVER_MS);
  const leave = (): void => { void stage.close().then(() => process.exit(1)); };
  process.once("SIGINT", leave).once("SIGTERM", leave);
  try {
    return await stage.play();
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", leave).off("SIGTERM", leave);
    await stage.close();
  }
}

class Stage {
  private readonly folder = mkdtempSync(join(tmpdir(), "margay-live-"));
  private readonly people = new People();
  private pods: Pods | undefined;
  private vpp: VppProcess | undefined;
  private agent: ChildProcess | undefined;
  private readonly agentLines: string[] = [];
  private readonly seen: Seen[] = [];
  private closing: Promise<void> | undefined;

  constructor(private readonly install: VppInstall, private readonly say: (line: string) => void) {}

  async play(): Promise<Seen[]> {
    const pods = this.pods = Pods.make();
    this.say(`pods: ${pods.nets.map(({ name, address }) => `${name} ${address}`).join(", ")}`);
    cpSync(join(SAMPLE, "manifests"), join(this.folder, "manifests"), { recursive: true });
    const text = readFileSync(join(SAMPLE, "margay.yaml"), "utf8");
    writeFileSync(join(this.folder, "margay.yaml"),
      text.replace(/\$([\w-]+)/g, (_, name: string) => pods.get(name).veth));
    mkdirSync(join(this.folder, "run"));
    this.startAgent();
    await this.startVpp();
    await Promise.all(["web-1", "web-2"].map((name) => this.people.page(pods.get(name))));
    await this.service();
    const keeper = this.people.keeper(pods.get("client"), VIP);
    await until(() => keeper.answers.length > 5);
    await this.stranger();
    await this.policy(keeper.answers);
    await this.agentKilled(keeper.answers);
    await this.stateLost(keeper.answers);
    await this.vppKilled(keeper.answers);
    return this.seen;
  }

  // ---- What is looked at ------------------------------------------------------------------------

  private async service(): Promise<void> {
    const client = this.pods!.get("client");
    const came = await until(() => visit(client, VIP) !== undefined);
    const pages = Array.from({ length: 20 }, () => visit(client, VIP, ANSWER_SECONDS_MAX));
    const count = (pod: string): number => pages.filter((page) => page === pod).length;
    const split = `web-1 ${count("web-1")}, web-2 ${count("web-2")}`;
    this.note("service", came && count("web-1") + count("web-2") === 20 && count("web-1") > 0 &&
      count("web-2") > 0, `20 visits of the client at ${VIP}: ${split}`);
  }

  private async stranger(): Promise<void> {
    const page = visit(this.pods!.get("stranger"), VIP);
    const direct = visit(this.pods!.get("stranger"), "http://10.65.0.11:8080/");
    this.note("stranger", page === undefined && direct === undefined,
      `the stranger, at the Service and at a page itself: ${page ?? "nobody"}, ` +
        `${direct ?? "nobody"} answered`);
  }

  /** The label that policy names is another one for a while. */
  private async policy(answers: Answer[]): Promise<void> {
    const client = this.pods!.get("client");
    this.editPolicy("app: client", "app: nobody");
    const closed = await until(() => visit(client, VIP) === undefined);
    const from = answers.length;
    await until(() => answers.length > from + 10);
    const kept = isKept(answers) && answers.length > from + 10;
    this.editPolicy("app: nobody", "app: client");
    const opened = await until(() => visit(client, VIP) !== undefined);
    this.note("policy", closed && kept && opened,
      `policy changed: new connections ${closed ? "refused" : "still let in"}, the open one ` +
        `${kept ? "lives on" : "broke"}; changed back: ${opened ? "let in again" : "refused"}`);
  }

  private async agentKilled(answers: Answer[]): Promise<void> {
    const before = await this.objects();
    this.agent!.kill("SIGKILL");
    const from = answers.length;
    await until(() => answers.length > from + 10);
    this.editPolicy("app: client", "app: nobody");
    this.startAgent();
    const client = this.pods!.get("client");
    const closed = await until(() => visit(client, VIP) === undefined);
    this.editPolicy("app: nobody", "app: client");
    const opened = await until(() => visit(client, VIP) !== undefined);
    const slowest = Math.max(...answers.slice(from).map(({ ms }) => ms));
    const after = await this.objects();
    const isRight = closed && opened && isKept(answers) && slowest < 500 && before === after;
    this.note("agent", isRight,
      `agent killed and back: ${answers.length - from} answers meanwhile, the slowest after ` +
        `${slowest} ms; its new life ${closed && opened ? "changes" : "does not change"} policy; ` +
        (before === after ? "interfaces, routes and neighbours are the same" : "objects leaked"));
  }

  /** An agent that knows nothing of the one before: a core of its own, beside and swapped in. */
  private async stateLost(answers: Answer[]): Promise<void> {
    const before = await this.objects();
    this.agent!.kill("SIGKILL");
    rmSync(join(this.folder, "state"), { recursive: true });
    const from = answers.length;
    const lines = this.agentLines.length;
    this.startAgent();
    const swapped = await until(() => this.agentLines.slice(lines).some((line) =>
      line.includes("swapped in")));
    const then = answers.length;
    await until(() => answers.length > then + 10);
    const slowest = Math.max(...answers.slice(from).map(({ ms }) => ms));
    const after = await this.objects();
    this.note("beside", swapped && isKept(answers) && slowest < 500 && before === after,
      `agent killed, its state lost: another core ${swapped ? "took over" : "did not come"}, the ` +
        `open connection ${isKept(answers) ? "lives on" : "broke"}, the slowest answer after ` +
        `${slowest} ms`);
  }

  private async vppKilled(answers: Answer[]): Promise<void> {
    const last = answers.at(-1)!;
    // A checkpoint is half a second old at most.
    await pause(1_000);
    const killed = Date.now();
    await this.vpp!.kill9();
    this.say(`VPP ${this.vpp!.pid}: killed`);
    await this.startVpp();
    const back = await until(() => answers.at(-1)!.begun > killed + 500);
    const went = answers.find(({ begun, ms }) => begun + ms > killed + 500);
    const gap = went ? went.begun + went.ms - killed : undefined;
    const page = visit(this.pods!.get("client"), VIP, ANSWER_SECONDS_MAX);
    const same = answers.at(-1)!.from === last.from && answers.at(-1)!.pod === last.pod;
    const broke = answers.find((each) => !isKept([answers[0]!, each]));
    this.note("vpp", back && isKept(answers) && same && page !== undefined,
      `VPP killed and back: the open connection ${same && isKept(answers) ? "goes on" : "broke"} ` +
        `after ${gap ?? "more than all"} ms; new visits: ${page ?? "nobody"} answers` +
        (broke ? ` (${JSON.stringify(broke)})` : ""));
  }

  private note(id: Seen["id"], isRight: boolean, text: string): void {
    this.seen.push({ id, isRight, text });
    this.say(`${isRight ? "✓" : "✗"} ${text}`);
  }

  /** What VPP has, by its CLI. */
  private async objects(): Promise<string> {
    const interfaces = (await this.vpp!.command("show interface")).split("\n")
      .filter((line) => /\b(up|down)\b/.test(line))
      .map((line) => line.trim().split(/\s+/)[0]).sort();
    const neighbours = await this.vpp!.command("show ip neighbors");
    const fib = await this.vpp!.command("show ip fib summary");
    return JSON.stringify([interfaces, neighbours.split("\n").length, fib]);
  }

  private editPolicy(from: string, to: string): void {
    const file = join(this.folder, "manifests/policy.yaml");
    writeFileSync(file, readFileSync(file, "utf8").replace(from, to));
  }

  // ---- Who acts ---------------------------------------------------------------------------------

  private startAgent(): void {
    const child = spawn(process.execPath,
      [COMMAND, "run", "--config", join(this.folder, "margay.yaml")],
      { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (data) => {
        for (const line of String(data).split("\n").filter(Boolean)) {
          this.agentLines.push(line);
          this.say(`  agent: ${line}`);
        }
      });
    }
    this.agent = child;
  }

  private async startVpp(): Promise<void> {
    const run = join(this.folder, "run");
    rmSync(join(run, "api.sock"), { force: true });
    const before = this.vpp;
    this.vpp = await VppProcess.start({
      ...this.install, otherPlugins: ["af_packet_plugin.so"],
      sections: { socksvr: `socket-name ${join(run, "api.sock")}` },
    });
    await before?.close();
    this.say(`VPP ${this.vpp.pid}: started`);
  }

  close(): Promise<void> {
    this.closing ??= (async () => {
      this.agent?.kill("SIGKILL");
      this.people.end();
      await this.vpp?.close();
      this.pods?.remove();
      rmSync(this.folder, { recursive: true, force: true });
    })();
    return this.closing;
  }
}

/** Every question was answered, by one page over one connection. */
function isKept(answers: readonly Answer[]): boolean {
  return answers.length > 0 && answers.every(({ error, pod, from }) =>
    error === undefined && pod === answers[0]!.pod && from === answers[0]!.from);
}
