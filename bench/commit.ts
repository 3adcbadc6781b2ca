// The commit that a result is of, for its facts.
import { execFileSync } from "node:child_process";

/** "abc1234", "abc1234 with changes" where files of `paths` differ from it, "none" without git. */
export function commitOf(...paths: string[]): string {
  const git = (...args: string[]): string =>
    execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    const changed = git("status", "--porcelain", "--", ...paths) !== "";
    return git("rev-parse", "--short", "HEAD") + (changed ? " with changes" : "");
  } catch {
    return "none";
  }
}
