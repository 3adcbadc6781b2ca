// `margay run --config margay.yaml`: the agent of a node.
import { Option, type Command } from "commander";

export interface RunCommandOptions {
  config: string;
  dataplane: "vpp";
  once?: boolean;
}

export function runCommand(program: Command): void {
  program.command("run")
    .description("the agent of a node: manifests into VPP, kept so")
    .requiredOption("--config <file>", "margay.yaml: VPP's socket, manifests, interfaces, routes")
    .addOption(new Option("--dataplane <name>", "where packets go through")
      .choices(["vpp"]).default("vpp"))
    .option("--once", "apply, save the sessions and end")
    .action(async (options: RunCommandOptions) => {
      const { runAgent } = await import("./run.ts");
      process.exitCode = await runAgent(options);
    });
}
