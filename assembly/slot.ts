// A packet's slot in the frame: the ABI between an adapter and the program (layout.ts says which
// field is in and which is out).
import {
  SLOT_BACKEND, SLOT_BYTES, SLOT_DIRECTION, SLOT_FLAGS, SLOT_HOOK, SLOT_INTERFACE, SLOT_NEW_LENGTH,
  SLOT_PACKET_LENGTH, SLOT_REASON, SLOT_REWRITTEN, SLOT_RULE, SLOT_SESSION, SLOT_VERDICT,
  SLOT_WINDOW_LENGTH,
} from "./layout";

@unmanaged
export class Slot {
  interface: u32;
  packetLength: u32;
  windowLength: u16;
  flags: u8;
  hook: u8;
  verdict: u8;
  reason: u8;
  rewritten: u8;
  direction: u8;
  rule: u32;
  session: u32;
  backend: u32;
  newLength: u32;
}
if (offsetof<Slot>() != SLOT_BYTES) ERROR("Slot is not SLOT_BYTES long");
if (offsetof<Slot>("interface") != SLOT_INTERFACE) ERROR("Slot.interface");
if (offsetof<Slot>("packetLength") != SLOT_PACKET_LENGTH) ERROR("Slot.packetLength");
if (offsetof<Slot>("windowLength") != SLOT_WINDOW_LENGTH) ERROR("Slot.windowLength");
if (offsetof<Slot>("flags") != SLOT_FLAGS) ERROR("Slot.flags");
if (offsetof<Slot>("hook") != SLOT_HOOK) ERROR("Slot.hook");
if (offsetof<Slot>("verdict") != SLOT_VERDICT) ERROR("Slot.verdict");
if (offsetof<Slot>("reason") != SLOT_REASON) ERROR("Slot.reason");
if (offsetof<Slot>("rewritten") != SLOT_REWRITTEN) ERROR("Slot.rewritten");
if (offsetof<Slot>("direction") != SLOT_DIRECTION) ERROR("Slot.direction");
if (offsetof<Slot>("rule") != SLOT_RULE) ERROR("Slot.rule");
if (offsetof<Slot>("session") != SLOT_SESSION) ERROR("Slot.session");
if (offsetof<Slot>("backend") != SLOT_BACKEND) ERROR("Slot.backend");
if (offsetof<Slot>("newLength") != SLOT_NEW_LENGTH) ERROR("Slot.newLength");
