// Schema of a rule of Calico's policies and profiles, with what Calico's validator asks of one.
// Selectors' own syntax is not read here (host/check asks the selector parser).
// Source: projectcalico api v3 policy_common.go (its CEL rules), libcalico-go lib/validator/v3.
import { z } from "zod";
import { parsePrefix } from "../model/address.ts";
import {
  complain, isPort, prefix, prefixFault, shown, strict, SUBDOMAIN_NAME, word,
} from "./schema-parts.ts";
import { nearest, oneOf } from "./nearest.ts";

const PROTOCOLS = ["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];
/** Names and numbers of the protocols that Calico takes ports with. */
const WITH_PORTS = new Set<unknown>(["TCP", "UDP", "SCTP", 6, 17, 132]);
const ICMP4 = new Set<unknown>(["ICMP", 1]);
const ICMP6 = new Set<unknown>(["ICMPv6", 58]);
const NEED_PORTS = "ports need protocol TCP, UDP or SCTP";
const PORT_NAME = /^[a-zA-Z0-9_.-]{1,128}$/;

/** A name, or a number of 1 to 255; digits in quotes become the number. */
export const protocol = z.unknown().superRefine((value, context) => {
  const fault = protocolFault(value);
  if (fault !== undefined) complain(context, [], fault);
}).transform((value) => typeof value === "string" && /^\d+$/.test(value) ? Number(value)
  : value as string | number);

function protocolFault(value: unknown): string | undefined {
  const number = Number(typeof value === "string" && !/^\d+$/.test(value) ? NaN : value);
  const written = ["number", "string"].includes(typeof value);
  if (written && Number.isInteger(number) && number >= 1 && number <= 255) return undefined;
  if (typeof value === "string" && PROTOCOLS.includes(value)) return undefined;
  const near = typeof value === "string" ? nearest(value, PROTOCOLS) : undefined;
  return `must be ${oneOf(PROTOCOLS)}, or 1 to 255, is ${shown(value)}` +
    (near === undefined ? "" : `; did you mean ${near}?`);
}

/** A port, a range "8000:8080", or a port's name. */
const port = z.unknown().superRefine((value, context) => {
  const fault = portFault(value);
  if (fault !== undefined) complain(context, [], fault);
}).transform((value) => typeof value === "string" && /^\d+$/.test(value) ? Number(value)
  : value as string | number);

function portFault(value: unknown): string | undefined {
  const wrong = `must be a port (1 to 65535), a range (8000:8080) or a port's name`;
  if (typeof value !== "string") return isPort(value) ? undefined : `${wrong}, is ${shown(value)}`;
  if (/^\d+$/.test(value)) return isPort(Number(value)) ? undefined : `${wrong}, is ${value}`;
  const range = /^(\d+):(\d+)$/.exec(value);
  if (range === null) {
    const dash = /^(\d+)-(\d+)$/.exec(value);
    if (dash !== null) return `a range is written with a colon: "${dash[1]}:${dash[2]}"`;
    return PORT_NAME.test(value) ? undefined : `${wrong}, is ${shown(value)}`;
  }
  const [first, last] = [Number(range[1]), Number(range[2])];
  if (!isPort(first) || !isPort(last)) return `${wrong}, is ${shown(value)}`;
  return first > last ? `the range ${value} ends before it begins` : undefined;
}

/** Text of a Calico selector. Where it may not say global(), `local` says so. */
export const selector = z.string().max(1024);
export const localSelector = selector.refine((text) => !text.includes("global("), {
  error: "global() can stand in a rule's namespaceSelector alone",
});
export const namespaceSelector = selector.refine((text) => {
  return !text.includes("global(") || /^\s*global\(\s*\)\s*$/.test(text);
}, { error: "global() can't be combined with other selectors" });

const serviceName = z.string().regex(SUBDOMAIN_NAME, {
  error: ({ input }) => `"${String(input)}" is no name of a Service or namespace`,
});

const nets = z.array(prefix({ masked: true, bare: false })).max(256).optional();
const ports = z.array(port).max(50).optional();

const entity = strict({
  nets,
  notNets: nets,
  selector: localSelector.optional(),
  notSelector: selector.optional(),
  namespaceSelector: namespaceSelector.optional(),
  services: strict({ name: serviceName.optional(), namespace: serviceName.optional() }).optional(),
  serviceAccounts: strict({
    names: z.array(z.string()).optional(), selector: selector.optional(),
  }, { "": "every service account would match" }).optional(),
  ports,
  notPorts: ports,
}, {
  "": "an empty side matches everything",
  nets: "without nets every address matches",
  selector: "without selector every endpoint matches",
  namespaceSelector: "without namespaceSelector the policy's own namespace is meant",
  ports: "without ports every port matches",
  notNets: "nothing would be left out",
  notPorts: "nothing would be left out",
}).superRefine((side, context) => {
  const { services } = side;
  if (services === undefined) return;
  if (!services.name) complain(context, ["services", "name"], "missing: services need a name");
  const beside = ["selector", "notSelector", "namespaceSelector", "nets", "notNets",
    "serviceAccounts"] as const;
  for (const field of beside) {
    const value = side[field];
    if (value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) {
      continue;
    }
    complain(context, [field], `can't stand beside services`);
  }
});

const icmp = strict({
  type: z.int().min(0).max(254).optional(), code: z.int().min(0).max(255).optional(),
}).refine((match) => match.code === undefined || match.type !== undefined, {
  error: "a code needs a type beside it",
});

const http = strict({
  methods: z.array(z.string()).max(20).optional(),
  paths: z.array(strict({ exact: z.string().optional(), prefix: z.string().optional() }))
    .max(20).optional(),
}).superRefine(({ methods, paths }, context) => {
  if (methods !== undefined && new Set(methods).size < methods.length) {
    complain(context, ["methods"], "a method is there twice");
  }
  (paths ?? []).forEach(({ exact, prefix: start }, i) => {
    const text = exact || start || "";
    if ((exact ? 1 : 0) + (start ? 1 : 0) !== 1) {
      complain(context, ["paths", i], "needs either exact or prefix");
    } else if (!text.startsWith("/") || /[? #]/.test(text)) {
      complain(context, ["paths", i], `${text} must start with / and bear no ?, # or space`);
    }
  });
});

const RULE = strict({
  action: word("Allow", "Deny", "Log", "Pass"),
  ipVersion: z.int().refine((version) => version === 4 || version === 6, {
    error: "must be 4 or 6",
  }).optional(),
  protocol: protocol.optional(),
  notProtocol: protocol.optional(),
  icmp: icmp.optional(),
  notICMP: icmp.optional(),
  source: entity.optional(),
  destination: entity.optional(),
  http: http.optional(),
  metadata: strict({ annotations: z.record(z.string(), z.string()).optional() }).optional(),
}, {
  source: "without source every sender matches",
  destination: "without destination every receiver matches",
  protocol: "without protocol every protocol matches",
  icmp: "every ICMP message would match",
  ipVersion: "both families would match",
});

type Rule = z.output<typeof RULE>;

export const rule = RULE.superRefine((value, context) => {
  checkNets(value, context);
  // What a protocol that is none would need, nobody can say.
  const { protocol: is = 6, notProtocol: not = 6 } = value;
  if ((protocolFault(is) ?? protocolFault(not)) !== undefined) return;
  checkPorts(value, context);
  checkProtocol(value, context);
  checkHttp(value, context);
});

const SIDES = ["source", "destination"] as const;

function checkPorts(value: Rule, context: z.RefinementCtx): void {
  for (const side of SIDES) {
    for (const field of ["ports", "notPorts"] as const) {
      const list = value[side]?.[field] ?? [];
      if (list.length === 0) continue;
      if (value.protocol !== undefined && !WITH_PORTS.has(value.protocol)) {
        complain(context, [side, field], `${NEED_PORTS}, the rule has ${value.protocol}`);
      } else if (value.protocol === undefined && list.some((one) => !isNamed(one))) {
        complain(context, [side, field], `${NEED_PORTS}; the rule has no protocol`);
      }
      if (value[side]?.services !== undefined && side === "destination") {
        complain(context, [side, field], "can't stand beside services, which bring their ports");
      }
    }
  }
}

function isNamed(text: string | number): boolean {
  return typeof text === "string" && !/^\d+:\d+$/.test(text);
}

function checkProtocol(value: Rule, context: z.RefinementCtx): void {
  const isIcmp = ICMP4.has(value.protocol) || ICMP6.has(value.protocol);
  if (value.icmp !== undefined && !isIcmp) {
    complain(context, ["icmp"], "needs protocol ICMP or ICMPv6");
  }
  for (const field of ["protocol", "notProtocol"] as const) {
    const version = ICMP4.has(value[field]) ? 4 : ICMP6.has(value[field]) ? 6 : value.ipVersion;
    if (value.ipVersion !== undefined && version !== value.ipVersion) {
      complain(context, ["ipVersion"], `${value[field]} needs ipVersion ${version}`);
    }
  }
}

/** A rule's prefixes are of one family, and of ipVersion's. */
function checkNets(value: Rule, context: z.RefinementCtx): void {
  let seen: { family: number; text: string } | undefined;
  for (const side of SIDES) {
    for (const field of ["nets", "notNets"] as const) {
      (value[side]?.[field] ?? []).forEach((text, i) => {
        if (prefixFault(text) !== undefined) return;
        const { family, mask } = parsePrefix(text);
        const at = [side, field, i];
        if (value.ipVersion !== undefined && family !== value.ipVersion) {
          complain(context, at, `${text} is IPv${family}, the rule's ipVersion is ` +
            `${value.ipVersion}`);
        } else if (seen !== undefined && seen.family !== family) {
          complain(context, at, `a rule's prefixes must be of one family: ${text} is IPv${family}` +
            `, ${seen.text} is IPv${seen.family}; make it two rules`);
        }
        seen ??= { family, text };
        const everything = mask === 0n || text === "0.0.0.0/0";
        if (field === "notNets" && everything) {
          complain(context, at, `${text} leaves nothing that could match`);
        }
      });
    }
  }
}

function checkHttp(value: Rule, context: z.RefinementCtx): void {
  if (value.http === undefined) return;
  if (value.action !== "Allow") complain(context, ["http"], "can stand in Allow rules alone");
  if (value.protocol !== undefined && value.protocol !== "TCP" && value.protocol !== 6) {
    complain(context, ["http"], "needs protocol TCP, or none");
  }
}

/** Rules of one direction: where Services and HTTP may stand. */
export function checkDirections(
  spec: { ingress?: Rule[] | undefined; egress?: Rule[] | undefined }, context: z.RefinementCtx,
  global: boolean,
): void {
  for (const [field, other, own] of [
    ["ingress", "destination", "source"], ["egress", "source", "destination"],
  ] as const) {
    (spec[field] ?? []).forEach((each, i) => {
      if (each[other]?.services !== undefined) {
        complain(context, [field, i, other, "services"],
          `can stand in the ${own} of ${field} rules alone`);
      }
      const services = each[own]?.services;
      if (global && services !== undefined && !services.namespace) {
        complain(context, [field, i, own, "services", "namespace"],
          "missing: in a global policy services need a namespace");
      }
      if (field === "egress" && each.http !== undefined) {
        complain(context, [field, i, "http"], "can't stand in egress rules");
      }
    });
  }
}
