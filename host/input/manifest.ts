// Manifests as they are written: YAML and JSON files, several documents in one, List objects and
// what `kubectl get -o yaml` prints, each object with the places of its fields. Nothing is judged
// here but what no reader of YAML takes; schema.ts says what an object may be.
//
//   paths ─ folder.ts ─► files ─ YAML ─► documents ─ Lists opened ─► manifests
//                                  └► findings: errors of YAML, keys that are there twice
import { readFileSync } from "node:fs";
import type { Document } from "yaml";
import type { Finding, Manifest } from "../model/snapshot.ts";
import { findFiles, STDIN } from "./folder.ts";
import type { FoundFiles } from "./folder.ts";
import { keyOffset, loneLetters, parseSource, valueOffset } from "./place.ts";
import type { Path, Place, Source } from "./place.ts";

/** Above this, JSON is not searched for keys that are there twice (YAML's reader is slow). */
const JSON_CHARACTERS_MAX = 1 << 20;
const STDIN_SHOWN = "stdin";
const NO_SUCH_PATH = "no such file or folder";

export interface Documents {
  /** In the order of files and documents: later ones are what `kubectl apply` leaves. */
  manifests: Manifest[];
  findings: Finding[];
  /** Places of documents that are no Kubernetes objects, for they have no kind. */
  kindless: string[];
  /** How many files were read, and how many objects of kinds that concern us they hold. */
  files: number;
  objects: number;
  found: FoundFiles;
}

export interface ReadOptions {
  /** What stdin bears ("-"), where it is not the process's. */
  stdin?: string;
  /** The command, for what messages advise: "test". */
  command?: string;
  /** Files that are left out, whatever path leads to them. */
  without?: readonly string[];
}

export function readDocuments(paths: readonly string[], options: ReadOptions = {}): Documents {
  const found = findFiles(paths, options.without);
  const documents: Documents = {
    manifests: [], findings: [], kindless: [], files: 0, objects: 0, found,
  };
  for (const path of found.missing) {
    documents.findings.push(finding(path, { line: 1, column: 1 }, NO_SUCH_PATH));
  }
  for (const file of found.files) {
    const shown = file === STDIN ? STDIN_SHOWN : file;
    try {
      const given = file === STDIN ? options.stdin : undefined;
      const text = given ?? readFileSync(file === STDIN ? 0 : file, "utf8");
      documents.files++;
      readText(text, shown, options, documents);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
      const at = { line: 1, column: 1 };
      documents.findings.push(finding(shown, at, `can't be read: ${(error as Error).message}`));
    }
  }
  return documents;
}

/** A manifest that no file bears: every place in it is line 1. */
export function plainManifest(value: Record<string, unknown>, file = ""): Manifest {
  return manifest(value, file, () => ({ line: 1, column: 1 }), () => ({ line: 1, column: 1 }));
}

/** Where a field's value stands (`at` tells where its key does). */
export function valueAt(of: Manifest, path: Path): Place {
  return VALUE_PLACES.get(of)?.(path) ?? of.at(path);
}

/** A manifest's like, with another value: places stay what they were. */
export function withValue(of: Manifest, changes: Partial<Manifest>): Manifest {
  // Line and column are worked out when they are asked for: copied as getters.
  const changed = Object.defineProperties({} as Manifest, {
    ...Object.getOwnPropertyDescriptors(of), ...Object.getOwnPropertyDescriptors(changes),
  });
  VALUE_PLACES.set(changed, VALUE_PLACES.get(of) ?? of.at);
  return changed;
}

const VALUE_PLACES = new WeakMap<Manifest, (path: Path) => Place>();

/**
 * "no manifests in k8s/ (0 YAML files; 14 *.tpl: render Helm first: helm template . | margay test
 * -)": what to say when nothing was found.
 */
export function noManifests(
  paths: readonly string[], documents: Documents, command = "test",
): string {
  const { files, found: { missing, templates, kustomizations } } = documents;
  if (missing.length > 0) return `${missing.join(", ")}: ${NO_SUCH_PATH}`;
  const parts = [`${files} YAML file${files === 1 ? "" : "s"}`];
  if (templates > 0) {
    parts.push(`${templates} *.tpl: render Helm first: helm template . | margay ${command} -`);
  } else if (kustomizations.length > 0) {
    const build = `kustomize build ${kustomizations[0]} | margay ${command} -`;
    parts.push(`a kustomization: render it first: ${build}`);
  }
  const where = paths.map((path) => path === STDIN ? STDIN_SHOWN : path).join(", ");
  return `no manifests in ${where} (${parts.join("; ")})`;
}

