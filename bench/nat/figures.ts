// A figure: what was measured, the value, what it may be at most. Pushes of Services, ageing,
// memory a connection; in Node, and in the native engine where it is built.
import {
  BUCKET_BYTES, Reason, ROOT, ROOT_ARENA_NEXT, ROOT_SESSIONS4, ROOT_SESSIONS6, SESSION4_BYTES,
  SESSION6_BYTES, SLOT_REASON, TABLE_BUCKET_COUNT, TABLE_LIVE, TABLE_RECORDS_MAX,
} from "../../assembly/layout.ts";
import { bindRecords, Compiler } from "../../host/compile/program.ts";
import { configureRecord } from "../../host/compile/records.ts";
import type { Budgets, Program } from "../../host/model/program.ts";
import { clients, manyServices, oneService, serviceAt } from "./beds.ts";
import { engines, pass, type Engine } from "./engine.ts";
import { FRAME_IN, framesOf } from "./frames.ts";
import { median, quantile } from "./rows.ts";

export interface Figure {
  name: string;
  value: number;
  unit: string;
  target?: number;
  /** The same of others, measured before (targets.json). */
  reference?: number;
}
const count = (n: number): string => n.toLocaleString("en");
const IDLE_MS = 2 * 3_600_000;

function started(core: Uint8Array, budgets: Budgets, pages: number): Engine[] {
  const all = engines(core, pages, false);
  for (const engine of all) engine.stage(configureRecord(budgets));
  return all;
}

// ---- Services -----------------------------------------------------------------------------------

/** All Services into a fresh program, then one backend of one of them changed, again and again. */
export async function publishing(
  core: Uint8Array, services: number, changes: number, rounds: number,
): Promise<Figure[]> {
  const budgets: Budgets = {
    workers: 1, sessions4Max: 1024, sessions6Max: 16, endpointsMax: 64,
    servicesMax: services + 64, backendsMax: services * 16 + 65_536,
  };
  const whole = new Map<string, number[]>(), one = new Map<string, number[]>();
  const pushed = new Map<string, number[]>();
  const bytes: number[] = [];
  const note = (map: Map<string, number[]>, name: string, ms: number): void =>
    void map.set(name, [...(map.get(name) ?? []), ms]);
  for (let round = 0; round < rounds; round++) {
    for (const engine of started(core, budgets, 512 + Math.ceil(services / 10))) {
      const used = (): number => engine.memory.view.getUint32(ROOT + ROOT_ARENA_NEXT, true);
      const compiler = new Compiler(budgets);
      const program = manyServices(services);
      const empty: Program = { ...program, services: [] };
      engine.push(await compiler.compile(empty, 1));
      const before = used();
      const from = performance.now();
      engine.push(await compiler.compile(program, 2));
      note(whole, engine.name, performance.now() - from);
      bytes.push(used() - before);
      if (round === 0) {
        alter(engine, compiler, services, changes, (ms) => note(one, engine.name, ms));
        await change(engine, compiler, program, changes, (ms) => note(pushed, engine.name, ms));
      }
      engine.close();
    }
  }
  const what = `${count(services)} services x 10 backends`;
  return [
    ...[...whole].map(([name, all]): Figure =>
      ({ name: `${what} published, ${name}`, value: median(all), unit: "ms", target: 1000 })),
    { name: `${what}: tables`, value: median(bytes) / 2 ** 20, unit: "MiB" },
    ...[...one].flatMap(([name, all]): Figure[] => [
      { name: `one backend of ${what} changed, ${name}, median`, value: median(all), unit: "ms",
        target: 1 },
      { name: `one backend of ${what} changed, ${name}, p99`, value: quantile(all, 0.99),
        unit: "ms", target: 1 },
    ]),
    ...[...pushed].flatMap(([name, all]): Figure[] => [
      { name: `the same in a push of all, ${name}, median`, value: median(all), unit: "ms" },
      { name: `the same in a push of all, ${name}, p99`, value: quantile(all, 0.99), unit: "ms" },
    ]),
  ];
}

const WARM = 30;
/** One Service told by its name: what an agent does when its endpoints change. */
function alter(
  engine: Engine, compiler: Compiler, services: number, changes: number, note: (ms: number) => void,
): void {
  for (let i = 0; i < changes + WARM; i++) {
    const service = serviceAt((i * 41) % services, changes + WARM + i + 1);
    const from = performance.now();
    engine.stage(compiler.applyServices(new Map([[service.name, [service]]])));
    if (i >= WARM) note(performance.now() - from);
  }
}
/** The whole program once more, with one Service that is another. */
async function change(
  engine: Engine, compiler: Compiler, program: Program, changes: number,
  note: (ms: number) => void,
): Promise<void> {
  let { services } = program;
  for (let i = 0; i < changes + WARM; i++) {
    const at = (i * 37) % services.length;
    services = [...services];
    services[at] = serviceAt(at, i + 1);
    const next = { ...program, services };
    const from = performance.now();
    engine.push(await compiler.compile(next, 3 + i));
    if (i >= WARM) note(performance.now() - from);
  }
}

// ---- Ageing -------------------------------------------------------------------------------------

