// The command: `margay replay CAPTURE --program FILE`. `npm start` runs it on the capture and the
// program of examples/.
//
// Exit status: 0 done, 1 engines differ, 2 the command, a file or an engine can't be used, 3 the
// capture is damaged (what stands before the damage was replayed), 4 a bug: something that nobody
// expected.

import { Command, InvalidArgumentError } from "commander";
import pc from "picocolors";
import { ENGINES } from "./replay/engines.ts";
import type { Engine } from "./replay/engines.ts";
import { CommandError, replayCommand } from "./replay/command.ts";
import type { ReplayOptions } from "./replay/command.ts";

const STATUS_USAGE = 2;
const STATUS_BUG = 4;

function engine(name: string, before: Engine[] | undefined): Engine[] {
  const found = ENGINES.find((one) => one.name === name);
  if (found === undefined) {
    const known = ENGINES.map((one) => one.name).join(", ");
    throw new InvalidArgumentError(`There is no engine "${name}"; known are ${known}.`);
  }
  return [...(before ?? []), found];
}

const program = new Command("margay")
  .description("The packet program of a node, run on captures")
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : STATUS_USAGE);
  });

program.command("replay")
  .description("runs a capture (pcap or pcapng) through a program, and reports")
  .argument("<capture>", "packets as the node's interfaces received them")
  .requiredOption("--program <file>", "the program: endpoints, services, policies (JSON)")
  .option("--out <file>", "write the packets that leave, rewritten (pcapng)")
  .option("--engine <name>", "node, native or vpp, compared (default: all that are here)", engine)
  .option("--interface <name>", "where packets came in that the capture doesn't tell of")
  .action(async (capture: string, options: ReplayOptions) => {
    process.exitCode = await replayCommand(capture, options, (line) => console.log(line));
  });

try {
  await program.parseAsync();
} catch (error) {
  const expected = error instanceof CommandError;
  const text = expected ? error.message : (error as Error).stack ?? String(error);
  for (const line of text.split("\n")) console.error(`${pc.red("margay:")} ${line}`);
  process.exitCode = expected ? STATUS_USAGE : STATUS_BUG;
}
