// `margay replay CAPTURE --state PATHS` (or --program FILE): a capture through a node's program.
import { InvalidArgumentError, type Command } from "commander";

export const ENGINE_NAMES = ["node", "native", "vpp"] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

export interface ReplayOptions {
  program?: string;
  state?: string[];
  node?: string;
  out?: string;
  engine?: EngineName[];
  interface?: string;
  checkpoint?: string;
}

function engine(name: string, before: EngineName[] | undefined): EngineName[] {
  const found = ENGINE_NAMES.find((one) => one === name);
  if (found === undefined) {
    const known = ENGINE_NAMES.join(", ");
    throw new InvalidArgumentError(`There is no engine "${name}"; known are ${known}.`);
  }
  return [...(before ?? []), found];
}

export function replayCommand(program: Command): void {
  program.command("replay")
    .description("runs a capture (pcap or pcapng) through a node's program, and reports")
    .argument("<capture>", "packets as the node's interfaces received them")
    .option("--state <paths...>", "manifests: files, folders, - for stdin")
    .option("--node <name>", "whose program judges (default: the only node)")
    .option("--program <file>", "in place of --state: endpoints, services, policies (JSON)")
    .option("--out <file>", "write what leaves, rewritten: a pcap, or a pcapng")
    .option("--engine <name>", "node, native or vpp, compared (default: all that are here)", engine)
    .option("--checkpoint <file>", "begin with the sessions in it, if it is there; leave its own")
    .option("--interface <name>", "where packets came in that the capture doesn't tell of")
    .action(async (capture: string, options: ReplayOptions) => {
      const { runReplay } = await import("./run.ts");
      process.exitCode = await runReplay(capture, options, (line) => console.log(line));
    });
}
