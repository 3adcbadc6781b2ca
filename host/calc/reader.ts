// Reads a policy's fields into the shared form; what is wrong in one becomes a finding at its
// place, and the policy then is left out whole, as the API server would refuse it.
import type { Protocol } from "../model/rule.ts";
import type { Manifest } from "../model/snapshot.ts";
import { fields, listAt, objectAt, textAt, type Fields, type Path } from "./field.ts";
import { networkText } from "./net.ts";
import { parsePort, parseProtocol, type PortMatch } from "./port.ts";
import type { Report } from "./report.ts";
import { Selector } from "./selector/selector.ts";

/** Positive and negative tests of labels, as Kubernetes writes them. */
const LABEL_OPERATORS: Record<string, (key: string, values: string) => string> = {
  In: (key, values) => `${key} in { '${values}' }`,
  NotIn: (key, values) => `${key} not in { '${values}' }`,
  Exists: (key) => `has(${key})`,
  DoesNotExist: (key) => `! has(${key})`,
};

export class Reader {
  readonly manifest: Manifest;
  readonly spec: Fields;
  readonly report: Report;
  /** Was an error found? Then what was read is worth nothing. */
  failed = false;

  constructor(manifest: Manifest, report: Report) {
    this.manifest = manifest;
    this.spec = objectAt(manifest.value, "spec");
    this.report = report;
  }

  error(path: Path, message: string): void {
    this.failed = true;
    this.report.error(this.manifest, path, message);
  }

  warning(path: Path, message: string): void {
    this.report.warning(this.manifest, path, message);
  }

  /** A field in Calico's selector language; "" where absent. */
  selector(from: Fields, name: string, path: Path): string {
    const text = textAt(from, name);
    if (text !== "") {
      this.attempt([...path, name], () => Selector.parse(text), `${name}: `);
    }
    return text;
  }

  ports(from: Fields, name: string, path: Path): PortMatch[] {
    return listAt(from, name).flatMap((value, i) => {
      return this.attempt([...path, name, i], () => parsePort(value)) ?? [];
    });
  }

  nets(from: Fields, name: string, path: Path): string[] {
    return listAt(from, name).flatMap((value, i) => {
      return this.attempt([...path, name, i], () => networkText(String(value))) ?? [];
    });
  }

  protocol(from: Fields, name: string, path: Path): Protocol | undefined {
    const value = from[name];
    if (value === undefined || value === null) return undefined;
    return this.attempt([...path, name], () => parseProtocol(value));
  }

  /** The result, or a finding and nothing. */
  attempt<T>(path: Path, what: () => T, before = ""): T | undefined {
    try {
      return what();
    } catch (error) {
      this.error(path, before + (error instanceof Error ? error.message : String(error)));
      return undefined;
    }
  }

  /**
   * Kubernetes' LabelSelector as text, its terms in Felix' order: labels by name, then expressions
   * as written. Of pods it adds that they are Kubernetes' (host endpoints are not); of namespaces
   * an empty one is all().
   */
  labelSelector(value: unknown, of: "pods" | "namespaces" | "nodes", path: Path): string {
    const terms = of === "pods" ? ["projectcalico.org/orchestrator == 'k8s'"] : [];
    const selector = fields(value);
    const labels = Object.entries(objectAt(selector, "matchLabels"));
    const expressions = listAt(selector, "matchExpressions").map((each) => fields(each) ?? {});
    if (selector && of !== "pods" && labels.length + expressions.length === 0) return "all()";
    labels.sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [key, wanted] of labels) terms.push(`${key} == '${String(wanted)}'`);
    expressions.forEach((expression, i) => {
      const operator = textAt(expression, "operator");
      const term = LABEL_OPERATORS[operator];
      const values = listAt(expression, "values").map(String).join("', '");
      const at = [...path, "matchExpressions", i];
      if (term) terms.push(term(textAt(expression, "key"), values));
      else this.error(at, `operator "${operator}": In, NotIn, Exists or DoesNotExist`);
    });
    const text = terms.join(" && ");
    if (selector) this.attempt(path, () => Selector.parse(text));
    return text;
  }
}
