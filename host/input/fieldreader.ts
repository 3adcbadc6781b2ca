// Fields of a JSON file, each checked as it is read: what is wrong is noted with its path, and a
// stand-in goes on in its place, so that all problems are found in one run.
//
// Used by program.ts and its parts. Limits: none.
import { isIP } from "node:net";
import { parsePrefix } from "../model/address.ts";

export interface Problem {
  /** Where in the file: "services[1].backends[0].endpoint". */
  path: string;
  message: string;
}
export type Fields = Record<string, unknown>;

const PORT_MAX = 65_535;
const shown = (json: unknown): string => JSON.stringify(json) ?? "nothing";

export class FieldReader {
  constructor(readonly problems: Problem[]) {}

  readonly prefix = (json: unknown, path: string): string => {
    const text = this.text(json, path);
    try {
      parsePrefix(text);
    } catch (error) {
      this.problem(path, (error as Error).message);
    }
    return text;
  };

  readonly address = (json: unknown, path: string): string => {
    const text = this.text(json, path);
    if (isIP(text) !== 0) return text;
    this.problem(path, `"${text}" is no IP address`);
    return "0.0.0.0";
  };

  readonly portRange = (json: unknown, path: string): number | string => {
    if (typeof json === "number") return this.port(json, path);
    const [first, last] = String(json).split("-").map(Number) as [number, number?];
    const right = /^\d+-\d+$/.test(String(json)) && first <= last! && last! <= PORT_MAX;
    if (!right) this.problem(path, `expected a port or "first-last", not ${shown(json)}`);
    return String(json);
  };

  port(json: unknown, path: string): number {
    return this.number(json, path, 1, PORT_MAX);
  }

  number(json: unknown, path: string, least: number, most: number): number {
    const number = Number.isInteger(json) ? Number(json) : NaN;
    if (number >= least && number <= most) return number;
    this.problem(path, `expected a number from ${least} to ${most}, not ${shown(json)}`);
    return least;
  }

  readonly flag = (json: unknown, path: string): boolean => {
    if (typeof json === "boolean") return json;
    this.problem(path, `expected true or false, not ${shown(json)}`);
    return false;
  };

  readonly text = (json: unknown, path: string): string => {
    if (typeof json === "string" && json !== "") return json;
    this.problem(path, `expected a text, not ${shown(json)}`);
    return "";
  };

  choice<T extends string>(json: unknown, path: string, all: readonly T[]): T {
    if (all.includes(json as T)) return json as T;
    this.problem(path, `expected ${all.join(", ")}, not ${shown(json)}`);
    return all[0]!;
  }

  list<T>(json: unknown, path: string, read: (one: unknown, path: string) => T): T[] {
    if (Array.isArray(json)) return json.map((one, index) => read(one, `${path}[${index}]`));
    this.problem(path, `expected a list, not ${shown(json)}`);
    return [];
  }

  /** An object of some fields alone. */
  fields(json: unknown, path: string, known: readonly string[]): Fields {
    if (typeof json !== "object" || json === null || Array.isArray(json)) {
      this.problem(path, `expected an object, not ${shown(json)}`);
      return {};
    }
    for (const name of Object.keys(json)) {
      if (known.includes(name)) continue;
      this.problem(`${path}.${name}`, `unknown field; known are ${known.join(", ")}`);
    }
    return json as Fields;
  }

  /** Calls `read` for those of the fields that are there, with their paths. */
  some<T extends string>(
    fields: Fields, path: string, names: readonly T[],
    read: (json: unknown, path: string, name: T) => void,
  ): void {
    for (const name of names) {
      if (fields[name] !== undefined) read(fields[name], `${path}.${name}`, name);
    }
  }

  unique(path: string, names: string[], field = "name"): void {
    names.forEach((name, index) => {
      if (names.indexOf(name) === index || name === "") return;
      this.problem(`${path}[${index}].${field}`, `"${name}" stands there twice`);
    });
  }

  problem(path: string, message: string): void {
    this.problems.push({ path, message });
  }
}
