// `margay test`: runs the *.test.yaml files under some paths through the packet program.
//
//   margay test k8s/                              kustomize build prod | margay test - k8s/
//
// Exit status: 0 all passed; 1 a test failed, or coverage is below the threshold; 2 nothing was
// tested, or a file or option can't be used; 3 there is no packet program to run.
import { InvalidArgumentError, Option, type Command } from "commander";

export const REPORTERS = ["default", "junit", "github", "json"] as const;

export interface TestOptions {
  testName?: RegExp;
  reporter: typeof REPORTERS[number];
  watch?: boolean;
  coverage?: boolean;
  threshold?: number;
  init?: boolean;
}

export function testCommand(program: Command): void {
  program.command("test")
    .description("runs tests of policies (*.test.yaml) through the packet program")
    .argument("[paths...]", "test files and folders; - takes manifests from stdin (default: .)")
    .option("-t, --test-name <pattern>", "only tests whose names match", pattern)
    .addOption(new Option("--reporter <name>", "how results are printed")
      .choices(REPORTERS).default("default"))
    .option("--watch", "runs them again whenever a file changes")
    .option("--coverage", "says which rules no test decides or would miss")
    .option("--threshold <percent>", "of rules that tests must decide (with --coverage)", percent)
    .option("--init", "writes a test from what is allowed today")
    .action(async (paths: string[], options: TestOptions) => {
      // Modules are emitted on a thread of its own, which loads while the rest does.
      (await import("../compile/emitter.ts")).startEmitter();
      const { runTest } = await import("./run.ts");
      process.exitCode = await runTest(paths, options, (text) => process.stdout.write(`${text}\n`));
    });
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

function percent(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value <= 100) return value;
  throw new InvalidArgumentError("It must be a number from 0 to 100.");
}
