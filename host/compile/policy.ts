// Policies to modules: an ordered rule list becomes one straight-line Wasm function, emitted with
// binaryen. No loop, no call; it reads memory only for memberships (bits of the classes that the
// facts at `packet` point at). It ends, and costs about half a nanosecond a rule.
//
//   evaluate(packet, protocol, sourceHi, sourceLo, destinationHi, destinationLo,
//            sourcePort, destinationPort, icmp, nowSeconds) -> action | rule index << 8
//
//   block $40 ─ rules 0..39 (a pass with next = 40: br $40) ─ end ─ rules 40.. ─ no match
//
// binaryen costs a quarter of a second at import: it is loaded when the first policy is compiled.
// Limits: 64 KiB of module (the door's limit); policies of many rules become classifiers.
import type Binaryen from "binaryen";
import { Action, MODULE_BYTES_MAX, Side } from "../../assembly/layout.ts";
import type { Policy, ProgramRule } from "../model/program.ts";
import {
  bearsPorts, FAMILY4, FAMILY6, matchOf, netsId, neverMatches, type Match, type SideMatch,
  type Span,
} from "./match.ts";
import { parseMember } from "./member.ts";

/** Custom section that names the ABI; the core's door reads it. */
export const ABI_SECTION = "margay.abi";
export const ABI_GENERATED = "policy/1";
export const ABI_USER = "evaluate/1";

/** Longer prefix lists are looked up as sets. */
export const PREFIXES_INLINE_MAX = 8;
const RULES_MAX = 65_535;
const MEMORY = "memory";
const PARAMETER = {
  packet: 0, protocol: 1, sourceHi: 2, sourceLo: 3, destinationHi: 4, destinationLo: 5,
  sourcePort: 6, destinationPort: 7, icmp: 8, nowSeconds: 9,
} as const;
/** Locals behind the parameters: 1 = IPv4; 1 = TCP, UDP or SCTP. */
const LOCAL = { is4: 10, ported: 11 } as const;
const ACTIONS = { allow: Action.Allow, deny: Action.Deny, pass: Action.Pass } as const;

type Expression = number;

/** Numbers of the sets that rules name. */
export interface SetNumbers {
  /** Throws where the program has no such set, or one of the other kind. */
  addresses(id: string): number;
  ports(id: string): number;
  /** The set that stands for a list of prefixes. */
  nets(prefixes: string[]): string;
}

/** For policies that name no set. */
const NO_SETS: SetNumbers = {
  addresses: (id) => {
    throw new Error(`no set has the id "${id}"`);
  },
  ports: (id) => {
    throw new Error(`no set has the id "${id}"`);
  },
  nets: netsId,
};

let loaded: Promise<typeof Binaryen> | undefined;
export function loadEmitter(): Promise<typeof Binaryen> {
  loaded ??= import("binaryen").then((each) => each.default);
  return loaded;
}

/** The sets that a policy's module reads, with their numbers: asked as its emission asks. */
export function setsOf(
  policy: Policy, sets: SetNumbers,
): { addresses: Map<string, number>; ports: Map<string, number> } {
  const addresses = new Map<string, number>(), ports = new Map<string, number>();
  policy.rules.forEach((rule, i) => {
    try {
      const match = matchOf(rule, PREFIXES_INLINE_MAX, (prefixes) => sets.nets(prefixes));
      if (neverMatches(rule, match)) return;
      for (const side of [match.source, match.destination]) {
        for (const id of [...side.sets, ...side.notSets]) addresses.set(id, sets.addresses(id));
        for (const id of [...side.portSets, ...side.namedPorts, ...side.notNamedPorts]) {
          ports.set(id, sets.ports(id));
        }
      }
    } catch (cause) {
      const where = `policy ${policy.name}, rule ${i} (${rule.name})`;
      throw new Error(`${where}: ${(cause as Error).message}`);
    }
  });
  return { addresses, ports };
}

/** A policy as a module's bytes. Throws with the policy, rule and field that is wrong. */
export async function compilePolicy(
  policy: Policy, sets: SetNumbers = NO_SETS,
): Promise<Uint8Array> {
  const wasm = emitPolicy(await loadEmitter(), policy, sets);
  if (wasm.length > MODULE_BYTES_MAX) {
    const most = `a module may have ${MODULE_BYTES_MAX}`;
    throw new Error(`policy ${policy.name}: ${wasm.length} bytes of Wasm; ${most}`);
  }
  return wasm;
}

