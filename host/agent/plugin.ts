// The dataplane inside VPP, through the plugin's messages: uploads with hashes, and what they are
// for. It keeps the hash of everything staged, as the plugin does, so that the two can be compared.
//
//   stage(records), module(…), publish(generation)   ─► margay_upload … ─► margay_stage …
//   h = sha256(h || sha256(records)), a module being its Module record, a publish its generation
//   beside: the same for the one that is to be swapped in
//
// Errors: what the core or the engine refuses throws PushRefused, as in other engines; all else is
// the client's error. Limit: VPP takes one push at a time; the caller keeps to that.
import { createHash } from "node:crypto";
import { SlotState, StageError } from "../../assembly/layout.ts";
import { PushRefused, type Push } from "../dataplane/dataplane.ts";
import { moduleRecord } from "../dataplane/record.ts";
import { kebab } from "../model/names.ts";
import type { Asking } from "./observed.ts";

/** Bytes of an upload's piece. */
const PIECE_BYTES = 64 << 10;
const UPLOAD = 1;
const MODULE_KINDS = { generated: SlotState.Generated, user: SlotState.User } as const;
const ZEROS = "0".repeat(64);
/** Of VPP's retvals (vnet/error.h). */
const UNSPECIFIED = -1, NO_SUCH_ENTRY = -6;
export const VALUE_EXIST = -81;

export interface PluginStatus {
  /** Hex; zeros where no core is loaded. */
  core: string;
  staged: string;
  layoutVersion: number;
  generation: number;
  nowMs: number;
  sessions: number;
  pid: number;
  failClosed: boolean;
}

export class Plugin {
  /** Of all that was staged since the core was opened, as the plugin has it, too. */
  staged = ZEROS;
  /** What is told goes to the one beside. */
  private isBeside = false;

  constructor(private readonly vpp: Asking) {}

  /** Undefined where no core is loaded. */
  async status(beside = false): Promise<PluginStatus | undefined> {
    let reply: Record<string, unknown>;
    try {
      reply = await this.vpp.call("margay_status_get", { beside });
    } catch (error) {
      if (retvalOf(error) === NO_SUCH_ENTRY) return undefined;
      throw error;
    }
    return {
      core: hex(reply["core_sha256"]), staged: hex(reply["staged_sha256"]),
      layoutVersion: reply["layout_version"] as number,
      generation: reply["generation"] as number, nowMs: reply["now_ms"] as number,
      sessions: Number(reply["sessions4"]) + Number(reply["sessions6"]),
      pid: reply["pid"] as number, failClosed: reply["fail_closed"] as boolean,
    };
  }

  async open(
    core: Uint8Array,
    options: { pages: number; workers: number; hugePages: boolean; beside: boolean },
  ): Promise<void> {
    const sha256 = await this.upload(core);
    await this.work("margay_open", {
      upload: UPLOAD, sha256, pages: options.pages, workers: options.workers,
      huge_pages: options.hugePages, beside: options.beside,
    });
    this.staged = ZEROS;
    this.isBeside = options.beside;
  }
  async swap(): Promise<void> {
    await this.work("margay_swap", {});
    this.isBeside = false;
  }
  async discard(): Promise<void> {
    this.isBeside = false;
    await this.work("margay_discard", {});
    this.staged = (await this.status())?.staged ?? ZEROS;
  }

  /** Records that act at once, or those of a generation. Empty ones are not sent. */
  async stage(records: Uint8Array): Promise<void> {
    if (records.length === 0) return;
    const sha256 = await this.upload(records);
    await this.work("margay_stage", { upload: UPLOAD, sha256 });
    this.note(sha256);
  }

  async push({ generation, modules, records }: Push): Promise<void> {
    for (const { slot, kind, wasm } of modules) {
      const sha256 = await this.upload(wasm);
      await this.work("margay_module", {
        slot, kind: MODULE_KINDS[kind], upload: UPLOAD, sha256,
      });
      this.note(digest(moduleRecord(slot, MODULE_KINDS[kind], wasm)));
    }
    await this.stage(records);
    await this.work("margay_publish", { generation });
    this.note(digest(word(generation)));
  }

  private note(sha256: Uint8Array): void {
    this.staged = hex(digest(Buffer.from(this.staged, "hex"), sha256));
  }

  private async upload(bytes: Uint8Array): Promise<Uint8Array> {
    for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
      const data = bytes.subarray(offset, offset + PIECE_BYTES);
      await this.vpp.call("margay_upload", {
        upload: UPLOAD, offset, total: bytes.length, length: data.length, data,
      });
    }
    return digest(bytes);
  }

  private async work(message: string, fields: Record<string, unknown>): Promise<void> {
    try {
      await this.vpp.call(message, fields);
    } catch (error) {
      // What was uploaded is spent or is of no use: the next begins anew.
      await this.vpp.call("margay_abandon_uploads", {}).catch(() => {});
      // A refusal is staged history, too.
      const status = await this.status(this.isBeside).catch(() => undefined);
      this.staged = status?.staged ?? this.staged;
      throw refusal(message, error);
    }
  }
}

/** A client's error with the reply in it, as the core said it. */
function refusal(message: string, error: unknown): unknown {
  const reply = replyOf(error);
  if (!reply || retvalOf(error) !== UNSPECIFIED) return error;
  const number = reply["error"] as number;
  const reason = number === 0 ? "engine" : kebab(StageError[number] ?? `stage-error-${number}`);
  const why = reply["why"] as string;
  return new PushRefused(reason, reply["record"] as number, reply["detail"] as number,
    why || `${message}: ${reason}`);
}

export function retvalOf(error: unknown): number | undefined {
  const { retval } = error as { retval?: unknown };
  return typeof retval === "number" ? retval : undefined;
}
function replyOf(error: unknown): Record<string, unknown> | undefined {
  return (error as { reply?: Record<string, unknown> }).reply;
}

function word(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}
function digest(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
}
function hex(bytes: unknown): string {
  return Buffer.from(bytes as Uint8Array).toString("hex");
}
