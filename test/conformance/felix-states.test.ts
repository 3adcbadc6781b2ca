// Felix's own calculation-graph tests, replayed: sequences of messages, and what a dataplane
// must hold after each step. Once from JSON, once from the framed bytes, and once as one stream in
// which Felix starts anew with each sequence.
//
//   messages ─► FelixMirror ─► state, network ─ told in the form of `expect` ─ the same?
//
// Cases: ../shared/conformance/calc-states (its README tells the format); where that folder is not
// there, this says so.
import { toJson } from "@bufbuild/protobuf";
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { existsSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { FelixMirror, FrameReader } from "../../host/input/felix.ts";
import {
  EncapsulationSchema, HostMetadataUpdateSchema, LiveMigrationRole, RouteUpdateSchema,
} from "../../host/input/felixbackend_pb.ts";
import type { ToDataplane } from "../../host/input/felixbackend_pb.ts";
import { messageFromJson } from "../../host/input/felixframe.ts";
import type { NodeState, TierState } from "../../host/model/state.ts";

const folder = "../shared/conformance/calc-states";
const there = existsSync(`${folder}/calc-states.jsonl`);
if (!there) console.log(`felix-states: skipped, there is no ${folder}`);

type Expectation = Record<string, unknown>;
interface Step { messages: unknown[]; binRange: [number, number]; expect: Expectation }
interface Case { id: number; description: string; steps: Step[] }

const cases: Case[] = there ? readFileSync(`${folder}/calc-states.jsonl`, "utf8").trim()
  .split("\n").map((line) => JSON.parse(line)) : [];
const bytes = there ? readFileSync(`${folder}/calc-states.bin`) : Buffer.alloc(0);
const framed = ([from, to]: [number, number], each: (message: ToDataplane) => void): void => {
  const reader = new FrameReader(each);
  reader.push(bytes.subarray(from, to));
  reader.end();
};

/** A message in JSON with Felix's field names. */
function json<T extends DescMessage>(schema: T, message: MessageShape<T>): unknown {
  return toJson(schema, message, { useProtoFieldName: true });
}
/** "GlobalNetworkPolicy pol-1" as Felix writes ids. */
function policyId(key: string): unknown {
  const [, kind, namespace, name] = /^(\S+) (?:([^/]+)\/)?([^/]+)$/.exec(key)!;
  return { kind, namespace: namespace ?? "", name };
}
function tiers(all: TierState[]): unknown {
  return all.map(({ name, ingress, egress }) => ({
    name, ingress_policies: ingress.map(policyId), egress_policies: egress.map(policyId),
  }));
}
/** Go's names of fields: ipv4Addr, Ipv4Addr. */
function capitals(message: object, fields: string[]): unknown {
  return Object.fromEntries(fields.map((name) =>
    [name[0]!.toUpperCase() + name.slice(1), message[name as keyof object]]));
}
const WIREGUARD = ["hostname", "publicKey", "interfaceIpv4Addr"];
const WIREGUARD_V6 = ["hostname", "publicKeyV6", "interfaceIpv6Addr"];
const VTEP = [
  "node", "mac", "ipv4Addr", "parentDeviceIp", "macV6", "ipv6Addr", "parentDeviceIpv6",
];

/** What the mirror holds, in the form of `expect`. */
function held(mirror: FelixMirror): Expectation {
  const state: NodeState = mirror.state(), { network } = mirror;
  const policies = [...state.policies];
  const keys = (which: (policy: (typeof policies)[0][1]) => boolean | undefined): unknown[] =>
    policies.filter(([, policy]) => which(policy)).map(([key]) => policyId(key));
  const endpoints = (
    of: "tiers" | "untrackedTiers" | "preDnatTiers",
  ): Record<string, unknown> => Object.fromEntries([
    ...[...state.workloads].map(([id, one]) => [id, of === "tiers" ? tiers(one.tiers) : []]),
    ...[...state.hostEndpoints].map(([id, one]) => [id, tiers(one[of])]),
  ]);
  const roles = [...mirror.workloadEndpoints]
    .filter(([, { liveMigrationRole }]) => liveMigrationRole !== LiveMigrationRole.NO_ROLE)
    .map(([id, { liveMigrationRole }]) => [id, LiveMigrationRole[liveMigrationRole]]);
  return {
    ipsets: Object.fromEntries([...state.sets].map(([id, { members }]) => [id, [...members]])),
    policies: keys(() => true),
    untracked_policies: keys(({ untracked }) => untracked),
    pre_dnat_policies: keys(({ preDnat }) => preDnat),
    profiles: [...state.profiles.keys()],
    endpoint_tiers: endpoints("tiers"),
    endpoint_untracked_tiers: endpoints("untrackedTiers"),
    endpoint_pre_dnat_tiers: endpoints("preDnatTiers"),
    routes: [...network.routes.values()].map((route) => json(RouteUpdateSchema, route)),
    vteps: [...network.vteps.values()].map((vtep) => capitals(vtep, VTEP)),
    wireguard: [...network.wireguard.values()].map((one) => capitals(one, WIREGUARD)),
    wireguard_v6: [...network.wireguardV6.values()].map((one) => capitals(one, WIREGUARD_V6)),
    host_metadata: Object.fromEntries([...network.hosts()].map(([name, host]) =>
      [name, json(HostMetadataUpdateSchema, host)])),
    encapsulation: network.encapsulation && json(EncapsulationSchema, network.encapsulation),
    live_migration_roles: Object.fromEntries(roles),
  };
}

/** Lists that have no order sorted; those of tiers keep theirs. */
function sorted(all: Expectation): Expectation {
  const text = (one: unknown): string => JSON.stringify(typeof one === "object"
    ? Object.entries(one as object).sort(([a], [b]) => (a < b ? -1 : 1)) : one);
  const order = (list: unknown): unknown => (Array.isArray(list)
    ? [...list].sort((a, b) => (text(a) < text(b) ? -1 : 1)) : list);
  return Object.fromEntries(Object.entries(all).map(([name, value]) => [name, name === "ipsets"
    ? Object.fromEntries(Object.entries(value as object).map(([id, list]) => [id, order(list)]))
    : order(value)]));
}

describe.skipIf(!there)("Felix's calculation graph", () => {
  const all = cases.reduce((sum, { steps }) => sum + steps.length, 0);
  const counts: Record<string, number> = {};
  let messages = 0;

  /** Runs every step; all must agree. `start` gives the mirror that a case begins with. */
  function replay(
    name: string, start: () => FelixMirror, feed: (step: Step, mirror: FelixMirror) => void,
  ): void {
    const wrong: unknown[] = [];
    counts[name] = 0;
    for (const { id, description, steps } of cases) {
      const mirror = start();
      steps.forEach((step, index) => {
        feed(step, mirror);
        const is = sorted(held(mirror)), shall = sorted(step.expect);
        if (isDeepStrictEqual(is, shall)) counts[name]!++;
        else wrong.push({ case: id, description, step: index, is, shall });
      });
    }
    expect(wrong.slice(0, 2)).toEqual([]);
    expect(counts[name]).toBe(all);
  }

  test("felix-states: the mirror of JSON messages holds what Felix's own does", () => {
    replay("json", () => new FelixMirror(), (step, mirror) => {
      for (const message of step.messages) mirror.apply(messageFromJson(message));
      messages += step.messages.length;
    });
  });

  test("felix-states: and so does that of framed messages, which are the same", () => {
    replay("framed", () => new FelixMirror(), (step, mirror) => {
      let at = 0;
      framed(step.binRange, (message) => {
        expect(message).toEqual(messageFromJson(step.messages[at++]));
        mirror.apply(message);
      });
      expect(at).toBe(step.messages.length);
    });
  });

  test("felix-states: one mirror over all of it, Felix starting anew at each case", () => {
    const mirror = new FelixMirror();
    replay("one stream", () => mirror, (step) =>
      framed(step.binRange, (message) => mirror.apply(message)));
  });

  afterAll(() => {
    const [json, ...others] = Object.entries(counts).map(([name, count]) =>
      (name === "json" ? `felix-states ${count}/${all}` : `${name} ${count}/${all}`));
    console.log(`${json} (${others.join(", ")}; ${messages} messages)`);
    expect(messages).toBeGreaterThan(0);
  });
});
