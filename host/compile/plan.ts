// How a policy is to run: as straight-line code, as a classifier block, or cut into several of
// both. And its bytes, made again only when its content or a set's number is another.
//
//   few rules ─► code (policy.ts)      many ─► block (classifier.ts)
//   more than a block holds, or rules that vectors can't say among many ─► cut.ts ─► a chain
//
// The border between code and block is measured: npm run bench:policy.
import { createHash } from "node:crypto";
import { CLASSIFIER_RULES_MAX, MODULE_BYTES_MAX } from "../../assembly/layout.ts";
import type { Policy, ProgramRule } from "../model/program.ts";
import { BlockFull } from "./block.ts";
import { buildClassifier, fitsClassifier } from "./classifier.ts";
import { cut, rulesOf, type Segment } from "./cut.ts";
import { matchOf, netsId, neverMatches } from "./match.ts";
import type { ModuleEmitter as Emitter } from "./emitter.ts";
import type { SetNumbers } from "./policy.ts";

/** Code for up to so many comparisons, some hundred rules; the two are level at twice that. */
export const CODE_WEIGHT_MAX = 256;
/** Of one code segment that a block can't replace: 64 KiB hold it surely. */
const CODE_RULES_MAX = 32;

export type { Emitter };
export type Kind = "code" | "block";

/** A set that the bytes name by number. */
interface Use {
  kind: "addresses" | "ports";
  id: string;
  /** Where the set stands for a list of prefixes. */
  prefixes?: string[];
  number: number;
}

export interface Part {
  kind: Kind;
  policy: Policy;
  /** Of the content; with the sets' numbers it is the key of a slot. */
  content: string;
  /** Which rules of the whole policy it is. */
  segment: Segment;
  /** Index of the part where a pass goes on; undefined = it leaves the policy. */
  target: number | undefined;
  made?: { key: string; bytes: Uint8Array; uses: Use[] };
}

export class Plan {
  readonly parts: Part[];

  constructor(
    private policy: Policy, emitter: Emitter, sets: SetNumbers, forced?: Kind,
  ) {
    this.parts = partsOf(policy, forced);
    let most = CLASSIFIER_RULES_MAX;
    while (true) {
      try {
        for (const part of this.parts) make(part, emitter, sets);
        return;
      } catch (cause) {
        if (!(cause instanceof BlockFull) || most <= 128) throw cause;
        most /= 2;
        this.parts = partsOf(policy, forced, most);
      }
    }
  }

  /** The same rules, written elsewhere: what reports say follows. */
  relabel(policy: Policy): void {
    if (policy === this.policy) return;
    this.policy = policy;
    for (const part of this.parts) part.policy = ownPolicy(policy, part.segment);
  }

  /** Makes anew what names sets that have other numbers now. Marks all sets as named. */
  refresh(emitter: Emitter, sets: SetNumbers): void {
    for (const part of this.parts) {
      let isFresh = true;
      for (const { kind, id, prefixes, number } of part.made!.uses) {
        if (prefixes) sets.nets(prefixes);
        if (sets[kind](id) !== number) isFresh = false;
      }
      if (!isFresh) make(part, emitter, sets);
    }
  }
}

/** Notes which sets are asked for. */
class Recorder implements SetNumbers {
  readonly uses = new Map<string, Use>();
  private readonly lists = new Map<string, string[]>();

  constructor(private readonly sets: SetNumbers) {}

  addresses(id: string): number {
    return this.note("addresses", id, this.sets.addresses(id));
  }
  ports(id: string): number {
    return this.note("ports", id, this.sets.ports(id));
  }
  nets(prefixes: string[]): string {
    const id = this.sets.nets(prefixes);
    this.lists.set(id, prefixes);
    return id;
  }
  private note(kind: Use["kind"], id: string, number: number): number {
    const prefixes = this.lists.get(id);
    this.uses.set(`${kind} ${id}`, { kind, id, number, ...(prefixes ? { prefixes } : {}) });
    return number;
  }
}

function make(part: Part, emitter: Emitter, sets: SetNumbers): void {
  const recorder = new Recorder(sets);
  const bytes = part.kind === "code"
    ? emitter.emit(part.policy, recorder)
    : buildClassifier(part.policy, recorder);
  if (part.kind === "code" && bytes.length > MODULE_BYTES_MAX) {
    const most = `a module may have ${MODULE_BYTES_MAX}`;
    throw new Error(`policy ${part.policy.name}: ${bytes.length} bytes of Wasm; ${most}`);
  }
  const uses = [...recorder.uses.values()];
  const key = `${part.content}:${uses.map(({ number }) => number).join(",")}`;
  part.made = { key, bytes, uses };
}

function partsOf(policy: Policy, forced?: Kind, most = CLASSIFIER_RULES_MAX): Part[] {
  const { rules } = policy;
  const whole = forced ?? (weightOf(rules) <= CODE_WEIGHT_MAX ? "code" : undefined);
  const all: Segment = { from: 0, to: rules.length, kind: whole ?? "block", target: undefined };
  if (whole === "code") return [partOf(policy, all, undefined, 0)];
  const kinds = rules.map((rule, i): Kind => {
    try {
      const match = matchOf(rule, 0, netsId);
      return neverMatches(rule, match) || fitsClassifier(match) ? "block" : "code";
    } catch (cause) {
      const where = `policy ${policy.name}, rule ${i} (${rule.name})`;
      throw new Error(`${where}: ${(cause as Error).message}`);
    }
  });
  if (rules.length <= most && !kinds.includes("code")) return [partOf(policy, all, undefined, 0)];
  const segments = cut(rules, (i) => kinds[i]!, (kind) => kind === "code" ? CODE_RULES_MAX : most);
  return segments.map((segment, i) => {
    const at = segments.findIndex(({ from }) => from === segment.target);
    return partOf(policy, segment, at < 0 ? undefined : at, i);
  });
}

function partOf(
  policy: Policy, segment: Segment, target: number | undefined, index: number,
): Part {
  const own = ownPolicy(policy, segment);
  const kind = segment.kind as Kind;
  return { kind, policy: own, content: `${kind}${index}:${contentOf(own)}`, segment, target };
}
function ownPolicy(policy: Policy, segment: Segment): Policy {
  const isWhole = segment.to - segment.from === policy.rules.length;
  return isWhole ? policy : { name: policy.name, rules: rulesOf(policy.rules, segment) };
}

/** Comparisons that straight-line code makes at worst. */
function weightOf(rules: readonly ProgramRule[]): number {
  return rules.reduce((sum, rule) => {
    const lists = [
      rule.source, rule.notSource, rule.destination, rule.notDestination, rule.sourcePorts,
      rule.notSourcePorts, rule.destinationPorts, rule.notDestinationPorts,
    ];
    return sum + 2 + lists.reduce((more, list) => more + Math.min(list?.length ?? 0, 8), 0) / 2;
  }, 0);
}

const contents = new WeakMap<Policy, string>();

/** Equal for policies of equal rules and names; where rules stand in files is left out. */
export function contentOf(policy: Policy): string {
  let content = contents.get(policy);
  if (content === undefined) {
    const text = JSON.stringify([policy.name, policy.rules.map((rule) => {
      const { origin, ...rest } = rule;
      return origin ? [rest, origin.path, origin.peer] : [rest];
    })]);
    content = createHash("sha256").update(text).digest("base64");
    contents.set(policy, content);
  }
  return content;
}
