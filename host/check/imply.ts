// Does one selector pick nothing that another doesn't pick too? Said only where its text shows it:
// what stands on either side of && and ||, and tests of one label's values.
import type { SetDefinition } from "../calc/rule.ts";
import { canonical, evaluate, type Node } from "../calc/selector/node.ts";

/** Is every member of one set a member of the other, whatever the cluster holds? */
export function setWithin(narrow: SetDefinition, wide: SetDefinition): boolean {
  if (narrow.id === wide.id) return true;
  if (narrow.kind === "service" || wide.kind === "service" || narrow.kind !== wide.kind) {
    return false;
  }
  if (narrow.kind === "port" && wide.kind === "port") {
    const protocols = wide.protocol === "any" || wide.protocol === narrow.protocol;
    if (narrow.port !== wide.port || !protocols) return false;
  }
  return implies(narrow.selector.node, wide.selector.node);
}

export function implies(narrow: Node, wide: Node): boolean {
  if (wide.kind === "all" || wide.kind === "global") return true;
  if (canonical(narrow) === canonical(wide)) return true;
  if (narrow.kind === "or") return narrow.operands.every((each) => implies(each, wide));
  if (wide.kind === "and") return wide.operands.every((each) => implies(narrow, each));
  if (narrow.kind === "and" && narrow.operands.some((each) => implies(each, wide))) return true;
  if (wide.kind === "or" && wide.operands.some((each) => implies(narrow, each))) return true;
  return valuesImply(narrow, wide);
}

/** app in {a, b} implies whatever of app holds for a and for b. */
function valuesImply(narrow: Node, wide: Node): boolean {
  const values = narrow.kind === "compare" && narrow.operator === "==" ? [narrow.value]
    : narrow.kind === "member" && narrow.operator === "in" ? narrow.values : undefined;
  if (values === undefined || !("label" in narrow)) return false;
  const { label } = narrow;
  if (labelsOf(wide).some((each) => each !== label)) return false;
  return values.every((value) => evaluate(wide, new Map([[label, value]])));
}

function labelsOf(node: Node): string[] {
  switch (node.kind) {
    case "all": case "global": return [];
    case "not": return labelsOf(node.operand);
    case "and": case "or": return node.operands.flatMap(labelsOf);
    default: return [node.label];
  }
}
