// `margay check PATHS`: what is wrong with manifests, before an API server or a cluster says it.
//
// Exit status: 0 nothing wrong (warnings perhaps), 1 errors (with --strict warnings too), 2 there
// was nothing to check.
import { Option, type Command } from "commander";

export const FORMATS = ["default", "json", "github"] as const;

export interface CheckOptions {
  format: (typeof FORMATS)[number];
  strict: boolean;
}

export function checkCommand(program: Command): void {
  program.command("check")
    .description("finds what is wrong or doubtful in policies and what they stand on")
    .argument("<paths...>", "folders and files of manifests (YAML, JSON); - is stdin")
    .addOption(new Option("--format <name>", "how to say it").choices(FORMATS).default("default"))
    .option("--strict", "warnings are errors", false)
    .action(async (paths: string[], options: CheckOptions) => {
      const { runCheck } = await import("./run.ts");
      const { status, lines, complaint } = await runCheck(paths, options);
      for (const line of lines) console.log(line);
      if (complaint !== undefined) console.error(`margay: ${complaint}`);
      process.exitCode = status;
    });
}
