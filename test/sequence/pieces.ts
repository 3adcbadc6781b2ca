// A datagram cut into fragments, and an ICMP error that quotes a packet.
import { addressText } from "../../host/model/address.ts";
import { packet, sum16 } from "../packets.ts";

/** Cuts a whole packet without options or extension headers; `at`: offsets, multiples of 8. */
export function fragmentsOf(bytes: Uint8Array, at: number[], identification: number): Uint8Array[] {
  const four = bytes[0]! >> 4 === 4, header = four ? 20 : 40;
  const payload = bytes.subarray(header);
  const ends = [...at.filter((each) => each < payload.length), payload.length];
  return ends.map((end, i) => {
    const from = i === 0 ? 0 : ends[i - 1]!;
    const part = payload.subarray(from, end), more = end < payload.length;
    return four ? fragment4(bytes, part, from, more, identification)
      : fragment6(bytes, part, from, more, identification);
  });
}

function fragment4(
  whole: Uint8Array, part: Uint8Array, from: number, more: boolean, identification: number,
): Uint8Array {
  const out = Uint8Array.from([...whole.subarray(0, 20), ...part]);
  const view = new DataView(out.buffer);
  view.setUint16(2, out.length);
  view.setUint16(4, identification);
  view.setUint16(6, (from / 8) | (more ? 0x2000 : 0));
  view.setUint16(10, 0);
  view.setUint16(10, ~sum16(out.subarray(0, 20)) & 0xffff);
  return out;
}
function fragment6(
  whole: Uint8Array, part: Uint8Array, from: number, more: boolean, identification: number,
): Uint8Array {
  const out = Uint8Array.from([...whole.subarray(0, 40), ...new Uint8Array(8), ...part]);
  const view = new DataView(out.buffer);
  view.setUint16(4, out.length - 40);
  out[6] = 44;
  out[40] = whole[6]!;
  view.setUint16(42, from | (more ? 1 : 0));
  view.setUint32(44, identification);
  return out;
}

/** A packet's family, source and destination. */
export function endsOf(bytes: Uint8Array): { family: 4 | 6; from: string; to: string } {
  const four = bytes[0]! >> 4 === 4;
  const [source, destination, length] = four ? [12, 16, 4] : [8, 24, 16];
  return {
    family: four ? 4 : 6, from: addressText(bytes.subarray(source, source + length)),
    to: addressText(bytes.subarray(destination, destination + length)),
  };
}

/** An ICMP error about a packet, to who sent it; `by`: the router's or the receiver's address. */
export function errorAbout(
  bytes: Uint8Array, by: string, [type, code]: readonly [number, number], quoted: number,
): Uint8Array {
  const { from } = endsOf(bytes);
  return packet({
    from: by, to: from, protocol: "icmp", icmpType: type, icmpCode: code, sourcePort: 0,
    content: bytes.slice(0, quoted),
  });
}
