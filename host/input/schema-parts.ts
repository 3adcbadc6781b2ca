// What schemas of several APIs are made of: strict objects that say what a lost field would mean,
// metadata, label selectors, names, ports, prefixes.
//
// Limits and formats are Kubernetes' (apimachinery validation) where nothing else is said.
import { z } from "zod";
import { parsePrefix } from "../model/address.ts";
import { oneOf } from "./nearest.ts";
import { numberText } from "./pool.ts";

/**
 * What it means when the API server drops a field: by the field that was meant (the rest of the
 * object does not have it), and "" for an object that has nothing else.
 */
export type Losses = Record<string, string>;

export const LOSSES = z.registry<{ losses: Losses }>();

/** An object whose unknown fields are errors. */
export function strict<S extends z.ZodRawShape>(shape: S, losses: Losses = {}): z.ZodObject<S> {
  return z.strictObject(shape).register(LOSSES, { losses }) as unknown as z.ZodObject<S>;
}

/** An object of which only these fields concern us. */
export const loose = z.looseObject;

/** Adds an error at a field below what is refined. */
export function complain(
  context: z.RefinementCtx, path: (string | number)[], message: string,
): void {
  context.addIssue({ code: "custom", path, message });
}

/** A word out of a few. */
export function word<const W extends readonly [string, ...string[]]>(...words: W) {
  return z.enum(words as unknown as [W[number], ...W[number][]]);
}

export const LABEL_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
export const SUBDOMAIN_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL_WORD = "[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?";
const QUALIFIED_KEY = new RegExp(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?${LABEL_WORD}$`);
const LABEL_VALUE = new RegExp(`^(${LABEL_WORD})?$`);

export const labelKey = z.string().regex(QUALIFIED_KEY, {
  error: ({ input }) => `"${String(input)}" is no label key: letters, digits, -, _ and . ` +
    "(and a domain with / before it)",
});
export const labelValue = z.string().regex(LABEL_VALUE, {
  error: ({ input }) => `"${String(input)}" is no label value: letters, digits, -, _ and .`,
}).max(63, { error: "a label value has at most 63 characters" });

export const labels = z.record(labelKey, labelValue);
export const annotations = z.record(z.string(), z.string());

const anything = z.unknown().optional();

/** metadata as clients write it and as servers print it. */
const METADATA = {
  name: z.string().optional(),
  generateName: z.string().optional(),
  namespace: z.string().optional(),
  labels: labels.optional(),
  annotations: annotations.optional(),
  finalizers: z.array(z.string()).optional(),
  ownerReferences: z.array(loose({ kind: z.string(), name: z.string() })).optional(),
  // Of a server alone.
  creationTimestamp: anything, deletionTimestamp: anything, deletionGracePeriodSeconds: anything,
  generation: anything, managedFields: anything, resourceVersion: anything, selfLink: anything,
  uid: anything, clusterName: anything,
};
export const strictMetadata = strict(METADATA, {
  namespace: "the object would be in the namespace default",
});
export const metadata = loose(METADATA);

/** A whole object of a kind that is read strictly. */
export function strictObject(spec: z.ZodType) {
  return strict({
    apiVersion: z.string(), kind: z.string(), metadata: strictMetadata, spec, status: anything,
  });
}

/** A whole object of a kind that holds much that doesn't concern us. */
export function looseObject<S extends z.ZodRawShape>(shape: S) {
  return loose({ apiVersion: z.string(), kind: z.string(), metadata, ...shape });
}

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

const labelRequirement = strict({
  key: labelKey, operator: word(...OPERATORS), values: z.array(labelValue).optional(),
}).superRefine(({ operator, values }, context) => {
  const some = values !== undefined && values.length > 0;
  if (/In$/.test(operator) && !some) {
    complain(context, ["values"], `missing: ${operator} needs at least one value`);
  }
  if (/Exist/.test(operator) && some) {
    complain(context, ["values"], `must be left out with ${operator}`);
  }
});

/** metav1.LabelSelector. */
export const labelSelector = strict({
  matchLabels: labels.optional(), matchExpressions: z.array(labelRequirement).optional(),
}, { "": "an empty selector picks everything" });

/** A number 1 to 65535. */
export const portNumber = z.int().min(1).max(65535);

const PORT_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** IANA_SVC_NAME: what a container port may be called. */
export function isPortName(name: string): boolean {
  return name.length <= 15 && PORT_NAME.test(name) && /[a-z]/.test(name) && !name.includes("--");
}

/** Kubernetes' IntOrString as a port: 80, "http". */
export const portOrName = z.unknown().superRefine((value, context) => {
  if (typeof value === "string") {
    if (isPortName(value)) return;
    complain(context, [], /^\d+$/.test(value)
      ? `must be a number: ${value} without quotes`
      : `"${value}" is no port name: at most 15 of a-z, 0-9 and -, one letter among them`);
  } else if (!isPort(value)) {
    complain(context, [], `must be a port (1 to 65535) or a port's name, is ${shown(value)}`);
  }
}).transform((value) => value as number | string);

export function isPort(value: unknown): value is number {
  return Number.isInteger(value) && value as number >= 1 && value as number <= 65535;
}

export const transport = word("TCP", "UDP", "SCTP");

/** Why a text is no prefix; undefined where it is one. */
export function prefixFault(text: string, more: { masked?: boolean; bare?: boolean } = {}) {
  try {
    const { network } = parsePrefix(text);
    if (!text.includes("/")) {
      return more.bare ? undefined
        : `"${text}" needs a prefix length: ${text}/${text.includes(":") ? 128 : 32}`;
    }
    if (more.masked && network !== parsePrefix(text.split("/")[0]!).network) {
      return `"${text}" has host bits set; the network is ${networkOf(text)}`;
    }
    return undefined;
  } catch (error) {
    return `${(error as Error).message}: an IPv4 or IPv6 prefix is expected (10.0.0.0/8, fd00::/8)`;
  }
}

/** The same prefix, host bits zero. */
export function networkOf(text: string): string {
  const { network, family } = parsePrefix(text);
  const length = text.split("/")[1]!;
  return `${numberText(network, family)}/${length}`;
}

export function prefix(more: { masked?: boolean; bare?: boolean } = {}) {
  return z.string().superRefine((text, context) => {
    const fault = prefixFault(text, more);
    if (fault !== undefined) complain(context, [], fault);
  });
}

/** Why a text is no address; undefined where it is one. */
export function addressFault(text: string): string | undefined {
  return text.includes("/") ? `"${text}" is a prefix, not an address`
    : prefixFault(text, { bare: true });
}

/** An address alone. */
export const address = z.string().superRefine((text, context) => {
  const fault = addressFault(text);
  if (fault !== undefined) complain(context, [], fault);
});

/** Exactly one field of an object must be there (MinProperties = MaxProperties = 1). */
export function exactlyOne(what: string, fields: readonly string[]) {
  return (value: Record<string, unknown>, context: z.RefinementCtx): void => {
    const there = fields.filter((field) => value[field] !== undefined);
    if (there.length === 1) return;
    complain(context, [], there.length === 0
      ? `${what} needs one of ${oneOf(fields)}; the API server refuses an empty one`
      : `${what} takes one of ${oneOf(fields)}, not ${there.join(" and ")}`);
  };
}

export function shown(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}

