// Policies to modules: an ordered rule list becomes one straight-line Wasm function, emitted with
// binaryen. No loop, no call, no memory: it ends, and costs about half a nanosecond a rule.
//
//   evaluate(packet, protocol, sourceHi, sourceLo, destinationHi, destinationLo,
//            sourcePort, destinationPort, icmp, nowSeconds) -> action | rule index << 8
//
// binaryen costs a quarter of a second at import: it is loaded when the first policy is compiled.
// Limits: 65,535 rules, 64 KiB of module (the door's limit), so some thousand rules.
import type Binaryen from "binaryen";
import { Action, MODULE_BYTES_MAX } from "../../assembly/layout.ts";
import { parsePrefix } from "../model/address.ts";
import { PROTOCOL_NUMBERS, protocolNumber, type Policy, type Rule } from "../model/program.ts";

/** Custom section that names the ABI; the core's door reads it. */
export const ABI_SECTION = "margay.abi";
export const ABI_GENERATED = "policy/1";
export const ABI_USER = "evaluate/1";

const RULES_MAX = 65_535;
const PARAMETER = {
  packet: 0, protocol: 1, sourceHi: 2, sourceLo: 3, destinationHi: 4, destinationLo: 5,
  sourcePort: 6, destinationPort: 7, icmp: 8, nowSeconds: 9,
} as const;
const ACTIONS = { allow: Action.Allow, deny: Action.Deny, pass: Action.Pass } as const;

type Expression = number;

let loaded: Promise<typeof Binaryen> | undefined;
function load(): Promise<typeof Binaryen> {
  loaded ??= import("binaryen").then((each) => each.default);
  return loaded;
}

/** A policy as a module's bytes. Throws with the policy, rule and field that is wrong. */
export async function compilePolicy(policy: Policy): Promise<Uint8Array> {
  const binaryen = await load();
  if (policy.rules.length > RULES_MAX) {
    throw new Error(`policy ${policy.name}: ${policy.rules.length} rules; at most ${RULES_MAX}`);
  }
  const module = new binaryen.Module();
  try {
    const emitter = new Emitter(binaryen, module);
    const { i32, i64 } = binaryen;
    const parameters = binaryen.createType([i32, i32, i64, i64, i64, i64, i32, i32, i32, i32]);
    const body = policy.rules.map((rule, i) => emitter.rule(policy, rule, i));
    // The index behind the last rule says that none matched.
    body.push(module.i32.const(Action.NoMatch | (policy.rules.length << 8)));
    module.addFunction("evaluate", parameters, i32, [], module.block(null, body, i32));
    module.addFunctionExport("evaluate", "evaluate");
    module.addCustomSection(ABI_SECTION, new TextEncoder().encode(ABI_GENERATED));
    const wasm = module.emitBinary();
    if (wasm.length > MODULE_BYTES_MAX) {
      const most = `a module may have ${MODULE_BYTES_MAX}`;
      throw new Error(`policy ${policy.name}: ${wasm.length} bytes of Wasm; ${most}`);
    }
    return wasm;
  } finally {
    module.dispose();
  }
}

class Emitter {
  constructor(
    private readonly binaryen: typeof Binaryen,
    private readonly m: Binaryen.Module,
  ) {}

  /** `if (all conditions) return answer` */
  rule(policy: Policy, rule: Rule, index: number): Expression {
    const answer = this.m.return(this.m.i32.const(ACTIONS[rule.action] | (index << 8)));
    try {
      const conditions = this.conditions(rule);
      if (conditions.length === 0) return answer;
      return this.m.if(conditions.reduce((a, b) => this.m.i32.and(a, b)), answer);
    } catch (cause) {
      const where = `policy ${policy.name}, rule ${index} (${rule.name})`;
      throw new Error(`${where}: ${(cause as Error).message}`);
    }
  }

  private conditions(rule: Rule): Expression[] {
    const conditions: Expression[] = [];
    if (rule.protocol !== undefined) {
      conditions.push(this.isProtocol(protocolNumber(rule.protocol)));
    }
    if (rule.source) conditions.push(this.inPrefixes("source", rule.source));
    if (rule.destination) conditions.push(this.inPrefixes("destination", rule.destination));
    if (rule.sourcePorts) conditions.push(this.inPorts("sourcePort", rule.sourcePorts));
    if (rule.destinationPorts) {
      conditions.push(this.inPorts("destinationPort", rule.destinationPorts));
    }
    const hasPorts = rule.sourcePorts ?? rule.destinationPorts;
    if (hasPorts && rule.protocol === undefined) conditions.push(this.bearsPorts());
    return conditions;
  }

  private get(name: keyof typeof PARAMETER): Expression {
    const wide = /(Hi|Lo)$/.test(name);
    return this.m.local.get(PARAMETER[name], wide ? this.binaryen.i64 : this.binaryen.i32);
  }
  private any(conditions: Expression[]): Expression {
    if (conditions.length === 0) return this.m.i32.const(0);
    return conditions.reduce((a, b) => this.m.i32.or(a, b));
  }
  private isProtocol(number: number): Expression {
    if (!Number.isInteger(number) || number < 0 || number > 255) {
      const names = Object.keys(PROTOCOL_NUMBERS).join(", ");
      throw new Error(`protocol: expected ${names} or 0 to 255`);
    }
    return this.m.i32.eq(this.get("protocol"), this.m.i32.const(number));
  }
  private bearsPorts(): Expression {
    return this.any([PROTOCOL_NUMBERS["tcp"]!, PROTOCOL_NUMBERS["udp"]!].map((p) =>
      this.isProtocol(p)
    ));
  }

  private inPrefixes(side: "source" | "destination", prefixes: string[]): Expression {
    return this.any(prefixes.map((text) => {
      const { network, mask } = parsePrefix(text);
      return this.m.i32.and(
        this.holds(`${side}Hi`, network >> 64n, mask >> 64n),
        this.holds(`${side}Lo`, network & LOW, mask & LOW),
      );
    }));
  }
  private holds(
    half: "sourceHi" | "sourceLo" | "destinationHi" | "destinationLo", network: bigint,
    mask: bigint,
  ): Expression {
    if (mask === 0n) return this.m.i32.const(1);
    const value = this.get(half);
    const masked = mask === LOW ? value : this.m.i64.and(value, this.wide(mask));
    return this.m.i64.eq(masked, this.wide(network));
  }
  private wide(value: bigint): Expression {
    return this.m.i64.const(BigInt.asIntN(64, value) as never);
  }

  private inPorts(side: "sourcePort" | "destinationPort", ports: (number | string)[]): Expression {
    return this.any(ports.map((each) => {
      const [first, last] = portRange(each);
      const distance = this.m.i32.sub(this.get(side), this.m.i32.const(first));
      return this.m.i32.le_u(distance, this.m.i32.const(last - first));
    }));
  }
}

const LOW = (1n << 64n) - 1n;

/** 80, "80" or "8000-8080", as first and last. */
export function portRange(text: number | string): [number, number] {
  const [first, last = first] = String(text).split("-").map(Number) as [number, number?];
  const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port < 65536;
  if (!isPort(first) || !isPort(last) || first > last) {
    throw new Error(`port "${text}": expected 0 to 65535 or first-last`);
  }
  return [first, last];
}
