// Reasons: which of them let a packet pass.
import { Reason } from "./layout";

// @ts-ignore: decorator
@inline
export function passes(reason: u32): bool {
  return reason == <u32>Reason.Established || reason == <u32>Reason.Allowed ||
    reason >= <u32>Reason.Untracked;
}