/** Records a call of age() visits. */
const CALL = 1000;
/** All records visited once: the calls' median, so that one which was cut in two is out. */
function sweep(engine: Engine, sessions: number, nowMs: number): { ns: number; gone: number } {
  const spent: number[] = [];
  let gone = 0;
  for (let at = 0; at < sessions; at += CALL) {
    const visits = Math.min(CALL, sessions - at);
    const from = performance.now();
    gone += engine.age(nowMs, visits);
    spent.push(((performance.now() - from) * 1e6) / visits);
  }
  return { ns: median(spent), gone };
}
/** Nanoseconds a visited record, sessions busy and sessions idle; few and many by turns. */
export async function ageing(
  core: Uint8Array, sizes: [number, number], rounds: number,
): Promise<Figure[]> {
  const visited = new Map<string, number[]>(), ended = new Map<string, number[]>();
  const all: { engine: Engine; sessions: number; key: string; frames: Uint8Array }[] = [];
  for (const sessions of sizes) {
    const budgets: Budgets = {
      workers: 1, sessions4Max: sessions, sessions6Max: 16, endpointsMax: 64, servicesMax: 64,
    };
    const program = oneService(4, "udp");
    const push = await new Compiler(budgets).compile(program, 1);
    const frames = framesOf(clients("", 4, sessions), 1);
    for (const engine of started(core, budgets, 512 + Math.ceil((sessions * 82) / 65_536))) {
      engine.push(push);
      engine.stage(bindRecords(program));
      const key = `${engine.name} ${sessions}`;
      all.push({ engine, sessions, key, frames });
      visited.set(key, []);
      ended.set(key, []);
    }
  }
  let now = 1_000_000;
  for (let round = 0; round < rounds; round++) {
    now += IDLE_MS;
    for (const { engine, sessions, key, frames } of all) {
      pass(engine, frames, now);
      visited.get(key)!.push(sweep(engine, sessions, now + 256).ns);
      const { ns, gone } = sweep(engine, sessions, now + IDLE_MS);
      if (gone < sessions * 0.99) throw new Error(`bench: ageing ended ${gone} of ${sessions}`);
      ended.get(key)!.push(ns);
      for (let i = 0; i < 3; i++) engine.age(now + IDLE_MS, sessions);
    }
  }
  for (const { engine } of [...all].reverse()) engine.close();
  const figures: Figure[] = [];
  for (const [what, map] of [["busy", visited], ["idle, ended", ended]] as const) {
    for (const [key, all] of map) {
      const [name, sessions] = key.split(" ") as [string, string];
      figures.push({
        name: `a record visited by ageing, ${what}, ${count(Number(sessions))} sessions, ${name}`,
        value: median(all), unit: "ns",
      });
    }
    for (const name of ["node", "native"]) {
      const [few, many] = sizes.map((each) => map.get(`${name} ${each}`));
      if (!few?.length || !many?.length) continue;
      figures.push({
        name: `ageing, ${what}, ${count(sizes[1])} / ${count(sizes[0])} sessions, ${name}`,
        value: median(many) / median(few), unit: "x", target: 2,
      });
    }
  }
  return figures;
}

// ---- Memory -------------------------------------------------------------------------------------

/** Packets over which the share of refused inserts is taken. */
const WINDOW = 1024;

/** Bytes of buckets and records a session, where one in a hundred inserts is first refused. */
export async function memoryOf(
  core: Uint8Array, family: 4 | 6, sessions: number,
): Promise<Figure[]> {
  const budgets: Budgets = {
    workers: 1, sessions4Max: family === 4 ? sessions : 16,
    sessions6Max: family === 6 ? sessions : 16, endpointsMax: 64, servicesMax: 64,
  };
  const program = oneService(family, "udp");
  const [engine, ...others] = started(core, budgets, 512 + Math.ceil((sessions * 146) / 65_536));
  for (const other of others) other.close();
  engine!.push(await new Compiler(budgets).compile(program, 1));
  engine!.stage(bindRecords(program));
  const { view, bytes } = engine!.memory;
  const table = ROOT + (family === 4 ? ROOT_SESSIONS4 : ROOT_SESSIONS6);
  const word = (field: number): number => view.getUint32(table + field, true);
  const frames = framesOf(clients("", family, sessions + 16 * WINDOW), 1);
  let refused = 0, packets = 0, live = 0;
  for (let from = 0; from < frames.length; from += FRAME_IN) {
    pass(engine!, frames.subarray(from, from + FRAME_IN), 256);
    for (let i = 0; i < 256; i++) {
      const reason: Reason = bytes[engine!.memory.slotOf(0, i) + SLOT_REASON]!;
      refused += Number(reason === Reason.SessionTableFull);
    }
    packets += 256;
    if (packets % WINDOW !== 0) continue;
    if (refused >= WINDOW / 100) {
      live = word(TABLE_LIVE);
      break;
    }
    refused = 0;
  }
  if (!live) throw new Error(`bench: ${packets} flows, and none of a hundred was refused`);
  const record = family === 4 ? SESSION4_BYTES : SESSION6_BYTES;
  const buckets = word(TABLE_BUCKET_COUNT) * BUCKET_BYTES;
  const all = buckets + (word(TABLE_RECORDS_MAX) + 1) * record;
  engine!.close();
  return [
    { name: `memory a connection, IPv${family}, a budget of ${count(sessions)}`,
      value: all / live, unit: "bytes", target: family === 4 ? 96 : 160 },
    { name: `sessions of that budget when 1 % of inserts first fail, IPv${family}`,
      value: (live / sessions) * 100, unit: "%" },
  ];
}
