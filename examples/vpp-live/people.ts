// Who lives in the pods: pages that say which pod answers, visitors, and a client that keeps one
// connection open and goes on asking over it. All are processes of their own, in namespaces.
//
//   page     node http on 8080: {"pod", "from"}; it never closes a connection by itself
//   visit    curl, once
//   keeper   one keep-alive connection, a question every 40 ms; what it got, as lines of JSON
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import type { PodNet } from "./pods.ts";

const PORT = 8080;

const PAGE = (pod: string): string => `
  require("http").createServer({ keepAliveTimeout: 0 }, (request, response) => {
    response.end(JSON.stringify({ pod: "${pod}", from: request.socket.remotePort }) + "\\n");
  }).listen(${PORT}, "0.0.0.0", () => console.log("listening"));`;

const KEEPER = (url: string): string => `
  const http = require("http");
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = () => {
    const begun = Date.now();
    const again = (line) => {
      console.log(JSON.stringify({ begun, ms: Date.now() - begun, ...line }));
      setTimeout(ask, 40);
    };
    http.get("${url}", { agent }, (response) => {
      let text = "";
      response.on("data", (part) => text += part);
      response.on("end", () => again(JSON.parse(text)));
    }).on("error", (error) => again({ error: error.message }));
  };
  ask();`;

export interface Answer {
  begun: number;
  ms: number;
  pod?: string;
  from?: number;
  error?: string;
}

const inside = ({ namespace }: PodNet, ...args: string[]): string[] =>
  ["netns", "exec", namespace, ...args];

/** Processes in pods; end() ends all of them. */
export class People {
  private readonly children: ChildProcess[] = [];

  page(net: PodNet): Promise<void> {
    const child = this.start(net, PAGE(net.name));
    return new Promise((done, fail) => {
      child.stdout!.once("data", () => done());
      child.once("exit", () => fail(new Error(`${net.name}: its page ended`)));
    });
  }

  /** Asks for as long as it lives; `answers` grows. */
  keeper(net: PodNet, url: string): { answers: Answer[] } {
    const answers: Answer[] = [];
    let rest = "";
    this.start(net, KEEPER(url)).stdout!.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop()!;
      for (const line of lines) answers.push(JSON.parse(line) as Answer);
    });
    return { answers };
  }

  private start(net: PodNet, script: string): ChildProcess {
    const child = spawn("ip", inside(net, process.execPath, "-e", script),
      { stdio: ["ignore", "pipe", "inherit"] });
    this.children.push(child);
    return child;
  }

  end(): void {
    for (const child of this.children.splice(0)) child.kill("SIGKILL");
  }
}

/** One visit by curl: the pod that answered, or undefined where nobody did in time. */
export function visit(net: PodNet, url: string, seconds = 1): string | undefined {
  const { status, stdout } = spawnSync("ip",
    inside(net, "curl", "-s", "-m", String(seconds), url), { encoding: "utf8" });
  return status === 0 ? (JSON.parse(stdout) as Answer).pod : undefined;
}
