// Enum names as text: one definition (assembly/layout.ts), kebab case everywhere people read it.
import { Reason, StageError, Verdict } from "../../assembly/layout.ts";

export function kebab(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, "-$&").toLowerCase();
}
export function reasonText(reason: Reason): string {
  return kebab(Reason[reason] ?? `reason-${reason}`);
}
export function verdictText(verdict: Verdict): string {
  return kebab(Verdict[verdict] ?? `verdict-${verdict}`);
}
export function stageErrorText(error: StageError): string {
  return kebab(StageError[error] ?? `error-${error}`);
}
