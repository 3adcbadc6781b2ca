// WebAssembly modules made by hand, byte by byte: what no compiler emits, the door must judge too.
// Binary format: WebAssembly core specification, section 5.
import { ABI_GENERATED, ABI_SECTION } from "../host/compile/policy.ts";

export const I32 = 0x7f, I64 = 0x7e, FUNCTION = 0x60, END = 0x0b;
/** The type of evaluate, and a function type without anything. */
export const EVALUATE_TYPE = [
  FUNCTION, 10, I32, I32, I64, I64, I64, I64, I32, I32, I32, I32, 1, I32,
];
export const NOTHING_TYPE = [FUNCTION, 0, 0];

/** Unsigned LEB128. */
export function leb(value: number): number[] {
  const out: number[] = [];
  do {
    const low = value & 0x7f;
    value = Math.floor(value / 128);
    out.push(value ? low | 0x80 : low);
  } while (value);
  return out;
}
export function name(text: string): number[] {
  const bytes = new TextEncoder().encode(text);
  return [...leb(bytes.length), ...bytes];
}
export function section(id: number, ...body: number[]): number[] {
  return [id, ...leb(body.length), ...body];
}
export function vector(items: number[][]): number[] {
  return [...leb(items.length), ...items.flat()];
}
export function custom(title: string, text: string): number[] {
  return section(0, ...name(title), ...new TextEncoder().encode(text));
}
/** A function body: its locals' declarations, code, end. */
export function body(code: number[], locals: number[] = [0]): number[] {
  const inner = [...locals, ...code, END];
  return [...leb(inner.length), ...inner];
}
/** Answer 1, allow. */
export const ALLOW_CODE = [0x41, 1];
/** A call of a function of NOTHING_TYPE. */
export const call = (index: number): number[] => [0x10, ...leb(index)];

export interface Handmade {
  types?: number[][];
  /** Bodies of functions behind evaluate, all of NOTHING_TYPE. */
  functions?: number[][];
  evaluate?: number[];
  /** Type indices of the functions: 0 for evaluate, 1 for the others, when absent. */
  functionTypes?: number[];
  imports?: number[][];
  exports?: number[][];
  abi?: string | undefined;
  /** Whole sections put in before the one with the number. */
  before?: Record<number, number[]>;
}

export const EXPORT_EVALUATE = [...name("evaluate"), 0, 0];

/** A module; what isn't said is as a smallest valid policy has it. */
export function handmade(from: Handmade = {}): Uint8Array {
  const functions = from.functions ?? [];
  const bodies = [from.evaluate ?? body(ALLOW_CODE), ...functions];
  const types = from.functionTypes ?? [0, ...functions.map(() => 1)];
  const sections: [number, number[]][] = [
    [1, section(1, ...vector(from.types ?? [EVALUATE_TYPE, NOTHING_TYPE]))],
    [2, from.imports ? section(2, ...vector(from.imports)) : []],
    [3, section(3, ...vector(types.map(leb)))],
    [7, section(7, ...vector(from.exports ?? [EXPORT_EVALUATE]))],
    [10, section(10, ...vector(bodies))],
  ];
  const abi = "abi" in from ? from.abi : ABI_GENERATED;
  return Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...sections.flatMap(([id, bytes]) => [...from.before?.[id] ?? [], ...bytes]),
    ...from.before?.[99] ?? [],
    ...abi === undefined ? [] : custom(ABI_SECTION, abi),
  ]);
}
