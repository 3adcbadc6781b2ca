// Files, documents and places: what is read, what is left out, where each key stands.
import { mkdirSync, symlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { noManifests, readDocuments, valueAt } from "../../../host/input/manifest.ts";
import { folderOf, read } from "./files.ts";

const NAMESPACE = (name: string): string => {
  return `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`;
};

describe("manifest-files:", () => {
  test("folders are searched in order of name; tests, node_modules and .git are left out", () => {
    const folder = folderOf({
      "b/two.yml": NAMESPACE("two"), "a.yaml": NAMESPACE("one"), "z.json": '{"kind":"X"}',
      "c.test.yaml": NAMESPACE("test"), "node_modules/p/x.yaml": NAMESPACE("package"),
      ".git/y.yaml": NAMESPACE("git"), "README.md": "no manifest",
    });
    const { manifests, files } = readDocuments([folder]);
    expect(manifests.map(({ name, kind, file }) => `${kind} ${name} ${file}`)).toEqual([
      `Namespace one ${folder}/a.yaml`, `Namespace two ${folder}/b/two.yml`, `X  ${folder}/z.json`,
    ]);
    expect(files).toBe(3);
  });

  test("links in circles and a file named twice are read once", () => {
    const folder = folderOf({ "a/one.yaml": NAMESPACE("one") });
    symlinkSync("..", join(folder, "a", "up"));
    symlinkSync(join(folder, "a", "one.yaml"), join(folder, "again.yaml"));
    symlinkSync("nowhere", join(folder, "dead.yaml"));
    mkdirSync(join(folder, "empty"));
    expect(readDocuments([folder, join(folder, "a/one.yaml")]).manifests).toHaveLength(1);
  });

  test("stdin is read as -, and a path that is not there is an error", () => {
    const { manifests, findings } = readDocuments(["-", "/nonexistent/k8s"], {
      stdin: `${NAMESPACE("one")}---\n${NAMESPACE("two")}`,
    });
    expect(manifests.map(({ name, file, line }) => [name, file, line]))
      .toEqual([["one", "stdin", 1], ["two", "stdin", 5]]);
    expect(findings).toMatchObject([
      { severity: "error", file: "/nonexistent/k8s", message: "no such file or folder" },
    ]);
  });

  test("says that Helm has to render *.tpl first", () => {
    const files = Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`t/${i}.tpl`, "{{ }}"]));
    const folder = folderOf(files);
    expect(noManifests(["k8s/"], readDocuments([folder]))).toBe("no manifests in k8s/ " +
      "(0 YAML files; 14 *.tpl: render Helm first: helm template . | margay test -)");
    const kustomized = folderOf({ "kustomization.yaml": "resources: []" });
    expect(noManifests(["k"], readDocuments([kustomized]), "check")).toBe("no manifests in k " +
      `(0 YAML files; a kustomization: render it first: kustomize build ${kustomized} | ` +
      "margay check -)");
  });

  test("says that a Helm template in YAML's clothes has to be rendered", () => {
    const { lines } = read({ "t.yaml": "kind: Service\nmetadata:\n  {{- include \"x\" . }}\n" });
    expect(lines).toEqual(["t.yaml:3:3 a Helm template, not YAML yet: render it first: " +
      "helm template . | margay test -"]);
    expect(read({
      "s.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n" +
        "spec: {nodeName: {{ .Values.a }}}\n",
    }).lines).toEqual(["s.yaml:4:8 Pod default/p spec.nodeName: must be a string, is a Helm " +
      "template: render it first"]);
  });

  test("what can't be read is an error, not a crash", () => {
    const { findings } = readDocuments(["/proc/self/mem"]);
    expect(findings.map(({ message }) => message))
      .toEqual([expect.stringMatching(/^can't be read: E/)]);
  });
});

describe("manifest-objects:", () => {
  test("each key has its place, in every document, List and flow", () => {
    const folder = folderOf({
      "a.yaml": `# first\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n` +
        `  metadata: {name: db, namespace: shop}\n  spec:\n    ports:\n    - port: 5432\n` +
        `      name: sql\n---\nkind: Pod\napiVersion: v1\nmetadata:\n    name: x\n`,
    });
    const [service, pod] = readDocuments([folder]).manifests;
    expect([service!.line, service!.column]).toEqual([5, 3]);
    expect(service!.at(["metadata", "namespace"])).toEqual({ line: 7, column: 24 });
    expect(service!.at(["spec", "ports", 0])).toEqual({ line: 10, column: 7 });
    expect(service!.at(["spec", "ports", 0, "name"])).toEqual({ line: 11, column: 7 });
    expect(valueAt(service!, ["spec", "ports", 0, "name"])).toEqual({ line: 11, column: 13 });
    expect(service!.at(["spec", "ports", 7, "name"])).toEqual({ line: 9, column: 5 });
    expect(pod!.at(["metadata", "name"])).toEqual({ line: 16, column: 5 });
  });

  test("items of a PodList need not say that they are Pods; JSON is read as well", () => {
    const folder = folderOf({
      "list.json": JSON.stringify({
        apiVersion: "v1", kind: "PodList",
        items: [{ metadata: { name: "a" } }, { metadata: { name: "b" } }],
      }, null, 2),
    });
    const { manifests } = readDocuments([folder]);
    expect(manifests.map(({ kind, apiVersion, name }) => `${apiVersion} ${kind} ${name}`))
      .toEqual(["v1 Pod a", "v1 Pod b"]);
    expect(manifests[1]!.at(["metadata", "name"]).line).toBe(12);
  });

  test("large JSON keeps its places too", () => {
    const items = Array.from({ length: 2 }, (_, i) => ({
      apiVersion: "v1", kind: "Pod",
      metadata: { name: `p${i}`, annotations: { x: "y".repeat(6e5) } },
    }));
    const folder = folderOf({ "l.json": JSON.stringify({ kind: "List", items }, null, 1) });
    const { manifests } = readDocuments([folder]);
    expect(manifests[1]!.at(["metadata", "name"])).toEqual({ line: 18, column: 5 });
  });

  test("what has no kind is left out and counted; empty documents are nothing", () => {
    const { documents, lines } = read({
      "values.yaml": "replicas: 3\n---\n---\n# nothing\n", "l.yaml": "- 1\n- 2\n",
      "package.json": '{"name": "x"}', "ok.yaml": NAMESPACE("one"),
    });
    expect(documents.kindless.map((each) => each.split("/").at(-1)))
      .toEqual(["l.yaml:1", "package.json:1", "values.yaml:1"]);
    expect(lines).toEqual([]);
  });

  test("errors of YAML and keys that are there twice stand where they are", () => {
    expect(read({
      "a.yaml": "kind: Pod\nmetadata:\n  name: a\n  name: b\n", "b.yaml": "kind: [Pod\n",
      "c.yaml": "a: 1\n\tb: 2\n", "d.yaml": "kind: Pod\nspec: *nowhere\n",
    }).lines).toEqual([
      "a.yaml:4:3 name is there twice in one object; kubectl refuses that",
      expect.stringMatching(/^b\.yaml:\d+:\d+ no YAML: /),
      expect.stringMatching(/^c\.yaml:2:1 no YAML: tabs are not allowed/),
      expect.stringMatching(/^d\.yaml:\d+:\d+ no YAML: .*alias.*nowhere/),
    ]);
  });

  test("of errors of YAML a document's first is told, and each key that is there twice", () => {
    const folder = folderOf({ "a.yaml": "{\"a\": 1}\n{\"b\": [2]}\n{\"c\": 3}\n",
      "b.yaml": "a: 1\na: 2\nb: [\nc: 1\n" });
    expect(readDocuments([folder]).findings.map(({ file, line, message }) =>
      `${basename(file)}:${line} ${message.slice(0, 8).trim()}`)).toEqual([
      "a.yaml:2 no YAML:", "b.yaml:2 a is the", expect.stringMatching(/^b\.yaml:\d no YAML:$/),
    ]);
  });

  test("a lone y or n is text, with a warning of what kubectl makes of it", () => {
    const folder = folderOf({
      "a.yaml": "kind: X\na: [y, 'n', N]\nmetadata: {name: y, text: \"a y\"}\n",
    });
    const { manifests, findings } = readDocuments([folder]);
    expect(manifests[0]).toMatchObject({ name: "y", value: { a: ["y", "n", "N"] } });
    expect(findings.map(({ severity, line, column, message }) =>
      `${severity} ${line}:${column} ${message}`)).toEqual([
      "warning 2:5 kubectl reads an unquoted y as true; quote it",
      "warning 2:13 kubectl reads an unquoted N as false; quote it",
      "warning 3:18 kubectl reads an unquoted y as true; quote it",
    ]);
  });

  test("booleans are YAML 1.1's, as kubectl reads them; anchors and merges work", () => {
    const folder = folderOf({
      "a.yaml": "kind: X\na: &a {q: yes, r: 'no', m: 22:22}\nb: {<<: *a, q: off}\n",
    });
    expect(readDocuments([folder]).manifests[0]!.value).toMatchObject({
      a: { q: true, r: "no", m: "22:22" }, b: { q: false, r: "no" },
    });
  });
});
