// The classifier: the first rule of many that a packet matches, by bit vectors. Layout: layout.ts.
//
//   service (protocol, port)  ┐  base vector | what the value's interval adds | named ports
//   source port               ├─ AND ─► first set bit ─ verify ─► allow, deny, or pass: go on at
//   source, destination       │  base | what each set that the address is in adds, then clears
//   family                    ┘
//
// Its cost is the vectors' length, a bit a rule and dimension, and the sets that the addresses are
// in; not the rules that do not match. Vectors stay where they are until something is added to
// them: then they are copied to scratch. Source: Lakshman & Stiliadis 1998; Lucent bit vectors.
import { classCount, classSets, holds } from "./classes";
import { classOfSide, hasPorts } from "./facts";
import {
  Action, CLASSIFIER_ACTIONS, CLASSIFIER_DESTINATION, CLASSIFIER_FAMILY4, CLASSIFIER_FAMILY6,
  CLASSIFIER_RULES, CLASSIFIER_RULES_MAX, CLASSIFIER_SERVICES, CLASSIFIER_SETS,
  CLASSIFIER_SET_ADDS, CLASSIFIER_SET_CLEARS, CLASSIFIER_SET_HASH, CLASSIFIER_SET_MASK,
  CLASSIFIER_SOURCE, CLASSIFIER_SOURCES, CLASSIFIER_VECTOR, DELTA_DENSE, DIMENSION_BASE,
  DIMENSION_COUNT, DIMENSION_DELTAS, DIMENSION_STARTS, FRAMES, FRAME_BYTES, FRAME_DETAILS,
  FRAME_VECTORS, Side,
} from "./layout";
import { Packet } from "./packet";
import { numberOf, Worker } from "./worker";

const VECTOR_MAX: usize = CLASSIFIER_RULES_MAX / 8;
if (FRAME_VECTORS + 16 + 4 * VECTOR_MAX > FRAME_DETAILS) ERROR("the vectors run into details");

/** The four vectors in hand: addresses in the block or in scratch. */
@unmanaged
class Vectors {
  source: u32;
  destination: u32;
  sourcePort: u32;
  service: u32;
}
/** By the side of a set table's key, a nibble each: which of the four it acts on. */
const VECTOR_OF_SIDE: u32 = 0x13210;
if (offsetof<Vectors>() != 16) ERROR("Vectors is not 16 bytes");

// @ts-ignore: decorator
@inline
function scratchOf(w: Worker): usize {
  return FRAMES + usize(numberOf(w)) * FRAME_BYTES + FRAME_VECTORS + 16;
}

/**
 * The answer of a classifier: Action | rule index << 8; NoMatch and a pass out of it carry the
 * number of rules as the index.
 */
