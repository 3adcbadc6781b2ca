// `margay verdict --programs`: bare policy programs, each with packets to ask it about.
//
//   {"id", "ip_version", "rules": {"tiers", "profiles"}, "ipsets", "packets"} ─┐ many programs, one
//   a program ─► the egress policies of a workload that may send from anywhere ├─ push; its packets
//   {"program", "id", "verdict", "tier"?, "policy"?, "rule"?} ◄────────────────┘ at its interface
//
// A program is asked at a sender, so that the packets' addresses, which programs share, say nothing
// of which program is meant. Rules are Felix's (protobuf JSON, proto field names).
// What is wrong with a program or a packet is the answer to its packets; a line that is no JSON is
// answered by a line.
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { isIP } from "node:net";
import { CommandError } from "../command-error.ts";
import { RuleSchema } from "../input/felixbackend_pb.ts";
import { checkIpPort, checkPrefix, rules as felixRules } from "../input/felixrule.ts";
import { emptyState, type NodeState, type TierState } from "../model/state.ts";
import type { Rule } from "../model/rule.ts";
import { jsonLines } from "./lines.ts";
import { FRAME, NodeRun, type EngineName } from "./node.ts";
import { buildPacket, type PacketFields } from "./packet.ts";
import { Reason, Stage, Verdict } from "../../assembly/layout.ts";
import { reasonText } from "../model/names.ts";

/** Programs in one push: more of them share addresses, and the more sets each address is in. */
const PIECE = 32;
const CLOCK_STEP_MS = 24 * 3_600_000;
const WORLD = ["0.0.0.0/0", "::/0"];

type Fields = Record<string, unknown>;

interface BareProgram {
  id: unknown;

  packets: BarePacket[];
  error?: string;
}
/** What rules of a program need to know of it. */
interface Program {
  number: number;
  sets: Map<string, string[]>;
  state: NodeState;
}
interface BarePacket {
  id: unknown;
  fields?: PacketFields;
  error?: string;
}

/** Throws a CommandError that names file, line and field. */
export async function runPrograms(
  file: string, engine: EngineName, write: (text: string) => void,
): Promise<void> {
  let piece: unknown[] = [];
  for (const { line, value, error } of jsonLines(file)) {
    if (error !== undefined) {
      if (piece.length) write(await runPiece(piece as Fields[], engine));
      piece = [];
      write(`${JSON.stringify({ program: null, id: null, error })}\n`);
      continue;
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new CommandError(`${file}:${line}: a program is a JSON object`);
    }
    piece.push(value);
    if (piece.length < PIECE) continue;
    write(await runPiece(piece as Fields[], engine));
    piece = [];
  }
  if (piece.length) write(await runPiece(piece as Fields[], engine));
}

async function runPiece(values: Fields[], engine: EngineName): Promise<string> {
  const state = emptyState();
  state.config = new Map([
    ["WorkloadSourceSpoofing", "Any"], ["AllowVXLANPacketsFromWorkloads", "true"],
    ["AllowIPIPPacketsFromWorkloads", "true"],
  ]);
  const names = new Map<string, string>();
  const programs = values.map((value, i) => addProgram(value, i, state, names));
  const devices = { uplinks: [{ name: "world", addresses: [], routes: WORLD }] };
  let node: NodeRun;
  try {
    node = await NodeRun.start("programs", state, devices, { engine });
  } catch (error) {
    if (values.length === 1) return refused(programs[0]!, (error as Error).message);
    // One of them can't be compiled or is refused: the others are to be answered.
    const half = values.length >> 1;
    return await runPiece(values.slice(0, half), engine) +
      await runPiece(values.slice(half), engine);
  }
  try {
    const packets = programs.flatMap(({ packets, error }, i) => error === undefined
      ? packets.flatMap((packet) => packet.fields ? [{ packet, at: node.workload(name(i)) }] : [])
      : []);
    const lines = judge(node, packets, names);
    return programs.map(({ id, packets, error }) => packets.map((packet) => {
      const head = { program: id, id: packet.id };
      const wrong = error ?? packet.error;
      return `${JSON.stringify(wrong === undefined ? { ...head, ...lines.get(packet) }
        : { ...head, error: wrong })}\n`;
    }).join("")).join("");
  } finally {
    node.close();
  }
}

