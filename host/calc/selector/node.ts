// What a selector is made of: tests of one label, and not, and, or over them.
// Evaluation and canonical text; the canonical text is what ids are made from, so that it must not
// change. Source: projectcalico libcalico-go/lib/selector/parser (ast.go).

/** Labels by name; a Map will do. */
export interface Labels {
  get(name: string): string | undefined;
}

export type Comparison = "==" | "!=" | "contains" | "starts with" | "ends with";
export type Membership = "in" | "not in";

export type Node =
  | { kind: "all" }
  /** True of everything: what it says about namespaces, conversion says in labels. */
  | { kind: "global" }
  | { kind: "has"; label: string }
  | { kind: "compare"; operator: Comparison; label: string; value: string }
  /** Values sorted, each once. */
  | { kind: "member"; operator: Membership; label: string; values: string[]; set: Set<string> }
  | { kind: "not"; operand: Node }
  | { kind: "and" | "or"; operands: Node[] };

/** A label that is absent is != and "not in" all, and nothing else. */
export function evaluate(node: Node, labels: Labels): boolean {
  switch (node.kind) {
    case "all": case "global":
      return true;
    case "has":
      return labels.get(node.label) !== undefined;
    case "compare":
      return compare(node.operator, labels.get(node.label), node.value);
    case "member": {
      const value = labels.get(node.label);
      const inside = value !== undefined && node.set.has(value);
      return node.operator === "in" ? inside : !inside;
    }
    case "not":
      return !evaluate(node.operand, labels);
    case "and":
      return node.operands.every((operand) => evaluate(operand, labels));
    case "or":
      return node.operands.some((operand) => evaluate(operand, labels));
  }
}

function compare(operator: Comparison, value: string | undefined, wanted: string): boolean {
  if (value === undefined) return operator === "!=";
  switch (operator) {
    case "==": return value === wanted;
    case "!=": return value !== wanted;
    case "contains": return value.includes(wanted);
    case "starts with": return value.startsWith(wanted);
    case "ends with": return value.endsWith(wanted);
  }
}

/** The one text for a selector's meaning as parsed: blanks, quotes and order of values settled. */
export function canonical(node: Node): string {
  switch (node.kind) {
    case "all": return "all()";
    case "global": return "global()";
    case "has": return `has(${node.label})`;
    case "compare": return `${node.label} ${node.operator} ${quoted(node.value)}`;
    case "member": return `${node.label} ${node.operator} {${node.values.map(quoted).join(", ")}}`;
    case "not": return `!${canonical(node.operand)}`;
    case "and": return `(${node.operands.map(canonical).join(" && ")})`;
    case "or": return `(${node.operands.map(canonical).join(" || ")})`;
  }
}

function quoted(text: string): string {
  return text.includes('"') ? `'${text}'` : `"${text}"`;
}

/** The same selector over labels that bear a prefix ("pcns." for those of namespaces). */
export function prefixed(node: Node, prefix: string): Node {
  switch (node.kind) {
    case "all": case "global": return node;
    case "has": case "compare": case "member": return { ...node, label: prefix + node.label };
    case "not": return { kind: "not", operand: prefixed(node.operand, prefix) };
    case "and": case "or":
      return { kind: node.kind, operands: node.operands.map((each) => prefixed(each, prefix)) };
  }
}
