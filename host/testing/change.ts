// What a step does to the manifests: which files and objects its texts mean.
//
//   apply   a file or folder: beside the test file, else from where the command runs
//           manifests themselves, where the text is no path
//   delete  "NetworkPolicy shop/db", "GlobalNetworkPolicy deny", or files that hold the objects
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { didYouMean } from "../input/nearest.ts";
import { readSnapshot } from "../input/snapshot.ts";
import type { Manifest } from "../model/snapshot.ts";
import { ManifestError, type Ground } from "./ground.ts";
import { FileError, type Place, type Written } from "./place.ts";
import { isManifest } from "./step.ts";
import type { TestFile } from "./testfile.ts";

/** Names of objects in a message. */
const LISTED_MAX = 8;
const MANIFEST_FILE = /\.(ya?ml|json)$/i;
const OBJECT = /^([A-Za-z]\S*)\s+(?:([^\s/]+)\/)?([^\s/]+)$/;

export class Changes {
  /** Folders in which files are looked for, the first that has it. */
  constructor(private readonly ground: Ground, private readonly folders: readonly string[]) {}

  /** Throws FileError, ManifestError. */
  async apply(what: readonly Written[]): Promise<void> {
    const paths: string[] = [];
    const files = async (): Promise<void> => {
      if (paths.length > 0) await this.ground.apply(paths.splice(0));
    };
    for (const { text, place } of what) {
      if (!isManifest(text)) {
        paths.push(this.find(text, place));
        continue;
      }
      await files();
      await this.written(text, place);
    }
    await files();
  }

  /** What is wrong with manifests of a step is the step's fault. */
  private async written(text: string, place: Place): Promise<void> {
    try {
      await this.ground.applyText(text);
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error;
      throw new FileError(error.findings.map(({ file, line, object, field, message }) => {
        const where = [object, field].filter((each) => each !== "").join(" ");
        const own = file === "stdin" ? `line ${line} of it: ` : `${file}:${line} `;
        return { ...place, message: `${own}${where === "" ? "" : `${where}: `}${message}` };
      }));
    }
  }

  /** Throws FileError, ManifestError. */
  delete(what: readonly Written[]): Promise<void> {
    const gone = new Set(what.flatMap(({ text, place }) => this.named(text.trim(), place)));
    return this.ground.delete(gone);
  }

  private find(path: string, place: Place): string {
    const found = pathIn(path, this.folders);
    if (found !== undefined) return found;
    const where = isAbsolute(path) ? "" : ` in ${this.folders.map((each) => each || ".")
      .join(" or ")}`;
    throw new FileError([{ ...place, message: `"${path}": no such file or folder${where}` }]);
  }

  /** The objects of the cluster that a text means; at least one. */
  private named(text: string, place: Place): Manifest[] {
    const { objects } = this.ground;
    const match = objectName(text);
    if (match) {
      const found = objects.filter((each) => isCalled(each, match));
      if (found.length > 0) return found;
      throw new FileError([{ ...place, message: missing(text, match[1]!, objects) }]);
    }
    const path = this.find(text, place);
    const read = readSnapshot([path], { command: "test" });
    if (read.findings.some(({ severity }) => severity === "error")) {
      throw new ManifestError(read.findings);
    }
    const keys = new Set(read.objects.map(keyOf));
    const found = objects.filter((each) => keys.has(keyOf(each)));
    if (found.length > 0) return found;
    throw new FileError([{ ...place, message: `"${text}": none of its objects is there` }]);
  }
}

/** The first folder's that has it; undefined where none does. */
export function pathIn(path: string, folders: readonly string[]): string | undefined {
  const places = isAbsolute(path) ? [path] : folders.map((folder) => join(folder, path));
  return places.find((each) => existsSync(each));
}

/** Where a test file's steps look for files. */
export function foldersOf({ file }: TestFile): string[] {
  const folder = dirname(file);
  return folder === "." ? [folder] : [folder, "."];
}

/** Kind, namespace and name, where the text names an object and no file. */
export function objectName(text: string): RegExpExecArray | undefined {
  return MANIFEST_FILE.test(text) ? undefined : OBJECT.exec(text) ?? undefined;
}

function isCalled(
  { kind, namespace, name }: Manifest, [, wanted, space = "", called]: RegExpExecArray,
): boolean {
  return kind.toLowerCase() === wanted!.toLowerCase() && name === called &&
    (namespace === space || (space === "" && namespace === "default"));
}

function keyOf({ apiVersion, kind, namespace, name }: Manifest): string {
  const group = apiVersion.includes("/") ? apiVersion.split("/")[0]! : "";
  return `${group.replace(/^crd\./, "")} ${kind} ${namespace}/${name}`;
}

function missing(text: string, kind: string, objects: readonly Manifest[]): string {
  const names = objects.map((each) =>
    `${each.kind} ${each.namespace === "" ? "" : `${each.namespace}/`}${each.name}`);
  const alike = names.filter((name) => name.toLowerCase().startsWith(`${kind.toLowerCase()} `));
  const shown = alike.slice(0, LISTED_MAX).join(", ");
  const more = alike.length > LISTED_MAX ? ` and ${alike.length - LISTED_MAX} more` : "";
  return `"${text}": there is no such object${didYouMean(text, names)}` +
    (alike.length === 0 ? "" : `; there are ${shown}${more}`);
}
