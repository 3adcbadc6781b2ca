// Prints native/layout.h from assembly/layout.ts and formats.ts, so that C and the packet program
// share one description of the memory.
//
//   assembly/layout.ts ──esbuild──► values ─┐
//          └──────── source order, notes ───┴─► native/layout.h
//
//   node scripts/layout.mjs            writes the header
//   node scripts/layout.mjs --check    exit 1 where the header is stale, and says which line
//
// A constant FOO becomes MARGAY_FOO. A member BarBaz of enum Qux becomes MARGAY_QUX_BAR_BAZ, and
// the enum has a list for X macros, X(constant, text), the text being the name in kebab case:
// MARGAY_QUXS(X), or MARGAY_QUX_LIST(X) where a constant has that plural.

import { build } from "esbuild";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const sourcePath = join(root, "assembly/layout.ts");
const headerPath = join(root, "native/layout.h");

/** SlotState -> SLOT_STATE */
export const upperSnake = (name) =>
  name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").toUpperCase();
/** NoGeneration -> no-generation */
export const kebab = (name) => upperSnake(name).toLowerCase().replaceAll("_", "-");

/** The values that assembly/layout.ts exports, as JavaScript. */
async function evaluate(path) {
  const { outputFiles } = await build({
    entryPoints: [path], write: false, format: "esm", bundle: true, logLevel: "error",
  });
  const text = Buffer.from(outputFiles[0].contents).toString("base64");
  return import(`data:text/javascript;base64,${text}`);
}

/** One #define; numbers keep the source's notation (0x1000 stays hexadecimal). */
function constant(name, value, source, note) {
  const literal = typeof value === "string" ? JSON.stringify(value)
    : /^0x[0-9a-f]+$/i.test(source) ? `${source}u` : `${value}u`;
  if (typeof value !== "string" && value !== value >>> 0) {
    throw new Error(`assembly/layout.ts: ${name} is ${value}, not a u32 or a text`);
  }
  const line = `#define MARGAY_${name} ${literal}`;
  return note && line.length + note.length < 93 ? `${line} /* ${note} */` : line;
}

/** Words on as few lines as fit; `end` closes each line but the last. */
function fill(words, end) {
  const lines = ["  " + words[0]];
  for (const word of words.slice(1)) {
    const last = lines[lines.length - 1];
    if (last.length + 1 + word.length + end.length <= 100) lines[lines.length - 1] += ` ${word}`;
    else lines.push(`  ${word}`);
  }
  return lines.map((line, i) => (i < lines.length - 1 ? line + end : line));
}

/** A C enum and its X-macro list. */
function enumeration(name, values, taken) {
  const prefix = `MARGAY_${upperSnake(name)}`;
  // esbuild's enum object also maps numbers back to names
  const members = Object.entries(values).filter(([, value]) => typeof value === "number");
  const plural = taken.has(`${prefix}S`) ? `${prefix}_LIST` : `${prefix}S`;
  const hex = (value) => (value > 0xffff ? `0x${value.toString(16)}` : `${value}`);
  return [
    `enum ${prefix.toLowerCase()} {`,
    ...fill(members.map(([name, value]) => `${prefix}_${upperSnake(name)} = ${hex(value)},`), ""),
    "};",
    `#define ${plural}(X) \\`,
    ...fill(members.map(([name]) => `X(${prefix}_${upperSnake(name)}, "${kebab(name)}")`), " \\"),
  ];
}

/** The text of native/layout.h. */
export async function header() {
  const source = [sourcePath, join(root, "assembly/formats.ts")]
    .map((path) => readFileSync(path, "utf8")).join("\n");
  const values = await evaluate(sourcePath);
  const declaration = new RegExp([
    /^\/\/ ---- (.*?) ?-*$/, /^export (?:const )?enum (\w+)/,
    /^export const (\w+): \w+ = ([^;]+);(?: \/\/ (.*))?/,
  ].map((part) => part.source).join("|"), "gm");
  const found = [...source.matchAll(declaration)];
  const taken = new Set(found.filter((m) => m[3]).map((m) => `MARGAY_${m[3]}`));
  const lines = [
    "/* The memory layout and the ABI of the packet program, for C.",
    " * Printed from assembly/layout.ts by scripts/layout.mjs (npm run layout): change that. */",
    "#ifndef MARGAY_LAYOUT_H", "#define MARGAY_LAYOUT_H", "",
  ];
  const printed = new Set();
  for (const [, section, enumName, name, literal, note] of found) {
    if (section) { lines.push("", `/* ${section} */`); continue; }
    const key = enumName ?? name;
    if (!(key in values)) throw new Error(`assembly/layout.ts: ${key} was not evaluated`);
    printed.add(key);
    if (enumName) lines.push(...enumeration(enumName, values[enumName], taken));
    else lines.push(constant(name, values[name], literal.trim(), note));
  }
  const missed = Object.keys(values).filter((key) => !printed.has(key));
  if (missed.length) {
    throw new Error(`assembly/layout.ts: not printed: ${missed.join(", ")}`
      + " (write `export const NAME: type = value;` on one line)");
  }
  const names = lines.flatMap((line) => line.match(/^#define MARGAY_\w+|MARGAY_\w+(?= = )/g) ?? [])
    .map((name) => name.replace("#define ", ""));
  const twice = names.filter((name, i) => names.indexOf(name) !== i);
  if (twice.length) throw new Error(`assembly/layout.ts: in C twice: ${twice.join(", ")}`);
  lines.push("", "#endif", "");
  return lines.join("\n");
}

/** First line in which the header on disk differs, 0 = none. */
export function staleAt(wanted, present) {
  const a = wanted.split("\n"), b = present.split("\n");
  const at = a.findIndex((line, i) => line !== b[i]);
  return at >= 0 ? at + 1 : b.length > a.length ? a.length + 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = await header();
  if (process.argv.includes("--check")) {
    let present = "";
    try { present = readFileSync(headerPath, "utf8"); } catch { /* stale at line 1 */ }
    const line = staleAt(wanted, present);
    if (line) {
      console.error(`native/layout.h:${line}: stale; run npm run layout`);
      process.exit(1);
    }
    console.log("native/layout.h: fresh");
  } else {
    writeFileSync(headerPath, wanted);
    console.log(`native/layout.h: ${wanted.split("\n").length} lines`);
  }
}
