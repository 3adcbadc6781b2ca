// `margay check`, behind its command: check, print, say how it went.
import { noManifests } from "../input/manifest.ts";
import { check } from "./check.ts";
import type { CheckOptions } from "./command.ts";
import { printDefault, printGithub, printJson } from "./print.ts";

export const STATUS_ERRORS = 1;
export const STATUS_NOTHING = 2;

const PRINTERS = { default: printDefault, json: printJson, github: printGithub };

export interface CheckRun {
  status: number;
  lines: string[];
  /** Why nothing was checked. */
  complaint?: string;
}

/** `stdin`: what "-" reads, where it is not the process's. */
export async function runCheck(
  paths: readonly string[], options: CheckOptions, stdin?: string,
): Promise<CheckRun> {
  const result = await check(paths, stdin === undefined ? {} : { stdin });
  const { findings, objects, documents } = result;
  const { missing } = documents.found;
  if (objects === 0 && findings.length === missing.length) {
    return { status: STATUS_NOTHING, lines: [], complaint: noManifests(paths, documents, "check") };
  }
  const failed = findings.some(({ severity }) => options.strict || severity === "error");
  return { status: failed ? STATUS_ERRORS : 0, lines: PRINTERS[options.format](result) };
}
