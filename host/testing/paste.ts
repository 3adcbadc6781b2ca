// The line that runs one failed flow once more: `margay verdict` for what manifests hold, the test
// itself for what only the test has.
import { flowText, pasteLine, shellWord } from "../cluster/explain.ts";
import type { FlowEnd } from "../cluster/types.ts";
import type { Failure } from "./outcome.ts";
import type { TestFile } from "./testfile.ts";

/** The test itself, and no other. */
export function pasteTest({ file }: TestFile, test: string): string {
  const escaped = test.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  return `margay test ${shellWord(file)} -t ${shellWord(`^${escaped}$`)}`;
}

/** A pod goes by its workload where all of that went the same way. */
export function paste(failure: Omit<Failure, "paste">, file: TestFile, test: string): string {
  const { flow } = failure.example;
  // Files that steps apply are no part of what the others begin with; verdict would read them.
  const isStateful = file.tests.some(({ steps }) => steps?.some(({ kind }) => kind === "apply"));
  const own = new Set(file.endpoints.map(({ name }) => name));
  const isOwn = (end: FlowEnd): boolean => end.kind === "pod" && own.has(end.pod.name) &&
    end.pod.manifest === undefined && end.pod.owner === undefined;
  if (isOwn(flow.from) || isOwn(flow.to) || flow.nowSeconds !== undefined || isStateful) {
    return pasteTest(file, test);
  }
  const from = workload(flow.from, failure.fromPods === undefined);
  const to = workload(flow.to, failure.toPods === undefined);
  return pasteLine(file.manifests, flowText(flow, from, to));
}

/** Undefined: as an end is printed. */
function workload(end: FlowEnd, whole: boolean): string | undefined {
  if (!whole || end.kind !== "pod" || end.pod.owner === undefined) return undefined;
  return `${end.pod.namespace}/${end.pod.owner.name}`;
}
