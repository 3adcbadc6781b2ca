// Where something stands in a test file, and what is wrong there: "shop.test.yaml:12:9 message".
import { keyOffset, valueOffset } from "../input/place.ts";
import type { Path, Source } from "../input/place.ts";

export interface Place {
  file: string;
  /** 1-based. */
  line: number;
  column: number;
}

export interface Problem extends Place {
  message: string;
}

/** Text of a file, and where it stands. */
export interface Written {
  text: string;
  place: Place;
}

/** A file that can't be used as it is: all that was found wrong, in the file's order. */
export class FileError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
    super(sorted.map(printProblem).join("\n"));
    this.name = "FileError";
    this.problems = sorted;
  }
}

/** What can't be made is put down, nothing comes of it, and the others are tried too. */
export function gather<T>(problems: Problem[], make: () => T[]): T[] {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    problems.push(...error.problems);
    return [];
  }
}

export function printProblem({ file, line, column, message }: Problem): string {
  return `${file}:${line}:${column} ${message}`;
}

/** Positions of the fields of a file's first document. */
export class Positions {
  constructor(private readonly file: string, private readonly source: Source) {}

  /** Of the value at a path, or of the nearest one around it that is there. */
  value(path: Path): Place {
    return this.at(valueOffset(this.source.documents[0]!, path));
  }

  /** Of a field's key, of a list's entry. */
  key(path: Path): Place {
    return this.at(keyOffset(this.source.documents[0]!, path));
  }

  at(offset: number): Place {
    return { file: this.file, ...this.source.place(offset) };
  }
}