function readText(text: string, file: string, options: ReadOptions, documents: Documents): void {
  const json = parseJson(text);
  if (json !== undefined && (!bearsKind(json) || text.length > JSON_CHARACTERS_MAX)) {
    let source: Source | undefined;
    const parse = (): Source => source ??= parseSource(text);
    open(json, file, [], (path) => {
      return parse().place(keyOffset(parse().documents[0]!, path));
    }, (path) => parse().place(valueOffset(parse().documents[0]!, path)), documents);
    return;
  }
  const source = parseSource(text);
  for (const document of source.documents) readDocument(document, source, text, file, options,
    documents);
}

function readDocument(
  document: Document.Parsed, source: Source, text: string, file: string, options: ReadOptions,
  documents: Documents,
): void {
  const template = document.errors.length > 0 ? text.indexOf("{{") : -1;
  if (template >= 0) {
    documents.findings.push(finding(file, source.place(template),
      "a Helm template, not YAML yet: render it first: " +
      `helm template . | margay ${options.command ?? "test"} -`));
    return;
  }
  // Of what no reader of YAML takes the first is told: those behind it follow from it.
  const isDuplicate = ({ code }: { code: string }): boolean => code === "DUPLICATE_KEY";
  const first = document.errors.find((error) => !isDuplicate(error));
  for (const error of document.errors) {
    if (error !== first && !isDuplicate(error)) continue;
    const [at] = error.pos;
    const message = error.code === "DUPLICATE_KEY"
      ? `${/^[^\s:]+/.exec(text.slice(at))?.[0]} is there twice in one object; kubectl refuses that`
      : `no YAML: ${lowerFirst(error.message)}`;
    documents.findings.push(finding(file, source.place(at), message));
  }
  if (document.errors.length > 0 || document.contents === null) return;
  for (const { offset, letter } of loneLetters(document, text)) {
    const message = `kubectl reads an unquoted ${letter} as ${/y/i.test(letter)}; quote it`;
    documents.findings.push({ ...finding(file, source.place(offset), message),
      severity: "warning" });
  }
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    const message = lowerFirst((error as Error).message);
    documents.findings.push(finding(file, source.place(0), `no YAML: ${message}`));
    return;
  }
  open(value, file, [],
    (path) => source.place(keyOffset(document, path)),
    (path) => source.place(valueOffset(document, path)), documents);
}

/** Lists are opened, at any depth; their items may lack what the list's kind says. */
function open(
  value: unknown, file: string, base: Path, at: (path: Path) => Place,
  valuePlace: (path: Path) => Place, documents: Documents,
): void {
  if (value === null || value === undefined) return;
  if (!isObject(value) || typeof value["kind"] !== "string") {
    documents.kindless.push(`${file}:${at(base).line}`);
    return;
  }
  const { kind, apiVersion, items } = value;
  if (!kind.endsWith("List") || !Array.isArray(items)) {
    documents.manifests.push(manifest(value, file, (path) => at([...base, ...path]),
      (path) => valuePlace([...base, ...path])));
    return;
  }
  items.forEach((item: unknown, i) => {
    const of = kind.slice(0, -"List".length);
    const whole = isObject(item) && of !== "" ? { kind: of, apiVersion, ...item } : item;
    open(whole, file, [...base, "items", i], at, valuePlace, documents);
  });
}

function manifest(
  value: Record<string, unknown>, file: string, at: (path: Path) => Place,
  valuePlace: (path: Path) => Place,
): Manifest {
  const metadata = isObject(value["metadata"]) ? value["metadata"] : {};
  const text = (field: unknown): string => typeof field === "string" ? field : "";
  // Asked for seldom, and costly in large files.
  let place: Place | undefined;
  const own = (): Place => place ??= at([]);
  const made: Manifest = {
    apiVersion: text(value["apiVersion"]), kind: text(value["kind"]),
    namespace: text(metadata["namespace"]),
    name: text(metadata["name"]) || text(metadata["generateName"]).replace(/[-.]+$/, ""),
    value, file, at,
    get line() { return own().line; },
    get column() { return own().column; },
  };
  VALUE_PLACES.set(made, valuePlace);
  return made;
}

function finding(file: string, { line, column }: Place, message: string): Finding {
  return { severity: "error", file, line, column, object: "", field: "", message };
}

function parseJson(text: string): unknown {
  if (!/^\s*[{[]/.test(text)) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function bearsKind(value: unknown): boolean {
  return isObject(value) && typeof value["kind"] === "string";
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
