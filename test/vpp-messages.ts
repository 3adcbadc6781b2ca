// Pushes by the binary API, for tests: what the messages of vpp-plugin/margay.api want, in order.
//
//   bytes ─► margay_upload ... ─► margay_open | margay_stage | margay_module ─► margay_publish

import { createHash } from "node:crypto";
import { SlotState } from "../assembly/layout.ts";
import type { Push } from "../host/dataplane/dataplane.ts";
import { moduleRecord } from "../host/dataplane/record.ts";
import { VppClient } from "../host/vpp/api/index.ts";
import type { VppProcess } from "../host/vpp/process.ts";

const PIECE_BYTES = 64 * 1024;

export function clientOf(vpp: VppProcess, name = "test"): Promise<VppClient> {
  return VppClient.connect({ socket: vpp.path("api.sock"), name, replySecondsMax: 30 });
}

export const sha256 = (...parts: Uint8Array[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
};

/** What margay_status_get says was staged, followed here: dataplane.h, margay_staged_hash. */
export class StagedHash {
  hash: Uint8Array = new Uint8Array(32);
  add(bytes: Uint8Array): void {
    this.hash = sha256(this.hash, sha256(bytes));
  }
  refused(): void {
    this.hash = sha256(this.hash, new Uint8Array(32).fill(255));
  }
  publish(generation: number): void {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, generation, true);
    this.add(bytes);
  }
  module(slot: number, kind: SlotState, wasm: Uint8Array): void {
    this.add(moduleRecord(slot, kind, wasm));
  }
}

export class Messages {
  private next = 1;
  readonly staged = new StagedHash();

  constructor(readonly client: VppClient) {}

  async upload(bytes: Uint8Array): Promise<{ upload: number; sha256: Uint8Array }> {
    const upload = this.next++;
    for (let offset = 0; offset < bytes.length; offset += PIECE_BYTES) {
      const data = bytes.subarray(offset, offset + PIECE_BYTES);
      await this.client.call("margay_upload", { upload, offset, total: bytes.length, data });
    }
    return { upload, sha256: sha256(bytes) };
  }

  async open(core: Uint8Array, options: { pages?: number; beside?: boolean } = {}): Promise<void> {
    await this.client.call("margay_open", {
      ...await this.upload(core), pages: options.pages ?? 0, workers: 0, huge_pages: false,
      beside: options.beside ?? false,
    });
  }

  async stage(records: Uint8Array): Promise<void> {
    await this.client.call("margay_stage", await this.upload(records));
    this.staged.add(records);
  }

  async push({ generation, modules, records }: Push): Promise<void> {
    for (const { slot, kind, wasm } of modules) {
      const number = kind === "user" ? SlotState.User : SlotState.Generated;
      await this.client.call("margay_module", {
        slot, kind: number, ...await this.upload(wasm),
      });
      this.staged.module(slot, number, wasm);
    }
    await this.stage(records);
    await this.client.call("margay_publish", { generation });
    this.staged.publish(generation);
  }
}