export function classify(w: Worker, p: Packet, block: usize, facts: usize, toPort: u32): u32 {
  const rules = load<u32>(block, CLASSIFIER_RULES);
  const nothing = <u32>Action.NoMatch | (rules << 8);
  const protocol = u32(p.protocol);
  const services = block + load<u32>(block, CLASSIFIER_SERVICES);
  const service = load<u32>(services + (usize(protocol) << 2));
  if (!service) return nothing;
  const ports = hasPorts(protocol);
  const v = changetype<Vectors>(scratchOf(w) - 16);
  const value = ports ? toPort : p.icmp >= 0 ? u32(p.icmp) : 0;
  v.source = u32(block) + load<u32>(block, CLASSIFIER_SOURCE);
  v.destination = u32(block) + load<u32>(block, CLASSIFIER_DESTINATION);
  v.service = dimension(w, block, service, value, 3);
  v.sourcePort = 0;
  const sources = load<u32>(block, CLASSIFIER_SOURCES);
  if (sources) {
    const found = load<u32>(block + sources + (usize(protocol) << 2));
    if (!found) return nothing;
    v.sourcePort = dimension(w, block, found, ports ? u32(bswap<u16>(u16(p.ports))) : 0, 2);
  }
  let clears = applySets(w, block, facts, Side.Source, 0, CLASSIFIER_SET_ADDS);
  clears |= applySets(w, block, facts, Side.Destination, 1, CLASSIFIER_SET_ADDS);
  clears |= applySets(w, block, facts, Side.SourcePort, 2, CLASSIFIER_SET_ADDS);
  clears |= applySets(w, block, facts, Side.DestinationPort, 3, CLASSIFIER_SET_ADDS);
  clears |= applySets(w, block, facts, Side.DestinationPort, 4, CLASSIFIER_SET_ADDS);
  if (clears) {
    applySets(w, block, facts, Side.Source, 0, CLASSIFIER_SET_CLEARS);
    applySets(w, block, facts, Side.Destination, 1, CLASSIFIER_SET_CLEARS);
    applySets(w, block, facts, Side.SourcePort, 2, CLASSIFIER_SET_CLEARS);
    applySets(w, block, facts, Side.DestinationPort, 3, CLASSIFIER_SET_CLEARS);
    applySets(w, block, facts, Side.DestinationPort, 4, CLASSIFIER_SET_CLEARS);
  }
  const families = block + (p.family == 4 ? CLASSIFIER_FAMILY4 : CLASSIFIER_FAMILY6);
  const family = block + load<u32>(families);
  return scan(v, block, facts, family, rules);
}

/** The vector of a dimension for a value: its base, and what the value's interval adds. */
function dimension(w: Worker, block: usize, at: u32, value: u32, vector: u32): u32 {
  const d = block + at;
  const base = u32(block) + load<u32>(d, DIMENSION_BASE);
  const starts = block + load<u32>(d, DIMENSION_STARTS);
  let low: u32 = 0, high = load<u32>(d, DIMENSION_COUNT);
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (u32(load<u16>(starts + (usize(middle) << 1))) <= value) low = middle;
    else high = middle;
  }
  const delta = block + load<u32>(d, DIMENSION_DELTAS) + (usize(low) << 3);
  return add(w, block, base, delta, vector);
}

/** A vector with a delta's rules set, or cleared; copied to its scratch place first. */
// @ts-ignore: decorator
@inline
function change(
  w: Worker, block: usize, vector: u32, delta: usize, which: u32, clears: bool,
): u32 {
  const count = load<u32>(delta, 4);
  if (!count) return vector;
  const to = ownCopy(w, block, vector, which);
  const from = block + load<u32>(delta);
  if (count & DELTA_DENSE) {
    const bytes = load<u32>(block, CLASSIFIER_VECTOR);
    for (let i: usize = 0; i < bytes; i += 16) {
      const old = v128.load(to + i), rules = v128.load(from + i);
      v128.store(to + i, clears ? v128.andnot(old, rules) : v128.or(old, rules));
    }
  } else {
    for (let k: u32 = 0; k < count; k++) {
      const rule = u32(load<u16>(from + (usize(k) << 1)));
      const at = to + (usize(rule >> 3));
      const bit = <u8>1 << u8(rule & 7);
      store<u8>(at, clears ? load<u8>(at) & ~bit : load<u8>(at) | bit);
    }
  }
  return u32(to);
}
function add(w: Worker, block: usize, vector: u32, delta: usize, which: u32): u32 {
  return change(w, block, vector, delta, which, false);
}
function clear(w: Worker, block: usize, vector: u32, delta: usize, which: u32): u32 {
  return change(w, block, vector, delta, which, true);
}
function ownCopy(w: Worker, block: usize, vector: u32, which: u32): usize {
  const to = scratchOf(w) + usize(which) * VECTOR_MAX;
  if (usize(vector) != to) {
    const bytes = load<u32>(block, CLASSIFIER_VECTOR);
    for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(usize(vector) + i));
  }
  return to;
}

