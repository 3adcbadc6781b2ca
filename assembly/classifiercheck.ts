// The look at a classifier's bytes when they are whole: every offset and index that the scan will
// follow stays inside the block, so that a wrong one is refused by name, not met by a packet.
// Layout: layout.ts.
import {
  Action, CLASSIFIER_ACTIONS, CLASSIFIER_BYTES, CLASSIFIER_DESTINATION, CLASSIFIER_FAMILY4,
  CLASSIFIER_FAMILY6, CLASSIFIER_HEADER_BYTES, CLASSIFIER_RULES, CLASSIFIER_RULES_MAX,
  CLASSIFIER_SERVICES, CLASSIFIER_SETS, CLASSIFIER_SET_ADDS, CLASSIFIER_SET_BYTES,
  CLASSIFIER_SET_CLEARS, CLASSIFIER_SET_MASK, CLASSIFIER_SIDES, CLASSIFIER_SOURCE,
  CLASSIFIER_SOURCES, CLASSIFIER_VECTOR, DELTA_DENSE, DIMENSION_BASE, DIMENSION_BYTES,
  DIMENSION_COUNT, DIMENSION_DELTAS, DIMENSION_STARTS, Side,
} from "./layout";

const PROTOCOLS: u32 = 256;
/** Of all rules together: what one packet may have to be asked. */
const CONDITIONS_MAX: u32 = 1 << 20;

/** 0 where all is right, else the offset of what is not (at least 1). */
export function checkClassifier(block: usize, total: u32): u32 {
  const rules = load<u32>(block, CLASSIFIER_RULES);
  const vector = load<u32>(block, CLASSIFIER_VECTOR);
  if (rules > CLASSIFIER_RULES_MAX) return 1;
  if (vector != ((rules + 127) >> 7) << 4) return u32(CLASSIFIER_VECTOR);
  if (load<u32>(block, CLASSIFIER_BYTES) != total) return u32(CLASSIFIER_BYTES);
  for (let at = CLASSIFIER_SOURCE; at <= CLASSIFIER_DESTINATION; at += 4) {
    if (!inside(load<u32>(block + at), vector, total)) return u32(at);
  }
  for (let at = CLASSIFIER_FAMILY4; at <= CLASSIFIER_FAMILY6; at += 4) {
    if (!inside(load<u32>(block + at), vector, total)) return u32(at);
  }
  const services = load<u32>(block, CLASSIFIER_SERVICES);
  const sources = load<u32>(block, CLASSIFIER_SOURCES);
  if (!inside(services, PROTOCOLS * 4, total)) return u32(CLASSIFIER_SERVICES);
  let wrong = checkDimensions(block, services, rules, vector, total);
  if (wrong) return wrong;
  if (sources) {
    if (!inside(sources, PROTOCOLS * 4, total)) return u32(CLASSIFIER_SOURCES);
    wrong = checkDimensions(block, sources, rules, vector, total);
    if (wrong) return wrong;
  }
  wrong = checkSets(block, rules, vector, total, sources != 0);
  return wrong ? wrong : checkActions(block, rules, total);
}

function inside(offset: u32, bytes: u32, total: u32): bool {
  return offset >= CLASSIFIER_HEADER_BYTES && offset <= total && bytes <= total - offset;
}

