// The command, `margay`. Each command registers itself, and loads what it needs when it runs.
//
// Exit status: 0 done; 1 what was asked about is not so (a test failed, engines differ, a module is
// refused); 2 the command or a file can't be used; 3 an engine is not here; 4 a bug: something that
// nobody expected. What else a command answers, its own file says.

import { Command } from "commander";
import pc from "picocolors";
import { runCommand } from "./agent/command.ts";
import { checkCommand } from "./check/command.ts";
import { verdictCommand } from "./cluster/command.ts";
import { CommandError } from "./command-error.ts";
import { moduleCommand } from "./module/command.ts";
import { replayCommand } from "./replay/command.ts";
import { testCommand } from "./testing/command.ts";

const STATUS_USAGE = 2;
const STATUS_BUG = 4;

// `margay … | head`: who reads no more wants no more.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0);
});

const program = new Command("margay")
  .description("A node's packet program: policies checked, tested, explained, run on captures")
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : STATUS_USAGE);
  });

replayCommand(program);
checkCommand(program);
testCommand(program);
moduleCommand(program);
verdictCommand(program);
runCommand(program);

try {
  await program.parseAsync();
} catch (error) {
  const expected = error instanceof CommandError;
  const text = expected ? error.message : (error as Error).stack ?? String(error);
  for (const line of text.split("\n")) console.error(`${pc.red("margay:")} ${line}`);
  process.exitCode = expected ? error.status : STATUS_BUG;
}
