// Services changed in place under traffic: two threads open flows to one Service while the control
// side replaces its backends and puts, replaces and takes away neighbours in the same hash chains,
// thousands of times. Every packet must go to a whole backend of some set that was in force, none
// may find the Service without backends; and the arena stays flat.
import { Worker } from "node:worker_threads";
import { build } from "esbuild";
import { afterAll, expect, test } from "vitest";
import { ROOT, ROOT_ARENA_NEXT } from "../../assembly/layout.ts";
import { Compiler, bindRecords } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import { NodeDataplane } from "../../host/dataplane/node.ts";
import type { Backend, Budgets, Program, Service } from "../../host/model/program.ts";
import { audit } from "../stress/audit.ts";
import { packet } from "../packets.ts";
import { CLIENT, core } from "../shop.ts";
import type { ServicesJob, ServicesReport } from "./services-worker.ts";

const CHANGES = Number(process.env["SERVICES_CHANGES"] ?? 3000);
const WORKERS = 2, NEIGHBOURS = 48;
const VIP = "10.96.0.80";
const budgets: Budgets = {
  workers: WORKERS + 1, sessions4Max: 1 << 16, sessions6Max: 64, endpointsMax: 16,
  servicesMax: 64, timeoutsMs: [1000, 0, 0, 0, 0, 0],
};
/** Backend n of set `round`; its port follows from its address. */
const backend = (round: number, n: number): Backend => ({
  name: `${round}.${n}`, address: `10.1.${round % 16}.${n + 1}`, port: 5000 + (round % 16) * 64 + n,
});
const web = (round: number): Service => ({
  name: "shop/web", address: VIP, port: 53, protocol: "udp",
  backends: Array.from({ length: 1 + round % 5 }, (_, n) => backend(round, n)),
});
const neighbour = (i: number, round: number): Service => ({
  name: `shop/n${i}`, address: `10.96.1.${i}`, port: 53, protocol: "udp",
  backends: [backend(round + i, 7)],
});
const program = (): Program => ({
  endpoints: [
    { name: "client", kind: "workload", interfaces: [CLIENT], addresses: ["10.0.0.1"] },
    { name: "eth0", kind: "uplink", interfaces: [9], addresses: [] },
  ],
  routes: [{ prefix: "0.0.0.0/0", uplink: "eth0" }],
  policies: [],
  services: [web(0), ...Array.from({ length: NEIGHBOURS }, (_, i) => neighbour(i, 0))],
});

const threads: Worker[] = [];
afterAll(() => Promise.all(threads.map((thread) => thread.terminate())));

test("services-in-place: thousands of changes under two threads, each packet to a whole backend",
  async () => {
    const control = new NodeDataplane(core, { workers: budgets.workers, memoryPages: 1024 });
    const compiler = new Compiler(budgets);
    control.stage(configureRecord(budgets));
    const first = await compiler.compile(program(), 1);
    control.push(first);
    control.stage(bindRecords(program()));
    await build({
      entryPoints: ["test/swap/services-worker.ts"], outfile: "build/test/services-worker.mjs",
      bundle: true, platform: "node", format: "esm", packages: "external", logLevel: "warning",
    });
    const reports = Array.from({ length: WORKERS }, (_, worker) => {
      const fresh = {
        interface: CLIENT, bytes: packet({ from: "10.0.0.1", to: VIP, protocol: "udp", port: 53 }),
      };
      const job: ServicesJob = {
        core, memory: control.shared, worker, workers: budgets.workers, modules: first.modules,
        fresh, freshEach: 32,
      };
      const thread = new Worker("./build/test/services-worker.mjs", { workerData: job });
      threads.push(thread);
      return new Promise<ServicesReport>((done, fail) => {
        thread.on("error", fail);
        thread.on("message", ({ report }: { report?: ServicesReport }) => report && done(report));
      });
    });
    await Promise.all(threads.map((thread) => new Promise((go) => thread.once("message", go))));
    let flat = 0;
    for (let round = 1; round <= CHANGES; round++) {
      const i = round % NEIGHBOURS, gone = (round + 7) % NEIGHBOURS;
      control.stage(compiler.applyServices(new Map([
        ["shop/web", [web(round)]],
        [`shop/n${i}`, [neighbour(i, round)]],
        [`shop/n${gone}`, []],
      ])));
      if (round % 16 === 0) await new Promise((go) => setImmediate(go)); // the threads' messages
      if (round === CHANGES >> 1) flat = arena(control);
    }
    for (const thread of threads) thread.postMessage("stop");
    const known = new Set(Array.from({ length: 16 * 5 }, (_, i) => {
      const { address, port } = backend(i % 16, Math.floor(i / 16));
      return `${address}:${port}`;
    }));
    for (const report of await Promise.all(reports)) {
      expect(report.others).toEqual({});
      expect(Object.keys(report.backends).filter((each) => !known.has(each))).toEqual([]);
      expect(Object.keys(report.backends).length).toBeGreaterThan(16);
      console.log(`services in place: ${CHANGES} changes, ${report.frames} frames, ` +
        `${report.packets} packets to ${Object.keys(report.backends).length} backends`);
    }
    // What waits for a thread that lost its CPU in a frame; a leak would be of megabytes.
    expect(arena(control) - flat).toBeLessThan(512 << 10);
    expect(audit(control.memory).problems).toEqual([]);
  }, 240_000);

function arena(control: NodeDataplane): number {
  return control.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
}
