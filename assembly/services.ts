// Staging of services: a Service record to a block with its backends in canonical order and its
// Maglev table. Control side; workers only read what is made here (service.ts).
import { allocate, release } from "./arena";
import * as tcp from "./header/tcp";
import * as udp from "./header/udp";
import { Generation } from "./generation";
import {
  BACKENDS_MAX, BACKEND_ADDRESS, BACKEND_BYTES, BACKEND_ID, BACKEND_PORT, BACKEND_WEIGHT,
  SERVICE_ADDRESS, SERVICE_BACKEND, SERVICE_BACKENDS, SERVICE_PORT, SERVICE_PROTOCOL, SERVICE_SLOTS,
  StageError,
} from "./layout";
import { isPrime, populate, slotsFor, slotWidth } from "./maglev";
import { Backend, backendAt, findService, Service, SERVICE_HEADER, serviceHash } from "./service";
import { refuse, root } from "./root";

const SLOTS_MAX: u32 = 655_373;
/** Turns are dealt by weight: a table takes weight-max rounds for its lightest backend's. */
const WEIGHT_MAX: u16 = 1000;

function isMapped4(first: u64, last: u64): bool {
  return first == 0 && u32(last) == 0xffff0000;
}

export function addService(g: Generation, body: usize, length: u32): StageError {
  if (length < u32(SERVICE_BACKEND)) return refuse(StageError.BadRecordLength, length);
  const count = load<u32>(body, SERVICE_BACKENDS);
  if (count > BACKENDS_MAX) return refuse(StageError.FieldOutOfRange, u32(SERVICE_BACKENDS));
  if (length != u32(SERVICE_BACKEND) + count * BACKEND_BYTES) {
    return refuse(StageError.BadRecordLength, length);
  }
  if (!g.serviceCount) return refuse(StageError.TableFull, 0);
  const first = load<u64>(body, SERVICE_ADDRESS), last = load<u64>(body, SERVICE_ADDRESS + 8);
  const port = bswap<u16>(load<u16>(body, SERVICE_PORT));
  const protocol = load<u8>(body, SERVICE_PROTOCOL);
  if (protocol != <u8>tcp.PROTOCOL && protocol != <u8>udp.PROTOCOL) {
    return refuse(StageError.FieldOutOfRange, u32(SERVICE_PROTOCOL));
  }
  if (findService(g, first, last, port, protocol) !== null) {
    return refuse(StageError.DuplicateService, u32(bswap<u16>(port)));
  }
  let slots = load<u32>(body, SERVICE_SLOTS);
  if (!slots) slots = slotsFor(count);
  if (slots > SLOTS_MAX || slots < count || !isPrime(slots)) {
    return refuse(StageError.FieldOutOfRange, u32(SERVICE_SLOTS));
  }
  const width = slotWidth(count);
  const backends = SERVICE_HEADER + count * u32(offsetof<Backend>());
  const block = allocate(backends + (count ? slots * width : 0));
  if (!block) return refuse(StageError.ArenaFull, count);
  const s = changetype<Service>(usize(block));
  s.first = first;
  s.last = last;
  s.port = port;
  s.protocol = protocol;
  s.width = u8(width);
  s.backends = count;
  s.slots = slots;
  s.table = block + backends;
  const error = fill(s, body + SERVICE_BACKEND, isMapped4(first, last));
  if (error != StageError.None) {
    release(block);
    return error;
  }
  put(g, s);
  return StageError.None;
}

function fill(s: Service, from: usize, family4: bool): StageError {
  const count = s.backends;
  if (!count) return StageError.None;
  for (let i: u32 = 0; i < count; i++) {
    const raw = from + usize(i) * BACKEND_BYTES;
    const b = backendAt(s, i);
    b.first = load<u64>(raw, BACKEND_ADDRESS);
    b.last = load<u64>(raw, BACKEND_ADDRESS + 8);
    b.port = bswap<u16>(load<u16>(raw, BACKEND_PORT));
    const weight = load<u16>(raw, BACKEND_WEIGHT);
    b.weight = weight ? weight : 1;
    b.id = load<u32>(raw, BACKEND_ID);
    if (weight > WEIGHT_MAX) return refuse(StageError.FieldOutOfRange, u32(BACKEND_WEIGHT));
    if (b.id == u32.MAX_VALUE) return refuse(StageError.FieldOutOfRange, u32(BACKEND_ID));
    if (isMapped4(b.first, b.last) != family4) return refuse(StageError.WrongFamily, i);
  }
  sort(s);
  const scratch = allocate(count * 16);
  const taken = allocate(s.slots);
  if (scratch && taken) {
    const first = changetype<usize>(backendAt(s, 0));
    populate(s.table, s.width, s.slots, first, count, scratch, taken, root().maglevSeed);
  }
  release(scratch);
  release(taken);
  return scratch && taken ? StageError.None : refuse(StageError.ArenaFull, count);
}

/** Address, port, as big-endian numbers; then, for twins, weight and id. */
function isBefore(a: Backend, b: Backend): bool {
  const firstA = bswap<u64>(a.first), firstB = bswap<u64>(b.first);
  if (firstA != firstB) return firstA < firstB;
  const lastA = bswap<u64>(a.last), lastB = bswap<u64>(b.last);
  if (lastA != lastB) return lastA < lastB;
  const portA = bswap<u16>(a.port), portB = bswap<u16>(b.port);
  if (portA != portB) return portA < portB;
  return a.weight != b.weight ? a.weight < b.weight : a.id < b.id;
}

function swap(a: usize, b: usize): void {
  const low = v128.load(a), high = v128.load(a, 16);
  v128.store(a, v128.load(b));
  v128.store(a, v128.load(b, 16), 16);
  v128.store(b, low);
  v128.store(b, high, 16);
}

/** Shell sort into canonical order (gaps 3h + 1): in place, no recursion. */
function sort(s: Service): void {
  const count = s.backends;
  let gap: u32 = 1;
  while (gap < count / 3) gap = gap * 3 + 1;
  for (; gap > 0; gap /= 3) {
    for (let i = gap; i < count; i++) {
      for (let j = i; j >= gap && isBefore(backendAt(s, j), backendAt(s, j - gap)); j -= gap) {
        swap(changetype<usize>(backendAt(s, j)), changetype<usize>(backendAt(s, j - gap)));
      }
    }
  }
}

function put(g: Generation, s: Service): void {
  const hash = serviceHash(s.first, s.last, s.port, s.protocol);
  let at = u32(hash >> 32) & g.serviceMask;
  while (load<u32>(usize(g.services) + (usize(at) << 3), 4)) at = (at + 1) & g.serviceMask;
  const entry = usize(g.services) + (usize(at) << 3);
  store<u32>(entry, u32(hash));
  store<u32>(entry, u32(changetype<usize>(s)), 4);
  g.serviceCount--;
}

/** Frees a generation's service table and every block that it names. */
export function releaseServices(g: Generation): void {
  if (!g.services) return;
  for (let at: u32 = 0; at <= g.serviceMask; at++) {
    release(load<u32>(usize(g.services) + (usize(at) << 3), 4));
  }
  release(g.services);
}
