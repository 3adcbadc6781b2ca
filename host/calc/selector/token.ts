// Tokens of Calico's selector language, each with the column it starts at.
//
//   label == "v"   label != 'v'   label in {"a", "b"}   label not in {…}   has(label)
//   label contains "v"   label starts with "v"   label ends with "v"
//   all()   global()   !   &&   ||   ( )
//
// Words are operators only behind a label, so that labels may be called "in" or "contains";
// "notin" and "startswith" are as good as two words. A string ends at the next quote of its kind.
// Source: projectcalico libcalico-go/lib/selector/tokenizer.

/** Letters that a label's name may have; 512 of them at most. */
const IDENTIFIER = /[a-zA-Z0-9_./-]+/y;
const LABEL_LENGTH_MAX = 512;
const BLANK = /[ \t]*/y;
const OPERATORS: [Word, RegExp][] = [
  ["contains", /contains(?![a-zA-Z0-9_./-])/y],
  ["starts with", /starts[ \t]*with(?![a-zA-Z0-9_./-])/y],
  ["ends with", /ends[ \t]*with(?![a-zA-Z0-9_./-])/y],
  ["not in", /not[ \t]*in(?![a-zA-Z0-9_./-])/y],
  ["in", /in(?![a-zA-Z0-9_./-])/y],
];
const CALL = /(has|all|global)\(/y;
const PAIRS: Record<string, Mark> = { "=": "==", "&": "&&", "|": "||" };

type Word = "contains" | "starts with" | "ends with" | "not in" | "in";
type Mark = "(" | ")" | "{" | "}" | "," | "==" | "!=" | "!" | "&&" | "||";
/** label, string and has carry a value. */
export type TokenKind = "label" | "string" | "has" | "all" | "global" | "end" | Word | Mark;

export interface Token {
  kind: TokenKind;
  /** Name of the label, text of the string. */
  value: string;
  /** 1-based column of its first character, and of the one behind its last. */
  column: number;
  end: number;
}

/** What is wrong with a selector, and where: the message quotes it. */
export class SelectorError extends Error {
  readonly selector: string;
  readonly column: number;

  constructor(what: string, selector: string, column: number, advice = "") {
    super(`${what} (column ${column}): ${selector}${advice === "" ? "" : `; ${advice}`}`);
    this.name = "SelectorError";
    this.selector = selector;
    this.column = column;
  }
}

/** The tokens of a text, "end" last. Throws a SelectorError. */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    return pattern.exec(text);
  };
  const skip = (): void => {
    at += take(BLANK)![0].length;
  };
  const push = (kind: TokenKind, length: number, value = ""): void => {
    tokens.push({ kind, value, column: at + 1, end: at + length + 1 });
    at += length;
  };
  const fail = (what: string, advice = ""): never => {
    throw new SelectorError(what, text, at + 1, advice);
  };
  const identifier = (): string => {
    const name = take(IDENTIFIER)?.[0] ?? "";
    if (name === "") {
      fail(at < text.length ? `unexpected ${text[at]}` : "expected a label at the end");
    }
    if (name.length > LABEL_LENGTH_MAX) fail(`label longer than ${LABEL_LENGTH_MAX} letters`);
    return name;
  };
  for (skip(); at < text.length; skip()) {
    const letter = text[at]!;
    const last = tokens.at(-1);
    switch (letter) {
      case "(": case ")": case "{": case "}": case ",":
        push(letter, 1);
        continue;
      case '"': case "'": {
        const close = text.indexOf(letter, at + 1);
        if (close < 0) fail(`string without its closing ${letter}`);
        push("string", close + 1 - at, text.slice(at + 1, close));
        continue;
      }
      case "!":
        if (text[at + 1] === "=") push("!=", 2);
        else push("!", 1);
        continue;
      case "=": case "&": case "|": {
        const pair = PAIRS[letter]!;
        if (text[at + 1] === letter) push(pair, 2);
        else if (letter !== "=") fail(`expected ${pair}`);
        else if (last?.kind === "label") {
          fail(`expected == or in after '${last.value}'`, "Calico wants ==");
        } else fail("expected ==", "Calico wants ==");
        continue;
      }
    }
    if (last?.kind === "label") {
      const operator = OPERATORS.find(([, pattern]) => take(pattern));
      if (!operator) fail(`expected ==, !=, in or another operator after '${last.value}'`);
      push(operator![0], take(operator![1])![0].length);
      continue;
    }
    const call = take(CALL);
    if (!call) {
      const name = identifier();
      push("label", name.length, name);
      continue;
    }
    const start = at;
    const kind = call[1] as "has" | "all" | "global";
    at += call[0].length;
    skip();
    const name = kind === "has" ? identifier() : "";
    at += name.length;
    skip();
    if (text[at] !== ")") fail(`expected ) to close ${kind}(`);
    tokens.push({ kind, value: name, column: start + 1, end: at + 2 });
    at++;
  }
  push("end", 0);
  return tokens;
}
