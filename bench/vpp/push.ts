// A thousand pushes while packets pass at full rate: lost packets, lost sessions, the worst frame.
//
//   traffic alone ─► worst frame of the node (what the machine itself does)
//   traffic, and push after push ─► worst frame, packets in = out, sessions as before
//
// A frame's delay is the clocks of the longest call of margay-ip4-input (`show runtime max`): what
// else runs on the core counts too, which is why it is measured without pushes as well.

import type { Bed } from "./bed.ts";
import { worstRules } from "./bed.ts";
import { percentile, pushVersion, reasons } from "./load.ts";
import { trafficOf } from "./measure.ts";
import { type Install, pause, Rig } from "./rig.ts";

const FLOWS = 10_000, RULES = 100;
const BED: Bed = {
  family: 4, peer: "cnat", services: 1, sessions: 2 * FLOWS, policy: worstRules(RULES),
};
const NODE = "margay-ip4-input";
const QUIET_SECONDS_MAX = 20;

export interface PushFigures {
  pushes: number;
  packets: number;
  lost: number;
  sessionsLost: number;
  /** Longest calls of the node, in microseconds: with pushes, and without for as long. */
  worstMicroseconds: number;
  quietMicroseconds: number;
  /** Milliseconds of a push: compiling, and until it is in force. */
  compiled: { median: number; p99: number };
  inForce: { median: number; p99: number };
  counted: Record<string, number>;
}

/** The longest call of a node since `clear runtime`, of any thread, in clocks. */
export function longestCall(text: string, node: string): number {
  const longest = [...text.matchAll(new RegExp(`^${node}\\s+(?:\\S+\\s+)*?(\\d\\S*)\\s`, "gm"))]
    .map(([, clocks]) => Number(clocks));
  return Math.max(0, ...longest);
}

async function clockRate(rig: Rig): Promise<number> {
  const text = await rig.vpp.command("show cpu");
  const gigahertz = Number(/Base frequency:\s+([\d.]+) GHz/.exec(text)?.[1] ?? Number.NaN);
  if (!(gigahertz > 0)) throw new Error(`show cpu: no base frequency in ${text}`);
  return gigahertz * 1000;
}

export async function pushUnderLoad(
  install: Install, pushes: number, log: (text: string) => void,
): Promise<PushFigures> {
  const rig = await Rig.start(install, BED);
  try {
    const traffic = trafficOf(rig);
    await rig.flows("margay", traffic, { count: FLOWS });
    await rig.burst("margay", traffic, FLOWS);
    const sessions = await rig.sessions("margay");
    await rig.flows("margay", traffic, { count: FLOWS, random: true });
    await rig.stream("load", "margay", traffic);
    const perMicrosecond = await clockRate(rig);
    await rig.clearCounters();
    const worst = async (run: () => Promise<void>): Promise<number> => {
      await rig.enable("load", "margay");
      await pause(200);
      await rig.vpp.command("clear runtime");
      await run();
      const clocks = longestCall(await rig.vpp.command("show runtime max"), NODE);
      await rig.disable("load", "margay");
      return clocks / perMicrosecond;
    };
    const compiled: number[] = [], inForce: number[] = [];
    const started = Date.now();
    const worstMicroseconds = await worst(async () => {
      for (let v = 1; v <= pushes; v++) {
        const made = await pushVersion(rig, v);
        compiled.push(made.compiled);
        inForce.push(made.inForce);
      }
    });
    const seconds = Math.min((Date.now() - started) / 1000, QUIET_SECONDS_MAX);
    const quietMicroseconds = await worst(() => pause(seconds * 1000));
    await pause(100);
    const carried = await rig.carried("margay");
    const both = (values: number[]) =>
      ({ median: percentile(values, 0.5), p99: percentile(values, 0.99) });
    const figures: PushFigures = {
      pushes, packets: carried.in, lost: carried.in - carried.out,
      sessionsLost: sessions - await rig.sessions("margay"), worstMicroseconds, quietMicroseconds,
      compiled: both(compiled), inForce: both(inForce), counted: await reasons(rig),
    };
    log(`push under load: ${JSON.stringify(figures)}`);
    if (figures.lost || figures.sessionsLost) {
      throw new Error(`${figures.lost} packets and ${figures.sessionsLost} sessions were lost`);
    }
    return figures;
  } finally {
    await rig.close();
  }
}

export function pushSection(figures: PushFigures): string {
  const { pushes, packets, lost, sessionsLost, compiled, inForce } = figures;
  const ms = (value: number): string => value.toFixed(1);
  return [
    "## push under load", "",
    `${pushes} pushes, each with another version of a policy of ${RULES} rules, while `
      + `${packets.toLocaleString("en")} packets of ${FLOWS.toLocaleString("en")} flows passed: `
      + `${lost} packets lost, ${sessionsLost} sessions lost. A push: compiled in `
      + `${ms(compiled.median)} ms (p99 ${ms(compiled.p99)}), in force ${ms(inForce.median)} ms `
      + `later (p99 ${ms(inForce.p99)}). Longest call of ${NODE}: `
      + `${figures.worstMicroseconds.toFixed(0)} µs; without pushes, in a time as long, `
      + `${figures.quietMicroseconds.toFixed(0)} µs.`, "",
  ].join("\n");
}
