// One connection to VPP's API socket: frames, and the hand-shake that names the messages.
//
//   a frame: u64 0 | u32 length | u32 0 | message        a message: u16 number | fields
//   sockclnt_create (15) ─► sockclnt_create_reply (16): our index, and {number, "name_crc"} of all
//
// The numbers of messages differ from one start of VPP to the next; names and CRCs do not.
// What is written within one turn of the event loop leaves in one write.
// Limits: a message of at most 256 MiB. One that has ended stays so: client.ts makes anew.
// Source: vlibmemory/socket_api.c, memclnt.api.

import { connect as connectSocket } from "node:net";
import type { Socket } from "node:net";
import { VppConnectionError } from "./errors.ts";

const HEADER_BYTES = 16;
const MESSAGE_BYTES_MAX = 256 << 20;
const CREATE = 15;
const CREATE_REPLY = 16;
const NAME_BYTES = 64;

/** The messages of a running VPP. */
export class MessageTable {
  /** "name_crc" to number. */
  private readonly numbers = new Map<string, number>();
  private readonly crcs = new Map<string, string>();
  private readonly names = new Map<number, string>();

  constructor(entries: Iterable<readonly [nameAndCrc: string, number: number]>) {
    for (const [key, number] of entries) {
      const cut = key.lastIndexOf("_");
      const name = key.slice(0, cut);
      this.numbers.set(key, number);
      this.crcs.set(name, key.slice(cut + 1));
      this.names.set(number, name);
    }
  }

  number(name: string, crc: string): number | undefined {
    return this.numbers.get(`${name}_${crc}`);
  }

  /** The CRC that the running VPP has for this name. */
  crc(name: string): string | undefined {
    return this.crcs.get(name);
  }

  name(number: number): string | undefined {
    return this.names.get(number);
  }

  get size(): number {
    return this.names.size;
  }
}

/** Cuts a stream into messages. */
export class Frames {
  private parts: Buffer[] = [];
  private bytes = 0;

  /** Takes what has come; gives the messages that are complete. */
  *take(chunk: Buffer): Generator<Buffer> {
    this.parts.push(chunk);
    this.bytes += chunk.length;
    while (this.bytes >= HEADER_BYTES) {
      const length = this.peek().readUInt32BE(8);
      if (length < 2 || length > MESSAGE_BYTES_MAX) {
        throw new VppConnectionError(`a frame of ${length} bytes: this is no API socket of VPP`);
      }
      if (this.bytes < HEADER_BYTES + length) return;
      const all = this.parts.length === 1 ? this.parts[0]! : Buffer.concat(this.parts);
      const rest = all.subarray(HEADER_BYTES + length);
      this.parts = rest.length > 0 ? [rest] : [];
      this.bytes = rest.length;
      yield all.subarray(HEADER_BYTES, HEADER_BYTES + length);
    }
  }

  /** The first part, made to hold a header at least. */
  private peek(): Buffer {
    if (this.parts[0]!.length < HEADER_BYTES) this.parts = [Buffer.concat(this.parts)];
    return this.parts[0]!;
  }
}

export interface ConnectionEvents {
  message(bytes: Buffer): void;
  /** Once; whatever ended it. */
  close(error: VppConnectionError): void;
}

export class Connection {
  private readonly waiting: Buffer[] = [];
  private readonly frames = new Frames();
  private failed: VppConnectionError | undefined;
  private events: ConnectionEvents | undefined;

  private constructor(
    private readonly socket: Socket,
    readonly path: string,
    readonly table: MessageTable,
    readonly clientIndex: number,
  ) {}

  /** Connects and shakes hands; `name` is what VPP's `show api clients` tells. */
  static open(path: string, name: string, secondsMax: number): Promise<Connection> {
    const socket = connectSocket(path);
    const frames = new Frames();
    return new Promise((done, fail) => {
      const give = (why: string) => {
        clearTimeout(timer);
        socket.destroy();
        fail(new VppConnectionError(`${path}: ${why}`));
      };
      const timer = setTimeout(() => give(`no answer in ${secondsMax} s`), secondsMax * 1000);
      socket.on("error", (error) => give(error.message));
      socket.on("close", () => give("closed during the hand-shake"));
      socket.on("connect", () => socket.write(frame(createRequest(name))));
      socket.on("data", (chunk: Buffer) => {
        try {
          for (const bytes of frames.take(chunk)) {
            if (bytes.readUInt16BE(0) !== CREATE_REPLY) continue;
            clearTimeout(timer);
            socket.removeAllListeners();
            const { clientIndex, table } = readCreateReply(bytes);
            done(new Connection(socket, path, table, clientIndex));
            return;
          }
        } catch (error) {
          give((error as Error).message);
        }
      });
    });
  }

  /** Begins to hand over what comes. */
  start(events: ConnectionEvents): void {
    this.events = events;
    const end = (why: string) => this.end(new VppConnectionError(`${this.path}: ${why}`));
    this.socket.on("error", (error) => end(error.message));
    this.socket.on("close", () => end("VPP closed the connection"));
    this.socket.on("data", (chunk: Buffer) => {
      try {
        for (const bytes of this.frames.take(chunk)) {
          if (this.failed) return;
          events.message(bytes);
        }
      } catch (error) {
        end((error as Error).message);
      }
    });
  }

  send(message: Buffer): void {
    if (this.failed) throw this.failed;
    if (this.waiting.length === 0) queueMicrotask(() => this.flush());
    this.waiting.push(frame(message));
  }

  close(why = "closed"): void {
    this.flush();
    this.end(new VppConnectionError(`${this.path}: ${why}`));
  }

  /** Whether an open connection keeps the program from ending. */
  hold(yes: boolean): void {
    if (yes) this.socket.ref();
    else this.socket.unref();
  }

  private flush(): void {
    if (this.waiting.length > 0 && !this.failed) this.socket.write(Buffer.concat(this.waiting));
    this.waiting.length = 0;
  }

  private end(error: VppConnectionError): void {
    if (this.failed) return;
    this.failed = error;
    this.socket.destroySoon();
    this.events?.close(error);
  }
}

function frame(message: Buffer): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + message.length);
  bytes.writeUInt32BE(message.length, 8);
  message.copy(bytes, HEADER_BYTES);
  return bytes;
}

function createRequest(name: string): Buffer {
  const bytes = Buffer.alloc(2 + 4 + NAME_BYTES);
  bytes.writeUInt16BE(CREATE, 0);
  bytes.write(name.slice(0, NAME_BYTES - 1), 6, "latin1");
  return bytes;
}

/** u16 16, u32, u32 context, i32 response, u32 index, u16 count, {u16 number, char name[64]}. */
function readCreateReply(bytes: Buffer): { clientIndex: number; table: MessageTable } {
  const response = bytes.readInt32BE(10);
  if (response < 0) throw new VppConnectionError(`VPP refused the client (${response})`);
  const entries: [string, number][] = [];
  for (let i = 0; i < bytes.readUInt16BE(18); i++) {
    const at = 20 + i * (2 + NAME_BYTES);
    const name = bytes.subarray(at + 2, at + 2 + NAME_BYTES);
    entries.push([name.toString("latin1", 0, name.indexOf(0)), bytes.readUInt16BE(at)]);
  }
  return { clientIndex: bytes.readUInt32BE(14), table: new MessageTable(entries) };
}