/** Lets the sets of one side act on its vector; tells whether any of them clears. */
function applySets(
  w: Worker, block: usize, facts: usize, side: u32, keySide: u32, what: usize,
): u32 {
  const c = classOfSide(facts, side);
  const count = classCount(c);
  if (!count) return 0;
  const which = (VECTOR_OF_SIDE >> (keySide << 2)) & 15;
  const place = scratchOf(w) - 16 + (usize(which) << 2);
  let vector = load<u32>(place);
  if (!vector) return 0;
  const sets = classSets(c);
  const table = block + load<u32>(block, CLASSIFIER_SETS);
  const mask = load<u32>(block, CLASSIFIER_SET_MASK);
  let clears: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const key = ((keySide << 16) | u32(load<u16>(sets + (usize(i) << 1)))) + 1;
    let at = ((key * CLASSIFIER_SET_HASH) >> 16) & mask;
    while (true) {
      const entry = table + (usize(at) << 5);
      const found = load<u32>(entry);
      if (!found) break;
      if (found == key) {
        if (what == CLASSIFIER_SET_ADDS) vector = add(w, block, vector, entry + what, which);
        else vector = clear(w, block, vector, entry + what, which);
        clears |= load<u32>(entry, CLASSIFIER_SET_CLEARS + 4);
        break;
      }
      at = (at + 1) & mask;
    }
  }
  store<u32>(place, vector);
  return clears;
}

/** The first rule whose bit stands in all vectors and whose verify list holds. */
function scan(v: Vectors, block: usize, facts: usize, family: usize, rules: u32): u32 {
  const source = usize(v.source), destination = usize(v.destination), service = usize(v.service);
  const sourcePort = v.sourcePort ? usize(v.sourcePort) : service;
  const actions = block + load<u32>(block, CLASSIFIER_ACTIONS);
  let from: u32 = 0;
  while (from < rules) {
    const rule = firstFrom(source, destination, service, sourcePort, family, from, rules);
    if (rule >= rules) break;
    const at = actions + (usize(rule) << 3);
    const verify = load<u32>(at, 4);
    from = rule + 1;
    if (verify && !verified(block + verify, facts)) continue;
    const action = load<u32>(at);
    if ((action & 0xff) != Action.Pass) return (action & 0xff) | (rule << 8);
    from = action >> 8;
    if (from >= rules) return <u32>Action.Pass | (rule << 8);
  }
  return <u32>Action.NoMatch | (rules << 8);
}

/** The first bit at or behind `from` that stands in all five vectors; `rules` or more: none. */
function firstFrom(
  a: usize, b: usize, c: usize, d: usize, e: usize, from: u32, rules: u32,
): u32 {
  let at = usize(from >> 7) << 4;
  const end = usize((rules + 127) >> 7) << 4;
  let low = from & 127;
  for (; at < end; at += 16) {
    const all = v128.and(
      v128.and(v128.and(v128.load(a + at), v128.load(b + at)), v128.load(c + at)),
      v128.and(v128.load(d + at), v128.load(e + at)),
    );
    if (v128.any_true(all)) {
      let first = i64x2.extract_lane(all, 0), second = i64x2.extract_lane(all, 1);
      if (low >= 64) first = 0;
      else first &= i64(-1) << i64(low);
      if (low > 64) second &= i64(-1) << i64(low - 64);
      if (first) return (u32(at) << 3) + u32(ctz<i64>(first));
      if (second) return (u32(at) << 3) + 64 + u32(ctz<i64>(second));
    }
    low = 0;
  }
  return rules;
}

/** Do all further conditions of a rule hold? Each is a set, a side and whether it is negated. */
function verified(list: usize, facts: usize): bool {
  const count = load<u32>(list);
  for (let i: u32 = 0; i < count; i++) {
    const condition = load<u32>(list + 4 + (usize(i) << 2));
    const keySide = (condition >> 16) & 0xff;
    const side = keySide == 4 ? <u32>Side.DestinationPort : keySide;
    const inSet = holds(classOfSide(facts, side), condition & 0xffff);
    if (inSet == ((condition >> 24) != 0)) return false;
  }
  return true;
}
