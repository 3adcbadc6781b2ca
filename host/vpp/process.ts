// A VPP process of our own, for replays and measurements: started with one configuration in a
// directory of its own, driven by its CLI socket, always ended.
//
//   startup.conf ─► vpp ─► cli.sock ◄─ VppProcess.command("...") ─► text
//   close(): SIGTERM, after 5 s SIGKILL; the directory goes with it
//
// The CLI speaks telnet. A client whose terminal type is "vppctl" gets no prompt, no echo and no
// pager: a line in, text out, a NUL byte at its end.
//
// Limits: one command at a time; Linux. Pages of 4 KiB are enough: no huge page is needed.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SETPRIV = "/usr/bin/setpriv";
const START_SECONDS_MAX = 30;
const COMMAND_SECONDS_MAX = 30;
const STOP_SECONDS_MAX = 5;
/** IAC SB TERMINAL-TYPE IS "vppctl" IAC SE (RFC 1091). */
const TERMINAL_TYPE = Buffer.from([255, 250, 24, 0, ...Buffer.from("vppctl"), 255, 240]);

export interface VppOptions {
  /** Where VPP is installed: its program is prefix/bin/vpp. */
  prefix: string;
  /** The plugin's file, build/vpp/lib/vpp_plugins/margay_plugin.so. */
  plugin: string;
  /** More plugins of that VPP to load, by file name. */
  otherPlugins?: string[];
  /** How long an idle main loop sleeps; 0 = it spins, for measurements. Default 50. */
  pollSleepMicroseconds?: number;
  /** Sections of startup.conf that replace the defaults, by name: { buffers: "page-size 2M" }. */
  sections?: Record<string, string>;
}

/** VPP did not start, did not answer, or said that a command failed. */
export class VppError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "VppError";
  }
}

const pause = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

export class VppProcess {
  private output = "";
  private socket: Socket | undefined;
  private exited: string | undefined;

