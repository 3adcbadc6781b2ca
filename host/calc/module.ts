// ModulePolicy (margay.io/v1): a user's WebAssembly module as a policy of a tier, for the cluster
// or, with a namespace, for that namespace's pods.
//
//   spec: { tier: default, order: 100, selector: app == "web", types: [Ingress, Egress],
//           module: window.wasm, sets: ['role == "admin"'] }
//
// Without types it judges ingress. `sets` are selectors, each of a set of addresses; the module's
// member(packet, set, side) asks them by their place in the list. In a namespace they select of
// that namespace alone.
import type { Manifest } from "../model/snapshot.ts";
import { subjectSelector } from "./calico.ts";
import { anyEntity, entitySelector } from "./entity.ts";
import { listAt, numberAt, objectAt, textAt, textsAt } from "./field.ts";
import { DEFAULT_TIER, plainPolicy, type PolicySpec } from "./policy.ts";
import { Reader } from "./reader.ts";
import type { Report } from "./report.ts";
import { Selector } from "./selector/selector.ts";

/** The bytes of the module that a ModulePolicy names. Throws with what is wrong. */
export type ModuleSource = (path: string, manifest: Manifest) => Uint8Array;

/** Undefined where an error was found: in the object, or by the source of modules. */
export function modulePolicy(
  manifest: Manifest, report: Report, source: ModuleSource | undefined,
): PolicySpec | undefined {
  const reader = new Reader(manifest, report);
  const { spec } = reader;
  const { namespace } = manifest;
  const selector = reader.selector(spec, "selector", ["spec"]);
  const namespaces = reader.selector(spec, "namespaceSelector", ["spec"]);
  const accounts = reader.selector(spec, "serviceAccountSelector", ["spec"]);
  const types = textsAt(spec, "types").map((type) => type.toLowerCase());
  const sets = listAt(spec, "sets").map((value, i) => {
    return reader.attempt(["spec", "sets", i], () => {
      const text = String(value);
      Selector.parse(text);
      return entitySelector({ ...anyEntity(), selector: text }, namespace);
    }) ?? "";
  });
  const path = textAt(spec, "module");
  if (path === "") reader.error(["spec"], "module: the path of a .wasm or .ts file");
  const wasm = path === "" ? undefined : reader.attempt(["spec", "module"], () => {
    if (!source) throw new Error(`module: nothing here reads "${path}"`);
    return source(path, manifest);
  });
  if (reader.failed || !wasm) return undefined;
  return {
    ...plainPolicy(manifest, manifest.kind),
    tier: textAt(spec, "tier") || DEFAULT_TIER,
    order: numberAt(spec, "order") ?? Infinity,
    ingress: types.length === 0 || types.includes("ingress"),
    egress: types.includes("egress"),
    selector: subjectSelector(selector, namespace, namespaces, accounts),
    module: { wasm, sets },
  };
}

/** What modulePolicy() will ask for: for who must build or read modules before a calculation. */
export function modulesOf(policies: readonly Manifest[]): { path: string; manifest: Manifest }[] {
  return policies.filter(({ kind }) => kind === "ModulePolicy").map((manifest) => ({
    path: textAt(objectAt(manifest.value, "spec"), "module"), manifest,
  })).filter(({ path }) => path !== "");
}
