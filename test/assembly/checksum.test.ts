// Checksums of rewritten packets against their recomputation: random VIPs, backends, ports and
// payloads, both directions and families; a sum that comes out as zero; none at all; partial ones;
// wrong ones, which must stay wrong. FUZZ_SEED repeats a run, FUZZ_RUNS lengthens it.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SlotFlag, Verdict } from "../../assembly/layout.ts";
import { addressText } from "../../host/model/address.ts";
import type { Dataplane, Result } from "../../host/dataplane/dataplane.ts";
import type { Program, Service } from "../../host/model/program.ts";
import { checksumsRight, packet, sum16 } from "../packets.ts";
import { seedOf } from "../seed.ts";
import { BUDGETS, started, UPLINK } from "../shop.ts";

const seed = seedOf("FUZZ_SEED");
const numRuns = Number(process.env["FUZZ_RUNS"] ?? 400);
const clock = { nowMs: 2_000_000, nowSeconds: 1_700_000_000 };
const SERVICES = 32;
type Family = 4 | 6;
type Protocol = "tcp" | "udp";

// ---- Random services and flows ------------------------------------------------------------------

/** Words that carry, and words at random. */
const word = fc.oneof(fc.constantFrom(0, 1, 0xff, 0x7fff, 0x8000, 0xfffe, 0xffff), fc.nat(0xffff));
const port = word.map((each) => each || 1);
const address = (family: Family): fc.Arbitrary<string> => {
  const length = family === 4 ? 2 : 8;
  return fc.array(word, { minLength: length, maxLength: length }).map((words) => {
    const bytes = Uint8Array.from(words.flatMap((each) => [each >> 8, each & 0xff]));
    bytes[0] = family === 4 ? bytes[0]! % 200 + 1 : 0x20 | (bytes[0]! & 0x0f);
    return addressText(bytes);
  });
};
function services(family: Family, protocol: Protocol): Service[] {
  const one = fc.record({ vip: address(family), port, backend: address(family), target: port });
  const keys = new Set<string>();
  return fc.sample(one, { seed, numRuns: SERVICES }).filter(({ vip, port: at }) => {
    const key = `${vip} ${at}`;
    return !keys.has(key) && keys.add(key);
  }).map(({ vip, port: at, backend, target }) => ({
    name: vip, address: vip, port: at, protocol,
    backends: [{ name: backend, address: backend, port: target }],
  }));
}
const flow = (family: Family) => fc.record({
  service: fc.nat(SERVICES - 1), client: address(family), sourcePort: port,
  payload: fc.uint8Array({ minLength: 2, maxLength: 60 }),
});
interface Flow {
  service: number;
  client: string;
  sourcePort: number;
  payload: Uint8Array;
}

// ---- Fields of a packet -------------------------------------------------------------------------

const headerOf = (bytes: Uint8Array): number => (bytes[0]! >> 4 === 4 ? 20 : 40);
const fieldOf = (bytes: Uint8Array): number =>
  headerOf(bytes) + (bytes[bytes[0]! >> 4 === 4 ? 9 : 6]! === 6 ? 16 : 6);
const wordAt = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
function setWord(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
}
/** Sum over the pseudo-header: what a partial checksum's field holds. */
function pseudo(bytes: Uint8Array): number {
  const four = bytes[0]! >> 4 === 4;
  const tail = new Uint8Array(8);
  new DataView(tail.buffer).setUint32(0, bytes.length - headerOf(bytes));
  tail[7] = bytes[four ? 9 : 6]!;
  return sum16(four ? bytes.subarray(12, 20) : bytes.subarray(8, 40), tail);
}
/** Sets the L4 checksum to what it must be. */
function seal(bytes: Uint8Array): Uint8Array {
  const field = fieldOf(bytes);
  setWord(bytes, field, 0);
  const sum = ~sum16(bytes.subarray(headerOf(bytes)), words(pseudo(bytes))) & 0xffff;
  setWord(bytes, field, sum === 0 && field - headerOf(bytes) === 6 ? 0xffff : sum);
  return bytes;
}
const words = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);
/** Equal in one's complement arithmetic, where 0 and 0xffff are one number. */
const congruent = (a: number, b: number): boolean => a % 0xffff === b % 0xffff;
/** A copy without what a rewrite may change. */
function rest(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  const header = headerOf(bytes);
  out.fill(0, header === 20 ? 10 : 8, header + 4);
  setWord(out, fieldOf(bytes), 0);
  return out;
}
/** Addresses and ports turned round, from a packet that went out: its reply, sealed. */
function replyTo(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  const header = headerOf(bytes);
  const size = header === 20 ? 4 : 16;
  const from = header - 2 * size;
  out.set(bytes.subarray(from + size, header), from);
  out.set(bytes.subarray(from, from + size), from + size);
  setWord(out, header, wordAt(bytes, header + 2));
  setWord(out, header + 2, wordAt(bytes, header));
  return seal(out);
}

const cases = ([4, 6] as const).flatMap((family) =>
  (["tcp", "udp"] as const).map((protocol) => ({ family, protocol })));

