// Selector text → tree, by recursive descent: or ─ and ─ not ─ a test, a call, or parentheses.
// Empty text selects all. Nesting is bounded so that no text can exhaust the stack.
// Source: projectcalico libcalico-go/lib/selector/parser (parser.go).
import type { Comparison, Membership, Node } from "./node.ts";
import { SelectorError, tokenize, type Token, type TokenKind } from "./token.ts";

const DEPTH_MAX = 500;
const COMPARISONS: ReadonlySet<TokenKind> = new Set<TokenKind>([
  "==", "!=", "contains", "starts with", "ends with",
]);

/** Throws a SelectorError that says what was expected where. */
export function parseNode(text: string): Node {
  const parser = new Parser(text, tokenize(text));
  return parser.root();
}

class Parser {
  private at = 0;
  private depth = 0;
  private readonly text: string;
  private readonly tokens: Token[];

  constructor(text: string, tokens: Token[]) {
    this.text = text;
    this.tokens = tokens;
  }

  root(): Node {
    if (this.next().kind === "end") return { kind: "all" };
    const node = this.list("or", "||", () => this.list("and", "&&", () => this.operation()));
    if (this.next().kind !== "end") this.fail(`unexpected ${this.shown()}; expected && or ||`);
    return node;
  }

  /** A call, not a getter: what it says of one token must not narrow the next one. */
  private next(): Token {
    return this.tokens[this.at]!;
  }

  private list(kind: "and" | "or", separator: TokenKind, each: () => Node): Node {
    const operands = [each()];
    while (this.next().kind === separator) {
      this.at++;
      operands.push(each());
    }
    return operands.length === 1 ? operands[0]! : { kind, operands };
  }

  private operation(): Node {
    let negated = false;
    for (; this.next().kind === "!"; this.at++) negated = !negated;
    const operand = this.operand();
    return negated ? { kind: "not", operand } : operand;
  }

  private operand(): Node {
    const token = this.next();
    switch (token.kind) {
      case "all": case "global":
        this.at++;
        return { kind: token.kind };
      case "has":
        this.at++;
        return { kind: "has", label: token.value };
      case "label":
        this.at++;
        return this.test(token.value);
      case "(": {
        if (++this.depth > DEPTH_MAX) this.fail(`more than ${DEPTH_MAX} parentheses deep`);
        this.at++;
        const inner = this.list("or", "||", () => this.list("and", "&&", () => this.operation()));
        this.expect(")", `) for the ( of column ${token.column}`);
        this.depth--;
        return inner;
      }
      default:
        return this.fail(`expected a label, has(…), all(), global(), ! or (, not ${this.shown()}`);
    }
  }

  private test(label: string): Node {
    const { kind } = this.next();
    if (COMPARISONS.has(kind)) {
      this.at++;
      const { value } = this.expect("string", `a quoted string after '${label} ${kind}'`);
      return { kind: "compare", operator: kind as Comparison, label, value };
    }
    if (kind === "in" || kind === "not in") {
      this.at++;
      return this.member(label, kind);
    }
    return this.fail(`expected ==, !=, in or another operator after '${label}'`);
  }

  private member(label: string, operator: Membership): Node {
    this.expect("{", `{ after '${label} ${operator}'`);
    const values: string[] = [];
    while (this.next().kind === "string") {
      values.push(this.next().value);
      this.at++;
      if (this.next().kind !== ",") break;
      this.at++;
    }
    this.expect("}", "a quoted string, or } for the end of the set");
    const set = new Set(values);
    return { kind: "member", operator, label, values: sortBytes([...set]), set };
  }

  private expect(kind: TokenKind, what: string): Token {
    const token = this.next();
    if (token.kind !== kind) this.fail(`expected ${what}, not ${this.shown()}`);
    this.at++;
    return token;
  }

  private shown(): string {
    const { column, end, kind } = this.next();
    return kind === "end" ? "the end" : this.text.slice(column - 1, end - 1);
  }

  private fail(what: string): never {
    throw new SelectorError(what, this.text, this.next().column);
  }
}

/** By bytes of UTF-8, as Go sorts strings. */
export function sortBytes(texts: string[]): string[] {
  return texts.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