/** The same with binaryen at hand, whatever the size. */
export function emitPolicy(
  binaryen: typeof Binaryen, policy: Policy, sets: SetNumbers,
): Uint8Array {
  if (policy.rules.length > RULES_MAX) {
    throw new Error(`policy ${policy.name}: ${policy.rules.length} rules; at most ${RULES_MAX}`);
  }
  const frame = frameFor(binaryen, policy.rules.some(readsSets));
  const { module } = frame;
  const { i32 } = binaryen;
  const body = new Emitter(binaryen, module, sets).body(policy);
  module.addFunction("evaluate", frame.parameters, i32, [i32, i32], body);
  try {
    return module.emitBinary();
  } finally {
    module.removeFunction("evaluate");
  }
}

/** A module without its function. Making one costs more than filling it, so that it is kept. */
interface Frame {
  module: Binaryen.Module;
  parameters: number;
  uses: number;
}
const frames: { plain?: Frame; reading?: Frame } = {};
/** What was emitted stays in a module's arena until it is disposed of. */
const FRAME_USES_MAX = 500;

function frameFor(binaryen: typeof Binaryen, reads: boolean): Frame {
  const key = reads ? "reading" : "plain";
  let frame = frames[key];
  if (frame && frame.uses < FRAME_USES_MAX) {
    frame.uses++;
    return frame;
  }
  frame?.module.dispose();
  const { i32, i64 } = binaryen;
  const parameters = binaryen.createType([i32, i32, i64, i64, i64, i64, i32, i32, i32, i32]);
  const module = new binaryen.Module();
  module.addFunctionExport("evaluate", "evaluate");
  if (reads) importMemory(binaryen, module);
  module.addCustomSection(ABI_SECTION, new TextEncoder().encode(ABI_GENERATED));
  frames[key] = frame = { module, parameters, uses: 1 };
  return frame;
}

/** The core's own memory, declared as the core declares it. */
function importMemory(binaryen: typeof Binaryen, module: Binaryen.Module): void {
  module.setFeatures(binaryen.Features.Atomics | binaryen.Features.BulkMemory);
  module.setMemory(64, 65_536, null, [], true, false, MEMORY);
  module.addMemoryImport(MEMORY, "env", "memory", true);
}

/** Does code for the rule look memberships up? */
function readsSets(rule: ProgramRule): boolean {
  const prefixes = [rule.source, rule.notSource, rule.destination, rule.notDestination];
  return prefixes.some((list) => list && list.length > PREFIXES_INLINE_MAX) || [
    rule.sourceSets, rule.notSourceSets, rule.destinationSets, rule.notDestinationSets,
    rule.destinationPortSets, rule.sourceNamedPorts, rule.notSourceNamedPorts,
    rule.destinationNamedPorts, rule.notDestinationNamedPorts,
  ].some((list) => list && list.length > 0);
}

class Emitter {
  private asksFamily = false;
  private asksPorted = false;

  constructor(
    private readonly binaryen: typeof Binaryen,
    private readonly m: Binaryen.Module,
    private readonly sets: SetNumbers,
  ) {}

  body(policy: Policy): Expression {
    const { rules } = policy;
    const targets = [...new Set(rules.flatMap(({ next }) => next ?? []))].sort((a, b) => a - b);
    let code: Expression[] = [];
    let from = 0;
    for (const target of targets) {
      this.rules(policy, from, target, code);
      code = [this.m.block(`${target}`, code, this.binaryen.none)];
      from = target;
    }
    this.rules(policy, from, rules.length, code);
    // The index behind the last rule says that none matched.
    code.push(this.m.i32.const(Action.NoMatch | (rules.length << 8)));
    return this.m.block(null, [...this.prologue(), ...code], this.binaryen.i32);
  }

  private rules(policy: Policy, from: number, to: number, code: Expression[]): void {
    for (let i = from; i < to; i++) {
      try {
        this.rule(policy, i, code);
      } catch (cause) {
        const where = `policy ${policy.name}, rule ${i} (${policy.rules[i]!.name})`;
        throw new Error(`${where}: ${(cause as Error).message}`);
      }
    }
  }