  private constructor(
    private readonly child: ChildProcess,
    /** Files of this run; gone after close(). */
    readonly directory: string,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (data) => { this.output = (this.output + data).slice(-4000); });
    }
    child.on("error", (error) => { this.exited ??= error.message; });
    child.on("exit", (code, signal) => { this.exited ??= signal ?? `status ${code}`; });
    process.once("exit", this.kill);
  }

  static async start(options: VppOptions): Promise<VppProcess> {
    const program = join(options.prefix, "bin", "vpp");
    for (const file of [program, options.plugin]) {
      if (!existsSync(file)) throw new VppError(`${file}: not there`);
    }
    const directory = mkdtempSync(join(tmpdir(), "margay-vpp-"));
    const configuration = join(directory, "startup.conf");
    writeFileSync(configuration, startupConfiguration(directory, options));
    // Ends with us, however we end: util-linux's setpriv asks the kernel for that.
    const guard = existsSync(SETPRIV) ? [SETPRIV, "--pdeathsig", "KILL"] : [];
    const [command, ...words] = [...guard, program, "-c", configuration];
    const child = spawn(command!, words, {
      cwd: directory, stdio: ["ignore", "pipe", "pipe"],
    });
    const vpp = new VppProcess(child, directory);
    try {
      await vpp.connect();
    } catch (error) {
      await vpp.close();
      throw error;
    }
    return vpp;
  }

  /** Runs a command and answers what it printed. VPP has no status: see `expect`. */
  command(line: string): Promise<string> {
    return this.exchange(Buffer.from(`${line}\n`), line);
  }

  /** Runs a command that prints a line starting with `beginning` when it has succeeded. */
  async expect(line: string, beginning: string): Promise<string> {
    const text = await this.command(line);
    if (!text.startsWith(beginning)) throw new VppError(text.trim() || `${line}: no answer`);
    return text;
  }

  /** Runs commands that print nothing when they succeed. */
  async quietly(...lines: string[]): Promise<void> {
    for (const line of lines) {
      const text = (await this.command(line)).trim();
      if (text) throw new VppError(`${line}: ${text}`);
    }
  }

  /** VPP's process id. */
  get pid(): number {
    return this.child.pid!;
  }

  /** Ends it as a crash would; close() is still to be called. */
  async kill9(): Promise<void> {
    if (this.exited !== undefined) return;
    const exit = new Promise<void>((done) => { this.child.once("exit", () => done()); });
    this.kill();
    await exit;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  async close(): Promise<void> {
    this.socket?.destroy();
    const exit = this.exited === undefined
      ? new Promise<void>((done) => { this.child.once("exit", () => done()); })
      : Promise.resolve();
    if (this.exited === undefined) this.child.kill("SIGTERM");
    const killer = setTimeout(this.kill, STOP_SECONDS_MAX * 1000);
    await exit;
    clearTimeout(killer);
    process.removeListener("exit", this.kill);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private readonly kill = (): void => {
    if (this.exited === undefined) this.child.kill("SIGKILL");
  };

  private async connect(): Promise<void> {
    const path = this.path("cli.sock");
    const deadline = Date.now() + START_SECONDS_MAX * 1000;
    let socket: Socket | undefined;
    // The file is there a moment before VPP listens: until then it refuses.
    while (!existsSync(path) || !(socket = await connected(path))) {
      if (this.exited !== undefined) throw this.failure(`VPP ended at its start (${this.exited})`);
      if (Date.now() > deadline) throw this.failure(`VPP has no CLI after ${START_SECONDS_MAX} s`);
      await pause(20);
    }
    this.socket = socket;
    socket.write(TERMINAL_TYPE);
    const version = await this.command("show version");
    if (!/\bvpp v/.test(version)) throw this.failure(`unexpected answer: ${version}`);
  }

  private exchange(request: Buffer, what: string): Promise<string> {
    const socket = this.socket;
    return new Promise((done, fail) => {
      if (!socket || socket.destroyed) {
        fail(this.failure(`${what}: VPP is gone (${this.exited ?? "its CLI is closed"})`));
        return;
      }
      const parts: Buffer[] = [];
      const finish = (settle: () => void) => {
        clearTimeout(timer);
        socket.off("data", take).off("close", gone);
        settle();
      };
      const take = (data: Buffer) => {
        parts.push(data);
        if (data[data.length - 1] !== 0) return;
        const text = Buffer.concat(parts).filter((byte) => byte !== 0 && byte !== 13);
        finish(() => done(Buffer.from(text).toString("latin1")));
      };
      const gone = () => finish(() => {
        // The reason of VPP's end comes a moment after its socket.
        const why = () => fail(this.failure(`${what}: VPP ended (${this.exited ?? "unknown"})`));
        setTimeout(why, 200);
      });
      const timer = setTimeout(() => finish(() => {
        fail(this.failure(`${what}: no answer in ${COMMAND_SECONDS_MAX} s`));
      }), COMMAND_SECONDS_MAX * 1000);
      socket.on("data", take).on("close", gone);
      socket.write(request);
    });
  }

  private failure(message: string): VppError {
    const log = this.path("vpp.log");
    const tail = existsSync(log) ? readFileSync(log, "utf8").slice(-500) : "";
    return new VppError([message, this.output.trim(), tail.trim()].filter(Boolean).join("\n"));
  }
}

/** A connection over which VPP has asked for the terminal type; its options are of no interest. */
function connected(path: string): Promise<Socket | undefined> {
  const socket = connect(path);
  // An error also closes, now as later.
  socket.on("error", () => {});
  return new Promise((done) => {
    socket.once("data", () => done(socket));
    socket.once("close", () => done(undefined));
  });
}

/** Memory for a replay, and a main loop that leaves the processor to others. */
function startupConfiguration(directory: string, options: VppOptions): string {
  const at = (name: string) => join(directory, name);
  const plugins = ["margay_plugin.so", ...(options.otherPlugins ?? [])];
  const slash = options.plugin.lastIndexOf("/");
  const path = options.otherPlugins?.length ? "add-path" : "path";
  const sections: Record<string, string> = {
    unix: `nodaemon nosyslog nocolor cli-listen ${at("cli.sock")} runtime-dir ${directory} `
      + `log ${at("vpp.log")} poll-sleep-usec ${options.pollSleepMicroseconds ?? 50}`,
    "api-segment": `prefix ${directory.slice(directory.lastIndexOf("/") + 1)}`,
    memory: "main-heap-size 512M main-heap-page-size 4k",
    buffers: "page-size 4K buffers-per-numa 8192",
    socksvr: `socket-name ${at("api.sock")}`,
    statseg: `size 32M page-size 4k socket-name ${at("stats.sock")}`,
    plugins: `${path} ${options.plugin.slice(0, slash)} plugin default { disable } `
      + plugins.map((name) => `plugin ${name} { enable }`).join(" "),
    ...options.sections,
  };
  return Object.entries(sections).map(([name, text]) => `${name} { ${text} }\n`).join("");
}
