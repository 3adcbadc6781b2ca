// Where a frame's result could depend on the order of packets that are decided together: what an
// earlier packet does when it is settled may be what a later one's decision rests on. There the
// frame is cut: what stands before is settled first, the rest is decided anew. So the result is
// that of frames of one packet, wherever an adapter cuts.
//
//   client affinity    a client's flow notes its backend, its next one asks (affinity.ts): cut
//                      where the second was given another backend
//   restored sessions  the first packet readmits the session, or ends it (restored.ts)
//   passed-on sessions a packet that another node passed on ends a session that would pass it on
//                      again (lookup.ts): what else hits it is to meet the new one
//
// Marks are 32-bit tags with a value, open addressing, in the frame's scratch. Limit: two different
// things of one tag cut a frame where it need not be, which nobody sees.
import { hashAddress } from "./hash";
import { first8, last8, sourceOf } from "./family";
import { FRAME_PACKETS_MAX, FRAME_STAGES } from "./layout";
import { Packet, STANDIN } from "./packet";
import { root } from "./root";

/** u32: how many marks are set; then the table: u32 tag, u32 value. */
const MARKED: usize = STANDIN + 0x100;
const MARKS: usize = MARKED + 0x10;
const PLACES: u32 = 1024;
if (MARKS + usize(PLACES) * 8 > FRAME_STAGES) ERROR("the marks run into the stages");
if (FRAME_PACKETS_MAX * 3 > PLACES) ERROR("a packet may set three marks");

export function clearMarks(frame: usize): void {
  if (!load<u32>(frame + MARKED)) return;
  memory.fill(frame + MARKS, 0, usize(PLACES) * 8);
  store<u32>(frame + MARKED, 0);
}
// @ts-ignore: decorator
@inline
export function hasMarks(frame: usize): bool {
  return load<u32>(frame + MARKED) != 0;
}
/** Where a mark stands, or would. */
function placeOf(frame: usize, mark: u32): usize {
  let place = mark & (PLACES - 1);
  while (true) {
    const at = frame + MARKS + (usize(place) << 3);
    const tag = load<u32>(at);
    if (tag == 0 || tag == mark) return at;
    place = (place + 1) & (PLACES - 1);
  }
}
/** The value of a mark, 0 = it is not set. */
export function markedWith(frame: usize, mark: u32): u32 {
  return hasMarks(frame) ? load<u32>(placeOf(frame, mark), 4) : 0;
}
export function setMark(frame: usize, mark: u32, value: u32): void {
  const at = placeOf(frame, mark);
  store<u32>(at, mark);
  store<u32>(at, value, 4);
  store<u32>(frame + MARKED, 1);
}

/** The mark of a client of a Service port. */
export function markOfClient<F>(p: Packet, service: u32): u32 {
  const source = sourceOf<F>(usize(p.window));
  return u32(hashAddress(first8<F>(source), last8<F>(source), service, root().seed0) >> 32) | 1;
}
/** The mark of a session record. */
export function markOfSession(r: usize): u32 {
  return ((u32(r) >> 6) * 0x9e3779b1) | 1;
}