  /** What several rules ask for is worked out once. */
  private prologue(): Expression[] {
    const { m } = this;
    const code: Expression[] = [];
    if (this.asksFamily) {
      const low = m.i64.shr_u(this.wide("sourceLo"), m.i64.const(32n));
      code.push(m.local.set(LOCAL.is4, m.i32.and(
        m.i64.eqz(this.wide("sourceHi")), m.i64.eq(low, m.i64.const(0xffffn)),
      )));
    }
    if (this.asksPorted) {
      const all = [6, 17, 132].map((each) => this.isProtocol(each));
      code.push(m.local.set(LOCAL.ported, this.any(all)));
    }
    return code;
  }

  /** `if (cheap conditions) if (memberships) answer` */
  private rule(policy: Policy, index: number, code: Expression[]): void {
    const rule = policy.rules[index]!;
    checkNext(policy, index);
    const match = matchOf(rule, PREFIXES_INLINE_MAX, (prefixes) => this.sets.nets(prefixes));
    if (neverMatches(rule, match)) return;
    let answer = this.answer(rule, index);
    for (const conditions of [this.memberships(match), this.conditions(match)]) {
      if (conditions.length) answer = this.m.if(this.all(conditions), answer);
    }
    code.push(answer);
  }
  private answer(rule: ProgramRule, index: number): Expression {
    if (rule.next !== undefined) return this.m.br(`${rule.next}`);
    const action = ACTIONS[rule.action as keyof typeof ACTIONS];
    return this.m.return(this.m.i32.const(action | (index << 8)));
  }

  /** What arguments alone tell. */
  private conditions(match: Match): Expression[] {
    const { m } = this;
    const conditions: Expression[] = [];
    if (match.protocol !== undefined) conditions.push(this.isProtocol(match.protocol));
    if (match.notProtocol !== undefined) {
      conditions.push(m.i32.ne(this.get("protocol"), m.i32.const(match.notProtocol)));
    }
    if (match.families === FAMILY4) conditions.push(this.is4());
    if (match.families === FAMILY6) conditions.push(m.i32.eqz(this.is4()));
    // -1 where the packet bears no ICMP lies in no span.
    if (match.icmp) conditions.push(this.within("icmp", match.icmp));
    if (match.notIcmp) conditions.push(m.i32.eqz(this.within("icmp", match.notIcmp)));
    for (const side of ["source", "destination"] as const) {
      const { prefixes, notPrefixes, ports, namedPorts, notPorts } = match[side];
      if (prefixes.length) conditions.push(this.inPrefixes(side, prefixes, match.families));
      if (notPrefixes.length) {
        conditions.push(m.i32.eqz(this.inPrefixes(side, notPrefixes, match.families)));
      }
      if (ports.length && !namedPorts.length) {
        conditions.push(this.inPorts(side, ports, match.protocol));
      }
      if (notPorts.length && (match.protocol === undefined || bearsPorts(match.protocol))) {
        conditions.push(m.i32.eqz(this.inPorts(side, notPorts, match.protocol)));
      }
    }
    return conditions;
  }

  /** What memory tells. */
  private memberships(match: Match): Expression[] {
    const conditions: Expression[] = [];
    const add = (side: SideMatch, address: Side, port: Side): void => {
      const { sets, notSets, portSets, namedPorts, notNamedPorts, ports } = side;
      const inSet = (id: string): Expression => this.bit(address, this.sets.addresses(id));
      const isNamed = (id: string): Expression => this.bit(port, this.sets.ports(id));
      conditions.push(...sets.map(inSet), ...portSets.map(isNamed));
      if (namedPorts.length) {
        const name = address === Side.Source ? "source" : "destination";
        const spans = ports.length ? [this.inPorts(name, ports, match.protocol)] : [];
        conditions.push(this.any([...spans, ...namedPorts.map(isNamed)]));
      }
      const never = [...notSets.map(inSet), ...notNamedPorts.map(isNamed)];
      if (never.length) conditions.push(this.m.i32.eqz(this.any(never)));
    };
    add(match.source, Side.Source, Side.SourcePort);
    add(match.destination, Side.Destination, Side.DestinationPort);
    return conditions;
  }

  /** Is one side of the packet in a set? Its class is a bitmap over set numbers. */
  private bit(side: Side, set: number): Expression {
    const { m } = this;
    const mine = m.i32.load(side * 4, 4, this.get("packet"), MEMORY);
    const byte = m.i32.load8_u(set >> 3, 1, mine, MEMORY);
    return m.i32.and(m.i32.shr_u(byte, m.i32.const(set & 7)), m.i32.const(1));
  }

