// Manifests that nothing can be run on: every error, as `margay check` lists them.
import { CommandError } from "../command-error.ts";
import type { Finding } from "../model/snapshot.ts";

export class StateError extends CommandError {
  constructor(readonly findings: readonly Finding[]) {
    super(findings.map(findingText).join("\n"));
    this.name = "StateError";
  }
}

/** Throws a StateError where errors are among the findings. */
export function stopAt(findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length) throw new StateError(errors);
}

/** "k8s/db.yaml:14:9 NetworkPolicy shop/db spec.ingress[0]: unknown field". */
export function findingText({ file, line, column, object, field, message }: Finding): string {
  const what = [object, field].filter((each) => each !== "").join(" ");
  return `${file}:${line}:${column} ${what}${what === "" ? "" : ": "}${message}`;
}
