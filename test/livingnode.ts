// One node for tests: an engine that runs the program of a state, state after state. Interfaces by
// their endpoints' names ("host", "eth0", "shop/web"), a clock that a test moves on.
import { Reason, Verdict } from "../assembly/layout.ts";
import { NodeMemory, nodeProgram } from "../host/compile/node.ts";
import { bindRecords, Compiler } from "../host/compile/program.ts";
import { configureRecord } from "../host/compile/records.ts";
import { coreModule } from "../host/dataplane/core.ts";
import { NodeDataplane } from "../host/dataplane/node.ts";
import type { Result } from "../host/dataplane/dataplane.ts";
import { addressText } from "../host/model/address.ts";
import type { Program } from "../host/model/program.ts";
import type { NodeDevices, NodeState } from "../host/model/state.ts";
import { checksumsRight, crc32c } from "./packets.ts";
import { headersOf, isFault } from "./reference/header.ts";

const BUDGETS = {
  workers: 1, sessions4Max: 4096, sessions6Max: 4096, endpointsMax: 64, servicesMax: 128,
};
const DAY_MS = 24 * 3_600_000;
const SCTP = 132;

export class LivingNode {
  program!: Program;
  readonly memory = new NodeMemory();
  nowMs = 1000;
  private readonly engine = new NodeDataplane(coreModule());
  private readonly compiler = new Compiler(BUDGETS);
  private generation = 0;
  private numbers: ReadonlyMap<string, number> = new Map();

  constructor() {
    this.engine.stage(configureRecord(BUDGETS));
  }

  async push(state: NodeState, devices: NodeDevices): Promise<void> {
    this.program = nodeProgram(state, devices, this.memory);
    this.engine.push(await this.compiler.compile(this.program, ++this.generation));
    this.engine.stage(bindRecords(this.program));
    this.numbers = new Map(this.program.endpoints.flatMap((each) =>
      each.interfaces.map((number) => [each.name, number])));
  }

  /** Of packets after one another, `pauseMs` apart. */
  send(from: string, packets: readonly Uint8Array[], pauseMs = 0): Result[] {
    const at = this.numbers.get(from);
    if (at === undefined) throw new Error(`no endpoint ${from}`);
    return packets.map((bytes) => {
      this.nowMs += pauseMs;
      return this.engine.process(0, [{ interface: at, bytes }],
        { nowMs: this.nowMs, nowSeconds: 1_700_000_000 })[0]!;
    });
  }

  /** A day goes by: every session has ended. */
  forget(): void {
    this.nowMs += DAY_MS;
    this.sweep();
  }
  /** Sessions that are over are taken away. */
  sweep(): void {
    for (let i = 0; i < 4; i++) this.engine.age(0, this.nowMs, 2 * BUDGETS.sessions4Max);
  }

  close(): void {
    this.engine.close();
  }
}

/** "pass allowed", "reply no-backend". */
export function outcome({ verdict, reason }: Result): string {
  const words = Reason[reason]!.replaceAll(/(?!^)([A-Z])/g, "-$1");
  return `${Verdict[verdict]} ${words}`.toLowerCase();
}

/** Where a packet comes from, and where it goes, "10.0.0.1:80", "[fd00::1]:80". */
export function endsOf(bytes: Uint8Array): { from: string; to: string; fault: string } {
  const headers = headersOf(bytes);
  if (isFault(headers)) return { from: "", to: "", fault: headers.fault };
  const { source, destination, protocol, port, at } = headers;
  const right = protocol === SCTP ? sctpRight(bytes, at) : checksumsRight(bytes);
  const to = addressText(destination);
  return {
    from: addressText(source), to: to.includes(":") ? `[${to}]:${port}` : `${to}:${port}`,
    fault: right ? "" : "a checksum is wrong",
  };
}

function sctpRight(bytes: Uint8Array, at: number): boolean {
  const copy = bytes.slice(at);
  const is = new DataView(copy.buffer).getUint32(8, true);
  copy.fill(0, 8, 12);
  return crc32c(copy) === is;
}
