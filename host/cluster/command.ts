// `margay verdict`: what becomes of packets, asked of the packet program itself.
//
//   margay verdict --state PATH… ["FLOW"…] [--probes FILE.jsonl]     a cluster's programs
//   margay verdict --programs FILE.jsonl [--engine node|native]      bare policy programs
//
// Exit status: 0 answered, whatever the verdicts; 2 a file, a name or an option can't be used.
import { Option, type Command } from "commander";

export interface VerdictOptions {
  state?: string[];
  node?: string;
  probes?: string;
  programs?: string;
  engine?: "node" | "native";
  format?: "text" | "json";
}

export function verdictCommand(program: Command): void {
  program.command("verdict")
    .description("says what becomes of flows, by which rule, and why")
    .argument("[flows...]", "shop/web -> shop/db:5432/tcp")
    .option("--state <path>", "manifests (file, folder, - for stdin; again for more), or a Felix " +
      "stream", (path: string, before: string[] = []) => [...before, path])
    .option("--node <name>", "run this node's program alone")
    .option("--probes <file>", "a JSON object a line: id, from, to, protocol, port … (- for stdin)")
    .option("--programs <file>", "bare policy programs with their packets, a JSON object a line")
    .addOption(new Option("--engine <name>", "of --programs").choices(["node", "native"]))
    .addOption(new Option("--format <form>", "text (of flows), json (of probes)")
      .choices(["text", "json"]))
    .action(async (given: string[], options: VerdictOptions) => {
      // Modules are emitted on a thread of its own, which loads while the rest does.
      (await import("../compile/emitter.ts")).startEmitter();
      const { runVerdict } = await import("./verdict.ts");
      // `--state k8s/ "a/b -> c/d:80"`: what has an arrow is no path.
      const isFlow = (text: string): boolean => text.includes("->");
      const flows = [...given, ...(options.state ?? []).filter(isFlow)];
      options.state = options.state?.filter((path) => !isFlow(path));
      await runVerdict(flows, options, (text) => process.stdout.write(text));
    });
}
