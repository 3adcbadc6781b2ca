// JSON lines of a file or of stdin, with the place of each for messages.
import { readFileSync } from "node:fs";
import { CommandError } from "../command-error.ts";

export interface JsonLine {
  /** 1-based. */
  line: number;
  value: unknown;
  /** Of a line that is no JSON, with file and line; there is no value then. */
  error?: string;
}

const BYTE_ORDER_MARK = "\ufeff";

/**
 * Empty lines are left out. Throws a CommandError that names the file, and where it begins with no
 * JSON, its line: that is another file than was meant.
 */
export function* jsonLines(file: string): Generator<JsonLine> {
  const shown = file === "-" ? "stdin" : file;
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError(`${shown}: ${code === "ENOENT" ? "no such file" : message}`);
  }
  let line = 0, first = true;
  if (text.startsWith(BYTE_ORDER_MARK)) text = text.slice(BYTE_ORDER_MARK.length);
  for (let from = 0; from < text.length;) {
    const end = text.indexOf("\n", from);
    const to = end < 0 ? text.length : end;
    const each = text.slice(from, to);
    from = to + 1;
    line++;
    if (each.trim() === "") continue;
    let value: unknown;
    let error: string | undefined;
    try {
      value = JSON.parse(each);
    } catch (caught) {
      error = `${shown}:${line}: no JSON: ${(caught as Error).message}`;
      if (first) throw new CommandError(error);
    }
    first = false;
    yield error === undefined ? { line, value } : { line, value, error };
  }
}