  private get(name: "packet" | "protocol" | "sourcePort" | "destinationPort" | "icmp"): Expression {
    return this.m.local.get(PARAMETER[name], this.binaryen.i32);
  }
  private wide(name: "sourceHi" | "sourceLo" | "destinationHi" | "destinationLo"): Expression {
    return this.m.local.get(PARAMETER[name], this.binaryen.i64);
  }
  private is4(): Expression {
    this.asksFamily = true;
    return this.m.local.get(LOCAL.is4, this.binaryen.i32);
  }
  private all(conditions: Expression[]): Expression {
    return conditions.reduce((a, b) => this.m.i32.and(a, b));
  }
  private any(conditions: Expression[]): Expression {
    return conditions.reduce((a, b) => this.m.i32.or(a, b));
  }
  private isProtocol(number: number): Expression {
    return this.m.i32.eq(this.get("protocol"), this.m.i32.const(number));
  }
  private within(name: "sourcePort" | "destinationPort" | "icmp", span: Span): Expression {
    const { m } = this;
    const [first, last] = span;
    if (first === last) return m.i32.eq(this.get(name), m.i32.const(first));
    const distance = first === 0
      ? this.get(name)
      : m.i32.sub(this.get(name), m.i32.const(first));
    return m.i32.le_u(distance, m.i32.const(last - first));
  }

  /** False, too, for what has no ports. */
  private inPorts(
    side: "source" | "destination", spans: Span[], protocol: number | undefined,
  ): Expression {
    const inside = this.any(spans.map((span) => this.within(`${side}Port`, span)));
    if (protocol !== undefined) return inside;
    this.asksPorted = true;
    return this.m.i32.and(inside, this.m.local.get(LOCAL.ported, this.binaryen.i32));
  }

  /** The rule's families are checked already; where it has one, its prefixes are of that one. */
  private inPrefixes(
    side: "source" | "destination", prefixes: string[], families: number,
  ): Expression {
    const { m } = this;
    const each = [4, 6].map((family) => {
      if (!(families & (family === 4 ? FAMILY4 : FAMILY6))) return [];
      const own = prefixes.filter((text) => text.includes(":") === (family === 6));
      if (own.length === 0) return [];
      const inside = this.any(own.map((text) => this.inPrefix(side, text)));
      if (families !== (FAMILY4 | FAMILY6)) return [inside];
      return [m.i32.and(family === 4 ? this.is4() : m.i32.eqz(this.is4()), inside)];
    });
    return this.any(each.flat());
  }
  private inPrefix(side: "source" | "destination", text: string): Expression {
    const { family, length, words } = parseMember(text, "net");
    // Two words a half. IPv4 stands in the low half, under 0xffff.
    const [high, low, bits] = family === 4
      ? [0xffff, words[0]!, length + 32]
      : [words[2]!, words[3]!, length - 64];
    const conditions: Expression[] = [];
    if (family === 6) this.half(conditions, this.wide(`${side}Hi`), words[0]!, words[1]!, length);
    if (family === 6 || length > 0) {
      this.half(conditions, this.wide(`${side}Lo`), high, low, bits);
    }
    return conditions.length ? this.all(conditions) : this.m.i32.const(1);
  }
  /** The first bits of 64; no condition for none. */
  private half(
    conditions: Expression[], value: Expression, high: number, low: number, bits: number,
  ): void {
    const { i64 } = this.m;
    if (bits <= 0) return;
    const masked = bits >= 64 ? value : i64.and(value, i64.const(
      wide(bits >= 32 ? -1 : -1 << (32 - bits), bits <= 32 ? 0 : -1 << (64 - bits)),
    ));
    conditions.push(i64.eq(masked, i64.const(wide(high, low))));
  }
}

const scratchWords = new DataView(new ArrayBuffer(8));

/** Two words as a number of 64 bits, made without sums of big numbers. */
function wide(high: number, low: number): bigint {
  scratchWords.setInt32(0, high);
  scratchWords.setInt32(4, low);
  return scratchWords.getBigInt64(0);
}

/** A pass goes on forward, inside the policy. */
export function checkNext(policy: Policy, index: number): void {
  const { next, action } = policy.rules[index]!;
  if (next === undefined) return;
  if (action === "pass" && Number.isInteger(next) && next > index && next < policy.rules.length) {
    return;
  }
  throw new Error(`next ${next}: expected the index of a later rule, and a pass`);
}
