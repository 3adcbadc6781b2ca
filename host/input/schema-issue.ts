// What is wrong with an object, as people say it: zod's issues become findings with the field, its
// place in the file, what was expected, what was meant, and what the API server would do.
import type { z } from "zod";
import type { Finding, Manifest } from "../model/snapshot.ts";
import { isObject, valueAt } from "./manifest.ts";
import { nearest, oneOf } from "./nearest.ts";
import type { Path } from "./place.ts";
import { LOSSES, shown } from "./schema-parts.ts";

type Issue = z.core.$ZodIssue;
/** Up to so many known fields are listed where none is near. */
const FIELDS_LISTED_MAX = 12;
/** To YAML {{ .Values.x }} is a mapping whose key is a mapping, and this is how its text begins. */
const TEMPLATE = "{ ";

export type Judged = { value: Record<string, unknown> } | { findings: Finding[] };

export function judge(schema: z.ZodType, of: Manifest): Judged {
  const strictObjects = new Map<string, z.ZodObject>();
  const result = schema.safeParse(withoutNulls(of.value), {
    reportInput: true,
    error: (issue) => {
      // The finished issue no longer knows its schema, which knows the fields.
      if (issue.code === "unrecognized_keys") {
        strictObjects.set((issue.path ?? []).join("\n"), issue.inst as unknown as z.ZodObject);
      }
      return undefined;
    },
  });
  if (result.success) return { value: result.data as Record<string, unknown> };
  const findings = result.error.issues.flatMap((issue): Finding[] => {
    const path = issue.path as Path;
    // What an object lacks that has a field nobody knows is told with that field.
    if (issue.code === "custom" && strictObjects.has(path.join("\n"))) return [];
    if (issue.code !== "unrecognized_keys") return [fieldFinding(of, path, messageOf(issue, path))];
    const object = strictObjects.get(path.join("\n"));
    return issue.keys.map((key) => {
      return fieldFinding(of, [...path, key], unknownField(key, issue.input, object));
    });
  });
  return { findings: findings.sort((a, b) => a.line - b.line || a.column - b.column) };
}

/** "NetworkPolicy shop/db". */
export function objectName({ kind, namespace, name }: Manifest): string {
  return `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`.trimEnd();
}

/** "spec.ingress[0].from[1]". */
export function fieldName(path: Path): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    if (!/^[A-Za-z_][\w-]*$/.test(step)) return `${text}[${JSON.stringify(step)}]`;
    return text === "" ? step : `${text}.${step}`;
  }, "");
}

/** A finding about a field: at its key, or at its value. */
export function fieldFinding(
  of: Manifest, path: Path, message: string,
  more: { severity?: Finding["severity"]; value?: boolean } = {},
): Finding {
  const { line, column } = more.value ? valueAt(of, path) : of.at(path);
  return {
    severity: more.severity ?? "error", file: of.file, line, column, object: objectName(of),
    field: fieldName(path), message,
  };
}

/** To API servers null is as good as absent. (A template's key is kept, to be told as such.) */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value)
    .filter(([key, each]) => (each ?? undefined) !== undefined || key.startsWith(TEMPLATE))
    .map(([key, each]) => [key, withoutNulls(each)]));
}

function unknownField(key: string, rest: unknown, object: z.ZodObject | undefined): string {
  const fields = Object.keys(object?.shape ?? {});
  const losses = object === undefined ? undefined : LOSSES.get(object)?.losses;
  const others = isObject(rest) ? Object.keys(rest).filter((each) => fields.includes(each)) : [];
  const meant = nearest(key, fields.filter((field) => !others.includes(field)));
  const loss = (others.length === 0 ? losses?.[""] : undefined) ??
    (meant === undefined ? undefined : losses?.[meant]);
  const known = fields.length <= FIELDS_LISTED_MAX ? `; known here: ${fields.join(", ")}` : "";
  return `unknown field${meant === undefined ? known : `; did you mean ${meant}?`}` +
    `${meant === undefined ? "." : ""} The API server would drop it` +
    `${loss === undefined ? "" : `: ${loss}`}`;
}

const TYPES: Record<string, string> = {
  array: "a list", object: "an object", record: "an object", string: "a string",
  boolean: "true or false", number: "a number", int: "a whole number", null: "null",
};

function messageOf(issue: Issue, path: Path): string {
  switch (issue.code) {
    case "invalid_type": return typeMessage(issue.expected, issue.input, path);
    case "invalid_value": {
      const words = issue.values.map(String).filter((each) => each !== "");
      if (issue.input === undefined) return `missing: one of ${oneOf(words)}`;
      const near = typeof issue.input === "string" ? nearest(issue.input, words) : undefined;
      return `must be ${oneOf(words)}, is ${shown(issue.input)}` +
        (near === undefined ? "" : `; did you mean ${near}?`);
    }
    case "too_small": return limit("least", "few", issue.origin, issue.minimum, issue.input);
    case "too_big": return limit("most", "many", issue.origin, issue.maximum, issue.input);
    case "invalid_key": return issue.issues[0]?.message ?? issue.message;
    default: return issue.message;
  }
}

function typeMessage(expected: string, input: unknown, path: Path): string {
  const want = TYPES[expected] ?? expected;
  if (input === undefined) {
    return path.join(".") === "metadata.name" ? "missing: every object has a name"
      : "missing: the API server refuses the object without it";
  }
  if (expected !== "string") return `must be ${want}, is ${kindOf(input)}`;
  const words = input ? "yes, on and true" : "no, off and false";
  const how = typeof input === "boolean" ? ` (kubectl reads ${words} so)` : "";
  const quote = how !== "" || typeof input === "number" ? "; quote it" : "";
  return `must be a string, is ${kindOf(input)}${how}${quote}`;
}

function kindOf(input: unknown): string {
  if (input === null) return "empty";
  if (Array.isArray(input)) return "a list";
  const [key = "", ...more] = isObject(input) ? Object.keys(input) : [];
  if (key.startsWith(TEMPLATE) && more.length === 0) return "a Helm template: render it first";
  return typeof input === "object" ? "an object" : shown(input);
}

function limit(
  edge: string, amount: string, origin: string, bound: number | bigint, input: unknown,
): string {
  if (origin === "array") {
    return `too ${amount} entries: at ${edge} ${bound}` +
      `${Array.isArray(input) ? `, these are ${input.length}` : ""}`;
  }
  if (origin === "string") {
    return bound === 1 ? "must not be empty" : `must have at ${edge} ${bound} characters`;
  }
  return `must be at ${edge} ${bound}, is ${shown(input)}`;
}
