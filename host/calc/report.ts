// Where findings and origins of rules come from: a manifest, and the path of a field in it.
// Findings never stop a calculation: what they are about is left out, and they say so.
import type { Origin } from "../model/rule.ts";
import type { Finding, Manifest } from "../model/snapshot.ts";
import type { Path } from "./field.ts";

/** ["spec", "ingress", 0, "from"] → "spec.ingress[0].from". */
export function fieldName(path: Path): string {
  return path.reduce<string>((name, step) => {
    if (typeof step === "number") return `${name}[${step}]`;
    return name === "" ? step : `${name}.${step}`;
  }, "");
}

/** "NetworkPolicy shop/db": an object as reports name it. */
export function objectName({ kind, namespace, name }: Manifest): string {
  return `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
}

/** Gathers the findings of one calculation, each once. */
export class Report {
  readonly findings: Finding[] = [];
  private readonly said = new Set<string>();

  add(severity: Finding["severity"], manifest: Manifest, path: Path, message: string): void {
    const { line, column } = manifest.at(path);
    const field = fieldName(path);
    const object = objectName(manifest);
    const key = [manifest.file, line, column, object, field, message].join("\n");
    if (this.said.has(key)) return;
    this.said.add(key);
    this.findings.push({
      severity, file: manifest.file, line, column, object, field, message,
    });
  }

  error(manifest: Manifest, path: Path, message: string): void {
    this.add("error", manifest, path, message);
  }

  warning(manifest: Manifest, path: Path, message: string): void {
    this.add("warning", manifest, path, message);
  }
}

/**
 * The origin of an author's rule: `path` of the rule in the object, and, where it names peers, of
 * the peer: ["spec", "ingress", 0] and ["from", 1].
 */
export function originOf(manifest: Manifest, path: Path, peer: Path = []): Origin {
  const { line, column } = manifest.at([...path, ...peer]);
  const name = fieldName(path[0] === "spec" ? path.slice(1) : path);
  const origin: Origin = { path: name, file: manifest.file, line, column };
  return peer.length === 0 ? origin : { ...origin, peer: fieldName(peer) };
}
