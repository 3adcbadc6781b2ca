// Where things stand in a file: a YAML document with the line and column of each of its keys.
// Lines and columns are 1-based.
import { LineCounter, isAlias, isMap, isScalar, isSeq, parseAllDocuments, visit } from "yaml";
import type { Document, Node, Pair, ScalarTag } from "yaml";

export interface Place {
  line: number;
  column: number;
}

export type Path = readonly (string | number)[];

export interface Source {
  documents: Document.Parsed[];
  place(offset: number): Place;
}

/**
 * kubectl reads YAML 1.1's booleans: an unquoted yes is true. (Its numbers with colons it doesn't
 * read: 22:22 is a port range.) A lone y or n, which many who write YAML leave unquoted, is text
 * here, and loneLetters() tells of it.
 */
const BOOLEAN_WORDS: ScalarTag = {
  tag: "tag:yaml.org,2002:bool",
  default: true,
  identify: () => false,
  test: /^(?:yes|Yes|YES|on|On|ON|no|No|NO|off|Off|OFF)$/,
  resolve: (text) => /^(?:yes|on)$/i.test(text),
};

export function parseSource(text: string): Source {
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    lineCounter: lines, prettyErrors: false, merge: true, uniqueKeys: true, version: "1.2",
    logLevel: "error",
    customTags: (tags) => [BOOLEAN_WORDS, ...tags],
  });
  return {
    documents: Array.isArray(parsed) ? parsed as Document.Parsed[] : [],
    place: (offset) => {
      const { line, col } = lines.linePos(offset);
      return { line: Math.max(line, 1), column: Math.max(col, 1) };
    },
  };
}

const LONE_LETTER = /(?:^|[\s:[{,])[yn](?:$|[\s,\]}])/im;

/** Offsets of an unquoted y or n, which kubectl reads as true or false. */
export function loneLetters(
  document: Document.Parsed, text: string,
): { offset: number; letter: string }[] {
  const found: { offset: number; letter: string }[] = [];
  if (!LONE_LETTER.test(text)) return found;
  visit(document, {
    Scalar: (_, { type, value, range }) => {
      if (type !== "PLAIN" || typeof value !== "string" || !/^[yn]$/i.test(value)) return;
      found.push({ offset: range?.[0] ?? 0, letter: value });
    },
  });
  return found;
}

/** Offset of a field's key (of a list's entry: of the entry), or of what is nearest around it. */
export function keyOffset(document: Document.Parsed, path: Path): number {
  return walk(document, path).key;
}

/** Offset of a field's value, or of what is nearest around it. */
export function valueOffset(document: Document.Parsed, path: Path): number {
  return walk(document, path).value;
}

function walk(document: Document.Parsed, path: Path): { key: number; value: number } {
  let node: unknown = document.contents;
  let found = { key: start(node) ?? 0, value: start(node) ?? 0 };
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = (node.items as Pair<Node, Node | null>[])
        .find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) return found;
      const key = start(pair.key) ?? found.key;
      found = { key, value: start(pair.value) ?? key };
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number" && step < node.items.length) {
      node = node.items[step];
      const at = start(node) ?? found.value;
      found = { key: at, value: at };
    } else {
      return found;
    }
  }
  return found;
}

function start(node: unknown): number | undefined {
  return (node as Node | null)?.range?.[0];
}
