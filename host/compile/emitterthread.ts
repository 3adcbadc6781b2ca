// The thread that emits policy modules: it loads binaryen as it starts, then answers requests in
// their order (host/compile/emitter.ts).
import { workerData } from "node:worker_threads";
import { netsId } from "./match.ts";
import { emitPolicy, loadEmitter, type SetNumbers } from "./policy.ts";
import type { EmitReply, EmitRequest, EmitterData } from "./emitter.ts";

const { port, replies } = workerData as EmitterData;
const binaryen = loadEmitter();

/** Numbers as the asking side gave them. */
function numbersOf(request: EmitRequest): SetNumbers {
  const numberIn = (numbers: Map<string, number>) => (id: string): number => {
    const number = numbers.get(id);
    if (number === undefined) throw new Error(`no set has the id "${id}"`);
    return number;
  };
  return {
    addresses: numberIn(request.addresses), ports: numberIn(request.ports), nets: netsId,
  };
}

port.on("message", async (request: EmitRequest) => {
  let reply: EmitReply;
  try {
    reply = { bytes: emitPolicy(await binaryen, request.policy, numbersOf(request)) };
  } catch (cause) {
    reply = { error: (cause as Error).message };
  }
  port.postMessage(reply);
  Atomics.add(replies, 0, 1);
  Atomics.notify(replies, 0);
});
