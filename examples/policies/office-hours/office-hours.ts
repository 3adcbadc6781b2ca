// A policy that a user wrote: outside office hours only those on call get through.
//
//   Monday to Friday, 07:00 to 18:00 UTC   no match: the policies behind this one decide
//   any other time                         on call: no match;  everybody else: deny
//
// Its first set (the first of `sets` in the manifest) holds the addresses on call. A session that
// was opened in time outlives the hour: only the first packet of a connection is judged.
//
// The ABI, "evaluate/1": the parameters below, an answer of 0 no match, 1 allow, 2 deny, 3 pass
// (anything else is deny), and one import, member(). No loop, no memory, no other import: the
// program's door refuses those. See docs/user-policies.md.

/** Is an address of the packet in the set? Side 0 asks for its source, 1 for its destination. */
@external("margay", "member")
declare function member(packet: i32, set: i32, side: i32): i32;

const NO_MATCH: i32 = 0, DENY: i32 = 2;
const ON_CALL: i32 = 0;
const SOURCE: i32 = 0;

const SECONDS_A_DAY: u32 = 86_400;
const OPENS: u32 = 7 * 3600;
const CLOSES: u32 = 18 * 3600;

/** Sunday is 0; the first of January 1970 was a Thursday. */
function weekday(nowSeconds: u32): u32 {
  return (nowSeconds / SECONDS_A_DAY + 4) % 7;
}

function isOpen(nowSeconds: u32): bool {
  const day = weekday(nowSeconds);
  const second = nowSeconds % SECONDS_A_DAY;
  return day >= 1 && day <= 5 && second >= OPENS && second < CLOSES;
}

export function evaluate(
  packet: i32, protocol: i32, sourceHi: u64, sourceLo: u64, destinationHi: u64, destinationLo: u64,
  sourcePort: i32, destinationPort: i32, icmp: i32, nowSeconds: i32,
): i32 {
  if (isOpen(<u32>nowSeconds)) return NO_MATCH;
  return member(packet, ON_CALL, SOURCE) ? NO_MATCH : DENY;
}
