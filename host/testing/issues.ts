// What zod found, in words with places: "shop.test.yaml:9:3 tests[1].alow: unknown field; did you
// mean allow?".
import type { z } from "zod";
import { didYouMean, oneOf } from "../input/nearest.ts";
import type { Path } from "../input/place.ts";
import type { Positions, Problem } from "./place.ts";
import { FIELDS } from "./schema.ts";

type Issue = z.core.$ZodIssue;

export function readIssues(issues: readonly Issue[], positions: Positions): Problem[] {
  return issues.flatMap((issue) => readIssue(issue, issue.path as Path, positions));
}

function readIssue(issue: Issue, path: Path, positions: Positions): Problem[] {
  const place = positions.value(path);
  const where = path.length === 0 ? "" : `${printPath(path)}: `;
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        ...positions.key([...path, key]),
        message: `${printPath([...path, key])}: unknown field${didYouMean(key, fieldsAt(path))}` +
          `; there are ${fieldsAt(path).join(", ")}`,
      }));
    case "invalid_union": {
      // A map was meant to be the union's object: what is wrong inside says more.
      const inside = issue.errors.find((errors) => errors.some((each) =>
        each.path.length > 0 || each.code === "unrecognized_keys"));
      if (inside) {
        return inside.flatMap((each) =>
          readIssue(each, [...path, ...each.path as Path], positions));
      }
      return [{ ...place, message: where + (isObjects(path) ? "expected a text, or a list of texts"
        : `expected allow, deny, reject or drop, or a map with ${FIELDS.expect.join(", ")}`) }];
    }
    case "invalid_type":
      return [{ ...place, message: `${where}${typeMessage(issue)}` }];
    case "invalid_value":
      return [{ ...place, message: `${where}expected ${oneOf(issue.values.map(String))}` }];
    case "invalid_key":
      return [{ ...positions.key(path),
        message: `${where}a name is of a-z, 0-9 and -` }];
    case "too_small":
      return [{ ...place, message: `${where}at least ${issue.minimum}` +
        (issue.origin === "number" ? "" : " must be there") }];
    case "too_big":
      return [{ ...place, message: `${where}at most ${issue.maximum}` }];
    case "invalid_format":
      return [{ ...place, message: issue.format === "datetime"
        ? `${where}expected a date and time, as in 2026-01-31T08:00:00Z`
        : `${where}a name is of a-z, 0-9 and -` }];
    default:
      return [{ ...place, message: `${where}${issue.message}` }];
  }
}

/** apply and delete take one text, or several. */
function isObjects(path: Path): boolean {
  return path.some((step) => step === "apply" || step === "delete");
}

function typeMessage(issue: z.core.$ZodIssueInvalidType): string {
  const got = issue.input === undefined ? /received (\w+)/.exec(issue.message)?.[1] : undefined;
  const expected = { record: "a map", object: "a map", array: "a list", string: "text" }[
    issue.expected as string] ?? issue.expected;
  if (got === "undefined") return `is missing; expected ${expected}`;
  return `expected ${expected}${got === undefined ? "" : `, got ${got}`}`;
}

/** Names of the fields of what stands at a path. */
function fieldsAt(path: Path): string[] {
  const [top, , third] = path;
  if (top === "tests" && path.at(-1) === "expect") return FIELDS.expect;
  if (top === "tests") return third === "steps" ? FIELDS.step : FIELDS.test;
  if (top === "endpoints") return third === "ports" ? FIELDS.port : FIELDS.endpoint;
  return FIELDS.file;
}

/** "tests[1].allow". */
export function printPath(path: Path): string {
  return path.map((step, i) =>
    typeof step === "number" ? `[${step}]` : i === 0 ? step : `.${step}`).join("");
}
