// An object graph as bytes and back: objects of known classes, Maps, Sets, typed arrays and plain
// values; what is shared or goes round in circles stays so.
//
//   write   instances become plain objects with their class's name  ─► v8.serialize
//   read    v8.deserialize ─► the names become prototypes again, in place
//
// A field that is of no use to another process (caches by identity, functions) is left out, and
// made anew by its class's entry. Limits: an instance of a class that is not known, a function or
// a symbol is an error that names its path; the reader must be the same program as the writer.
import { deserialize, serialize } from "node:v8";

type Constructor = abstract new (...args: any[]) => object;

export interface KnownClass {
  class: Constructor;
  /** Fields that are not written, each with what makes it when it is read. */
  fresh?: Record<string, () => unknown>;
}
/** By the names that stand in the bytes. */
export type KnownClasses = Record<string, KnownClass>;

const CLASS = "\0class";
type Fields = Record<string, unknown>;

export function writeGraph(root: unknown, classes: KnownClasses): Uint8Array {
  const names = new Map<object, string>();
  for (const [name, known] of Object.entries(classes)) names.set(known.class.prototype, name);
  const copies = new Map<object, object>();
  const copy = (value: unknown, path: string): unknown => {
    if (typeof value === "function" || typeof value === "symbol") {
      throw new Error(`${path}: a ${typeof value} can't be written`);
    }
    if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) ||
      value instanceof ArrayBuffer) return value;
    const known = copies.get(value);
    if (known) return known;
    if (value instanceof Map) {
      const map = new Map<unknown, unknown>();
      copies.set(value, map);
      for (const [key, each] of value) map.set(copy(key, path), copy(each, `${path}[${key}]`));
      return map;
    }
    if (value instanceof Set) {
      const set = new Set<unknown>();
      copies.set(value, set);
      for (const each of value) set.add(copy(each, path));
      return set;
    }
    if (Array.isArray(value)) {
      const list: unknown[] = new Array(value.length);
      copies.set(value, list);
      for (const key of Object.keys(value)) {
        const i = Number(key);
        list[i] = copy(value[i], `${path}[${i}]`);
      }
      return list;
    }
    return object(value, path);
  };
  const object = (value: object, path: string): Fields => {
    const prototype = Object.getPrototypeOf(value) as object | null;
    const name = prototype === null || prototype === Object.prototype
      ? undefined : names.get(prototype);
    if (name === undefined && prototype !== null && prototype !== Object.prototype) {
      throw new Error(`${path}: class ${value.constructor.name} is not known here`);
    }
    const out: Fields = name === undefined ? {} : { [CLASS]: name };
    copies.set(value, out);
    const fresh = name === undefined ? undefined : classes[name]!.fresh;
    for (const [key, each] of Object.entries(value)) {
      if (fresh && key in fresh) continue;
      out[key] = copy(each, `${path}.${key}`);
    }
    return out;
  };
  return serialize(copy(root, "root"));
}

export function readGraph(bytes: Uint8Array, classes: KnownClasses): unknown {
  const root: unknown = deserialize(bytes);
  const seen = new Set<object>();
  const waiting: unknown[] = [root];
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null || seen.has(value) ||
      ArrayBuffer.isView(value) || value instanceof ArrayBuffer) continue;
    seen.add(value);
    if (value instanceof Map) {
      for (const [key, each] of value) waiting.push(key, each);
    } else if (value instanceof Set) {
      for (const each of value) waiting.push(each);
    } else {
      revive(value as Fields, classes);
      for (const each of Object.values(value)) waiting.push(each);
    }
  }
  return root;
}

function revive(value: Fields, classes: KnownClasses): void {
  if (!Object.hasOwn(value, CLASS)) return;
  const name = value[CLASS] as string;
  const known = classes[name];
  if (!known) throw new Error(`class ${name} is not known here`);
  delete value[CLASS];
  Object.setPrototypeOf(value, known.class.prototype as object);
  for (const [field, make] of Object.entries(known.fresh ?? {})) value[field] = make();
}