describe.each(cases)("IPv$family $protocol", ({ family, protocol }) => {
  const known = services(family, protocol);
  const program: Program = {
    endpoints: [{ name: "uplink", kind: "uplink", interfaces: [UPLINK], addresses: [] }],
    services: known, policies: [],
  };
  const open = async (): Promise<Dataplane> =>
    (await started(program, { ...BUDGETS, sessions4Max: 65536, sessions6Max: 65536 })).dataplane;
  const send = (dataplane: Dataplane, bytes: Uint8Array, flags = 0): Result =>
    dataplane.process(0, [{ interface: UPLINK, bytes, flags }], clock)[0]!;
  const packetOf = (of: Flow): Uint8Array => {
    const to = known[of.service % known.length]!;
    const bytes = packet({
      from: of.client, to: to.address, protocol, port: to.port, sourcePort: of.sourcePort,
      payload: of.payload.length, flags: "S",
    });
    bytes.set(of.payload, bytes.length - of.payload.length);
    return seal(bytes);
  };
  /** Runs a check on flows whose opener passes, and sees that most do. */
  async function forFlows(
    check: (dataplane: Dataplane, bytes: Uint8Array, of: Flow) => boolean,
  ): Promise<void> {
    const dataplane = await open();
    let done = 0;
    fc.assert(fc.property(flow(family), (of) => {
      if (check(dataplane, packetOf(of), of)) done++;
    }), { seed, numRuns });
    expect(done).toBeGreaterThan(numRuns / 2);
  }

  test("checksums: right after every rewrite, there and back; nothing else changes", async () => {
    console.log(`FUZZ_SEED=${seed}`);
    await forFlows((dataplane, bytes, of) => {
      const there = send(dataplane, bytes);
      if (there.verdict !== Verdict.Pass) return false; // a tuple that another flow's reply has
      const backend = known[of.service % known.length]!.backends[0]!;
      const header = headerOf(bytes);
      expect(wordAt(there.bytes!, header + 2)).toBe(backend.port);
      expect(addressText(there.bytes!.slice(family === 4 ? 16 : 24, header))).toBe(backend.address);
      expect(checksumsRight(there.bytes!)).toBe(true);
      expect(rest(there.bytes!)).toEqual(rest(bytes));
      const reply = replyTo(there.bytes!);
      const back = send(dataplane, reply);
      expect(back.verdict).toBe(Verdict.Pass);
      expect(checksumsRight(back.bytes!)).toBe(true);
      expect(rest(back.bytes!)).toEqual(rest(reply));
      expect(replyTo(back.bytes!).subarray(header - (family === 4 ? 8 : 32)))
        .toEqual(bytes.subarray(header - (family === 4 ? 8 : 32)));
      return true;
    });
  });

  test("checksums: a sum that comes out as zero", async () => {
    await forFlows((dataplane, bytes, of) => {
      const there = send(dataplane, bytes);
      if (there.verdict !== Verdict.Pass) return false;
      // One word of payload by which the rewritten packet's sum becomes 0xffff, its checksum 0.
      const at = bytes.length - of.payload.length;
      const out = there.bytes!.slice();
      setWord(out, at, 0);
      setWord(bytes, at, wordAt(seal(out), fieldOf(out)) % 0xffff);
      const again = send(dataplane, seal(bytes)).bytes!;
      expect(checksumsRight(again)).toBe(true);
      const sum = wordAt(again, fieldOf(again));
      if (protocol === "udp") expect(sum).toBe(0xffff);
      else expect(congruent(sum, 0)).toBe(true);
      return true;
    });
  });

  test("checksums: a wrong one stays wrong by as much", async () => {
    await forFlows((dataplane, bytes) => {
      const field = fieldOf(bytes);
      const right = wordAt(bytes, field);
      const wrong = right ^ 0x0100;
      if (wrong === 0) return false; // UDP: none
      setWord(bytes, field, wrong);
      const there = send(dataplane, bytes);
      if (there.verdict !== Verdict.Pass) return false;
      expect(checksumsRight(there.bytes!)).toBe(false);
      const off = wordAt(there.bytes!, field) - wordAt(seal(there.bytes!.slice()), field);
      expect(congruent(off + 0xffff * 2, wrong - right + 0xffff * 2)).toBe(true);
      return true;
    });
  });

  test("checksums: a partial one keeps the sum of the pseudo-header", async () => {
    await forFlows((dataplane, bytes) => {
      setWord(bytes, fieldOf(bytes), pseudo(bytes));
      const there = send(dataplane, bytes, SlotFlag.PartialChecksum);
      if (there.verdict !== Verdict.Pass) return false;
      const sum = (of: Uint8Array): number => wordAt(of, fieldOf(of));
      expect(congruent(sum(there.bytes!), pseudo(there.bytes!))).toBe(true);
      const reply = replyTo(there.bytes!);
      setWord(reply, fieldOf(reply), pseudo(reply));
      const back = send(dataplane, reply, SlotFlag.PartialChecksum);
      expect(congruent(sum(back.bytes!), pseudo(back.bytes!))).toBe(true);
      if (family === 4) expect(sum16(back.bytes!.subarray(0, 20))).toBe(0xffff);
      return true;
    });
  });

  if (family === 4 && protocol === "udp") {
    test("checksums: none stays none over IPv4", async () => {
      await forFlows((dataplane, bytes) => {
        setWord(bytes, fieldOf(bytes), 0);
        const there = send(dataplane, bytes);
        if (there.verdict !== Verdict.Pass) return false;
        expect(wordAt(there.bytes!, fieldOf(bytes))).toBe(0);
        expect(sum16(there.bytes!.subarray(0, 20))).toBe(0xffff);
        return true;
      });
    });
  }

  if (family === 4) {
    test("checksums: header checksums of 0 and 0xffff", async () => {
      await forFlows((dataplane, bytes) => {
        // The identification by which the incoming header's sum needs no checksum.
        setWord(bytes, 10, 0);
        setWord(bytes, 4, 0);
        setWord(bytes, 4, 0xffff - sum16(bytes.subarray(0, 20)));
        for (const sum of [0, 0xffff]) {
          setWord(bytes, 10, sum);
          const there = send(dataplane, bytes);
          if (there.verdict !== Verdict.Pass) return false;
          expect(checksumsRight(there.bytes!)).toBe(true);
        }
        return true;
      });
    });
  }
});
