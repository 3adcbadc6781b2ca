// The arena: what generations allocate. One writer, the control instance; workers only read what is
// in it. Free lists by size class, four classes to a doubling, so at most a quarter of a block is
// unused; no coalescing: generations ask for the same sizes again and again.
//
//   class = 4 x floor(log2 bytes) + next two bits     block = 64-byte header, then the payload
//
// The header's first word is the class while in use and the next free block while free. Blocks are
// lines: 64-byte aligned. Limits: what a class holds is never given to another class.
import { ROOT, ROOT_ARENA_FREE } from "./layout";
import { root } from "./root";

const HEADER: u32 = 64;
const SMALLEST: u32 = 128;

/** Bytes of a class. */
function bytesOf(sizeClass: u32): u32 {
  const log = sizeClass >> 2;
  return ((4 + (sizeClass & 3)) << log) >> 2;
}
/** The smallest class that holds `bytes`. */
export function classOf(bytes: u32): u32 {
  if (bytes <= SMALLEST) return (31 - clz(SMALLEST)) << 2;
  const log = 31 - clz(bytes);
  const sizeClass = (log << 2) | ((bytes >> (log - 2)) & 3);
  return bytesOf(sizeClass) < bytes ? sizeClass + 1 : sizeClass;
}

/** A zeroed block of at least `bytes`, 64-byte aligned; 0 when the arena is full. */
export function allocate(bytes: u32): u32 {
  if (bytes >= 0x38000000) return 0;
  const sizeClass = classOf(bytes + HEADER);
  const list = ROOT + ROOT_ARENA_FREE + (usize(sizeClass) << 2);
  const size = (bytesOf(sizeClass) + 63) & ~63;
  let block = load<u32>(list);
  if (block) {
    store<u32>(list, load<u32>(block));
  } else {
    const r = root();
    if (r.arenaEnd - r.arenaNext < size) return 0;
    block = r.arenaNext;
    r.arenaNext += size;
  }
  memory.fill(block, 0, size);
  store<u32>(block, sizeClass);
  return block + HEADER;
}

/** Gives a block back; 0 is allowed. Only when no reader can be inside it. */
export function release(payload: u32): void {
  if (!payload) return;
  const block = payload - HEADER;
  const list = ROOT + ROOT_ARENA_FREE + (usize(load<u32>(block)) << 2);
  store<u32>(block, load<u32>(list));
  store<u32>(list, block);
}