function refused({ id, packets }: BareProgram, error: string): string {
  return packets.map((packet) =>
    `${JSON.stringify({ program: id, id: packet.id, error })}\n`).join("");
}

const name = (i: number): string => `program-${i}`;

type Answer = { verdict: "allow" | "deny"; tier?: string; policy?: string; rule?: number };

/** Every packet is a new flow: where one met a session it runs again, by itself. */
function judge(
  node: NodeRun, packets: { packet: BarePacket; at: number }[], names: Map<string, string>,
): Map<BarePacket, Answer> {
  const answers = new Map<BarePacket, Answer>();
  const nowSeconds = Math.floor(Date.now() / 1000);
  let nowMs = 1;
  const run = (some: typeof packets) => node.process(
    some.map(({ packet, at }) => ({ interface: at, bytes: buildPacket(packet.fields!) })),
    { nowMs, nowSeconds },
  );
  const forget = (): void => {
    nowMs = (nowMs + CLOCK_STEP_MS) >>> 0;
    node.endSessions(nowMs);
  };
  for (let from = 0; from < packets.length; from += FRAME) {
    const some = packets.slice(from, from + FRAME);
    if (from > 0 && from % (16 * FRAME) === 0) forget();
    run(some).forEach((first, i) => {
      let result = first;
      if (MET.has(first.reason)) {
        forget();
        result = run([some[i]!])[0]!;
      }
      const stage = result.stages?.find((each) => each.stage === Stage.Egress);
      const rule = stage && node.ruleAt(stage.policySlot, stage.rule);
      const answer: Answer & { reason?: string } = {
        verdict: result.verdict === Verdict.Pass ? "allow" : "deny",
      };
      if (rule?.tier !== undefined) answer.tier = names.get(rule.tier) ?? rule.tier;
      const policy = rule?.policy === undefined ? undefined : names.get(rule.policy);
      if (policy !== undefined) {
        answer.policy = policy;
        answer.rule = Number(rule!.origin?.path);
      }
      const judged = result.reason === Reason.PolicyDenied || result.verdict === Verdict.Pass;
      if (!judged) answer.reason = reasonText(result.reason);
      answers.set(some[i]!.packet, answer);
    });
  }
  return answers;
}

const MET = new Set([
  Reason.Established, Reason.EndpointMismatch, Reason.TupleCollision, Reason.SessionTableFull,
]);

/** Adds a program's sets, policies, profiles and its workload to the state. */
function addProgram(
  value: Fields, i: number, state: NodeState, names: Map<string, string>,
): BareProgram {
  const packets = list(value["packets"]).map(packetOf);
  try {
    const rules = objectOf(value["rules"], "rules");
    const program: Program = { number: i, sets: setsOf(value), state };
    const tiers = list(rules["tiers"]).map((tier, t): TierState => {
      const { name: own, end_action: end, policies } = objectOf(tier, `rules.tiers[${t}]`);
      const tierName = `${i}/${t}`;
      names.set(tierName, String(own ?? ""));
      const keys = list(policies).map((policy, p) => {
        const path = `rules.tiers[${t}].policies[${p}]`;
        const fields = objectOf(policy, path);
        const key = `NetworkPolicy ${i}/${t}/${p}`;
        names.set(key, String(fields["name"] ?? ""));
        state.policies.set(key, {
          kind: "NetworkPolicy", namespace: String(i), name: `${t}/${p}`, tier: tierName,
          inbound: [], outbound: rulesOf(fields["rules"], path, program),
        });
        return key;
      });
      const defaultAction = String(end ?? "deny").toLowerCase() === "pass" ? "pass" : "deny";
      return { name: tierName, defaultAction, ingress: [], egress: keys };
    });
    const profiles = list(rules["profiles"]).map((profile, p) => {
      const path = `rules.profiles[${p}]`;
      const fields = objectOf(profile, path);
      const own = `${i}/${p}`;
      names.set(`Profile ${own}`, String(fields["name"] ?? ""));
      const outbound = rulesOf(fields["rules"], path, program);
      state.profiles.set(own, { name: own, inbound: [], outbound });
      return own;
    });
    state.workloads.set(name(i), {
      id: name(i), workload: name(i), interface: name(i), active: true, addresses: [], tiers,
      profiles, allowedSources: WORLD,
    });
    return { id: value["id"], packets };
  } catch (error) {
    return { id: value["id"], packets, error: (error as Error).message };
  }
}

