// Who emits policy modules: this thread, once it has loaded binaryen, or a thread that a command
// started first thing, so that binaryen (a third of a second and more) loads while manifests are
// read.
//
//   startEmitter() ─► thread: import binaryen ─ ─ ┐
//   manifests, state, plan ─► emit(policy) ─ waits for it, then for the module ─► bytes
//
// The thread is handed rules and the numbers of the sets that they name; both sides run the same
// emitPolicy(). Where the thread's file is not beside this one (it is bundled for the command
// alone), or did not start, all is done here.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  MessageChannel, receiveMessageOnPort, Worker, type MessagePort,
} from "node:worker_threads";
import type { Policy } from "../model/program.ts";
import { emitPolicy, loadEmitter, setsOf, type SetNumbers } from "./policy.ts";

export interface ModuleEmitter {
  /** A policy as a module's bytes. Throws with the policy, rule and field that is wrong. */
  emit(policy: Policy, sets: SetNumbers): Uint8Array;
}

/** What the thread is asked, and what it answers. */
export interface EmitRequest {
  policy: Policy;
  addresses: Map<string, number>;
  ports: Map<string, number>;
}
export type EmitReply = { bytes: Uint8Array } | { error: string };
/** Of the thread's shared word: 0 = nothing yet, then how many replies have been posted. */
export interface EmitterData { port: MessagePort; replies: Int32Array }

const WAIT_MS_MAX = 60_000;

class ThreadEmitter implements ModuleEmitter {
  private readonly port: MessagePort;
  private readonly replies = new Int32Array(new SharedArrayBuffer(4));
  private asked = 0;

  constructor(file: string) {
    const { port1, port2 } = new MessageChannel();
    this.port = port1;
    const data: EmitterData = { port: port2, replies: this.replies };
    const worker = new Worker(file, { workerData: data, transferList: [port2] });
    worker.unref();
    port1.unref();
  }

  emit(policy: Policy, sets: SetNumbers): Uint8Array {
    const request: EmitRequest = { policy, ...setsOf(policy, sets) };
    this.port.postMessage(request);
    Atomics.wait(this.replies, 0, this.asked, WAIT_MS_MAX);
    const reply = receiveMessageOnPort(this.port)?.message as EmitReply | undefined;
    if (!reply) throw new Error(`policy ${policy.name}: the thread that emits modules is silent`);
    this.asked++;
    if ("error" in reply) throw new Error(reply.error);
    return reply.bytes;
  }
}

let started: ThreadEmitter | undefined;

/** Has binaryen loaded on a thread of its own from now on. A command's first step. */
export function startEmitter(): void {
  const file = fileURLToPath(new URL("./emitterthread.js", import.meta.url));
  if (!started && existsSync(file)) started = new ThreadEmitter(file);
}

/** The thread where one was started, else binaryen here. */
export async function openEmitter(): Promise<ModuleEmitter> {
  if (started) return started;
  const binaryen = await loadEmitter();
  return { emit: (policy, sets) => emitPolicy(binaryen, policy, sets) };
}
