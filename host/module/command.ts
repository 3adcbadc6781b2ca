// `margay module SOURCE`: builds a policy that a user wrote and says what the door makes of it; of
// a .wasm file it says that alone.
//
// Exit status: 0 admitted, 1 refused or not compiled, 2 a file can't be read or written.
import type { Command } from "commander";

export interface ModuleOptions {
  out?: string;
}

export function moduleCommand(program: Command): void {
  program.command("module")
    .description("builds a policy module of your own (AssemblyScript), and asks the core's door")
    .argument("<source>", "office-hours.ts, or a .wasm file to ask the door about")
    .option("--out <file>", "where the module goes (default: beside the source, .wasm)")
    .action(async (source: string, options: ModuleOptions) => {
      const { runModule } = await import("./run.ts");
      process.exitCode = await runModule(source, options, (line) => console.log(line));
    });
}