function checkDimensions(
  block: usize, table: u32, rules: u32, vector: u32, total: u32,
): u32 {
  let before: u32 = 0;
  for (let protocol: u32 = 0; protocol < PROTOCOLS; protocol++) {
    const at = load<u32>(block + table + (usize(protocol) << 2));
    if (at == 0 || at == before) continue;
    before = at;
    if (!inside(at, DIMENSION_BYTES, total)) return table + protocol * 4;
    const count = load<u32>(block + at, DIMENSION_COUNT);
    const starts = load<u32>(block + at, DIMENSION_STARTS);
    const deltas = load<u32>(block + at, DIMENSION_DELTAS);
    if (!inside(load<u32>(block + at, DIMENSION_BASE), vector, total)) return at;
    if (count == 0 || count > 0x10000) return at + u32(DIMENSION_COUNT);
    if (!inside(starts, count * 2, total)) return at + u32(DIMENSION_STARTS);
    if (!inside(deltas, count * 8, total)) return at + u32(DIMENSION_DELTAS);
    for (let i: u32 = 0; i < count; i++) {
      const delta = deltas + i * 8;
      if (!checkDelta(block, delta, rules, vector, total)) return delta;
      const start = starts + i * 2;
      const value = u32(load<u16>(block + start));
      if (i ? value <= u32(load<u16>(block + start - 2)) : value != 0) return start;
    }
  }
  return 0;
}

function checkDelta(block: usize, at: u32, rules: u32, vector: u32, total: u32): bool {
  const from = load<u32>(block + at);
  const count = load<u32>(block + at, 4);
  if (count == 0) return true;
  if (count & DELTA_DENSE) return inside(from, vector, total);
  if (count > vector >> 1 || !inside(from, count * 2, total)) return false; // dense is shorter
  for (let k: u32 = 0; k < count; k++) {
    if (u32(load<u16>(block + from + (usize(k) << 1))) >= rules) return false;
  }
  return true;
}

/** The set table: at most half full, so that every look-up ends. */
function checkSets(
  block: usize, rules: u32, vector: u32, total: u32, hasSourcePorts: bool,
): u32 {
  const table = load<u32>(block, CLASSIFIER_SETS);
  const mask = load<u32>(block, CLASSIFIER_SET_MASK);
  if ((mask & (mask + 1)) || mask >= 1 << 20) return u32(CLASSIFIER_SET_MASK);
  if (!inside(table, (mask + 1) * CLASSIFIER_SET_BYTES, total)) return u32(CLASSIFIER_SETS);
  let used: u32 = 0;
  for (let i: u32 = 0; i <= mask; i++) {
    const at = table + i * CLASSIFIER_SET_BYTES;
    const key = load<u32>(block + at);
    if (!key) continue;
    used++;
    const side = (key - 1) >> 16;
    if (side >= CLASSIFIER_SIDES) return at;
    // Without that table there is no vector for it to act on, and it would be passed over.
    if (side == <u32>Side.SourcePort && !hasSourcePorts) return at;
    const adds = at + u32(CLASSIFIER_SET_ADDS), clears = at + u32(CLASSIFIER_SET_CLEARS);
    if (!checkDelta(block, adds, rules, vector, total)) return adds;
    if (!checkDelta(block, clears, rules, vector, total)) return clears;
  }
  return used * 2 > mask + 1 ? table : 0;
}

function checkActions(block: usize, rules: u32, total: u32): u32 {
  const actions = load<u32>(block, CLASSIFIER_ACTIONS);
  if (!inside(actions, rules * 8, total)) return u32(CLASSIFIER_ACTIONS);
  let conditions: u32 = 0;
  for (let i: u32 = 0; i < rules; i++) {
    const at = actions + i * 8;
    const action = load<u32>(block + at);
    const next = action >> 8;
    if ((action & 0xff) > <u32>Action.Pass) return at;
    if ((action & 0xff) == Action.Pass && (next <= i || next > rules)) return at;
    const verify = load<u32>(block + at, 4);
    if (!verify) continue;
    if (!inside(verify, 4, total)) return at;
    const count = load<u32>(block + verify);
    conditions += count;
    if (conditions > CONDITIONS_MAX) return at;
    if (count > 65535 || !inside(verify, 4 + count * 4, total)) return verify;
    for (let k: u32 = 0; k < count; k++) {
      const condition = load<u32>(block + verify + 4 + (usize(k) << 2));
      if (((condition >> 16) & 0xff) >= CLASSIFIER_SIDES) return verify;
    }
  }
  return 0;
}
