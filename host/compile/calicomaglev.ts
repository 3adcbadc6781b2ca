// The Maglev table of Calico's eBPF dataplane: which slots a backend wants, from its name alone, so
// that nodes of both dataplanes send a flow to the same backend.
//
//   name "10.65.0.2:8055", "[fd00::2]:8055" ─► offset = FNV-1(0x00 name) mod M
//                                              skip   = FNV-1(0x0a name) mod (M - 1) + 1
//
// The four bytes of a digest, which FNV gives high byte first, are read low byte first. M is the
// next prime from 5 x the most backends of a service (bpfMaglevMaxEndpointsPerService, 100).
// Source: projectcalico libcalico-go/lib/consistenthash; felix/config bpfMaglev*; FNV-1 of
// Fowler, Noll and Vo.
import { addressText } from "../model/address.ts";
import type { End } from "./backends.ts";

/** M where bpfMaglevMaxEndpointsPerService is 100. */
export const CALICO_SLOTS = 503;

const FNV_BASIS = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** The backend's name, by which the table's backends are sorted and its slots are found. */
export function calicoName({ family, words, port }: End): string {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < bytes.length / 4; i++) view.setInt32(i * 4, words[i]!);
  const address = addressText(bytes);
  return family === 4 ? `${address}:${port}` : `[${address}]:${port}`;
}

/** For a table of `slots`, a prime. */
export function permutation(end: End, slots: number): { offset: number; skip: number } {
  const name = calicoName(end);
  return {
    offset: digest(0, name) % slots,
    skip: (digest(0x0a, name) % (slots - 1)) + 1,
  };
}

/** FNV-1 of a byte and an ASCII text, its bytes turned round. */
function digest(first: number, text: string): number {
  let hash = Math.imul(FNV_BASIS, FNV_PRIME) ^ first;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash, FNV_PRIME) ^ text.charCodeAt(i);
  return (((hash & 0xff) << 24) | ((hash & 0xff00) << 8) | ((hash >>> 8) & 0xff00) |
    (hash >>> 24)) >>> 0;
}