/** Members by the program's own ids. A set is of addresses or of ports by what rules ask of it. */
function setsOf(value: Fields): Map<string, string[]> {
  const sets = objectOf(value["ipsets"] ?? {}, "ipsets");
  return new Map(Object.entries(sets).map(([id, members]) => [id, list(members).map(String)]));
}

/** The set under the name that it has in the state; added there when it is first asked for. */
function useSet(id: string, isPort: boolean, program: Program): string {
  const { sets, state, number } = program;
  const members = sets.get(id);
  if (!members) throw new Error(`there is no ipset "${id}"`);
  const name = `${number}/${isPort ? "ports" : "addresses"}/${id}`;
  if (state.sets.has(name)) return name;
  const check = isPort ? checkIpPort : checkPrefix;
  members.forEach((member, i) => check(member, `ipset "${id}"[${i}]`));
  const type = isPort ? "ip-port" : "net";
  state.sets.set(name, { id: name, type, members: new Set(members) });
  return name;
}

const ADDRESS_SETS = [
  "sourceSets", "notSourceSets", "destinationSets", "notDestinationSets",
] as const;
const PORT_SETS = [
  "destinationPortSets", "sourceNamedPorts", "notSourceNamedPorts", "destinationNamedPorts",
  "notDestinationNamedPorts",
] as const;

function rulesOf(json: unknown, path: string, program: Program): Rule[] {
  const messages = list(json).map((rule, r) => {
    try {
      return fromJson(RuleSchema, rule as JsonValue, { ignoreUnknownFields: true });
    } catch (error) {
      throw new Error(`${path}.rules[${r}]: ${(error as Error).message}`);
    }
  });
  return felixRules(messages, "egress", () => {}).map((rule, r): Rule => {
    const own: Rule = { ...rule, origin: { path: String(r) } };
    const rename = (field: (typeof ADDRESS_SETS | typeof PORT_SETS)[number], isPort: boolean) => {
      const ids = own[field];
      if (ids) own[field] = ids.map((id) => useSet(id, isPort, program));
    };
    try {
      for (const field of ADDRESS_SETS) rename(field, false);
      for (const field of PORT_SETS) rename(field, true);
    } catch (error) {
      throw new Error(`${path}.rules[${r}]: ${(error as Error).message}`);
    }
    return own;
  });
}

function packetOf(json: unknown): BarePacket {
  if (typeof json !== "object" || json === null) return { id: null, error: "no packet" };
  const packet = json as Fields;
  const id = packet["id"];
  const number = (field: string, most: number): number | undefined => {
    const value = packet[field];
    if (value === undefined || value === null) return undefined;
    if (Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most) {
      return Number(value);
    }
    throw new Error(`${field}: expected a number from 0 to ${most}, not ${JSON.stringify(value)}`);
  };
  try {
    const protocol = number("protocol", 255);
    if (protocol === undefined) throw new Error("protocol: a number is missing");
    const source = String(packet["src_ip"]), destination = String(packet["dst_ip"]);
    for (const [field, text] of [["src_ip", source], ["dst_ip", destination]] as const) {
      if (isIP(text) === 0) throw new Error(`${field}: "${text}" is no address`);
    }
    if (isIP(source) !== isIP(destination)) throw new Error("src_ip and dst_ip: two families");
    const type = number("icmp_type", 255);
    return { id, fields: {
      source, destination, protocol, sourcePort: number("src_port", 65_535) ?? 0,
      port: number("dst_port", 65_535) ?? 0,
      ...(protocol === 1 || protocol === 58
        ? { icmp: { type: type ?? 0, code: number("icmp_code", 255) ?? 0 } } : {}),
    } };
  } catch (error) {
    return { id, error: (error as Error).message };
  }
}

function list(json: unknown): unknown[] {
  return Array.isArray(json) ? json : [];
}

function objectOf(json: unknown, path: string): Fields {
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as Fields;
  throw new Error(`${path}: expected an object`);
}
