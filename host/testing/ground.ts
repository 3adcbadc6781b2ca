// What tests stand on: manifests, the test's own endpoints among them, and the cluster that runs
// their flows.
//
//   manifests ─ readSnapshot ─► snapshot + the test's pods ─► Cluster (an engine a node)
//                                                              ├ world: names to ends
//                                                              └ book: boundaries of its rules
import { Cluster } from "../cluster/cluster.ts";
import { StateError } from "../cluster/fault.ts";
import type { FlowEnd } from "../cluster/types.ts";
import type { World } from "../cluster/world.ts";
import { noManifests } from "../input/manifest.ts";
import { applyManifests, readSnapshot, withPods, type ReadSnapshot, type SnapshotOptions } from
  "../input/snapshot.ts";
import type { Finding, Manifest, Snapshot } from "../model/snapshot.ts";
import { FileError } from "./place.ts";
import { RuleBook } from "./rulebook.ts";
import { netEnds, type Nets } from "./sources.ts";
import type { TestEndpoint } from "./testfile.ts";

/** Manifests that nothing can be tested on: what is wrong with each. */
export class ManifestError extends Error {
  constructor(readonly findings: readonly Finding[], message = findings.map(printFinding)
    .join("\n")) {
    super(message);
    this.name = "ManifestError";
  }
}

export function printFinding({ file, line, column, object, field, message }: Finding): string {
  const where = [object, field].filter((each) => each !== "").join(" ");
  return `${file}:${line}:${column} ${where === "" ? "" : `${where}: `}${message}`;
}

export interface GroundOptions {
  /** What stdin bore, where "-" is among the manifests. */
  stdin?: string;
  /** Unix time of flows that don't tell theirs. */
  nowSeconds?: number;
  /** Files that are not there from the beginning: a step applies them later. */
  without?: readonly string[];
}

export class Ground {
  readonly nets: Nets;
  private rules!: RuleBook;

  private constructor(
    private read: ReadSnapshot, readonly cluster: Cluster,
    private readonly endpoints: readonly TestEndpoint[],
    /** What the test's own names stand for; the cluster's world looks here. */
    private readonly words: Map<string, FlowEnd[]>, private readonly options: GroundOptions,
  ) {
    this.nets = new Map(endpoints.flatMap(({ name, net }) =>
      net === undefined ? [] : [[name, net] as const]));
    this.refresh();
  }

  /** Throws ManifestError, FileError. */
  static async open(
    manifests: readonly string[], endpoints: readonly TestEndpoint[],
    options: GroundOptions = {},
  ): Promise<Ground> {
    const read = readSnapshot(manifests, firstOptions(options));
    if (read.objects.length === 0 && read.findings.length === 0) {
      throw new ManifestError([], noManifests(manifests, read.documents, "test"));
    }
    return Ground.of(read, endpoints, options);
  }

  private static async of(
    read: ReadSnapshot, endpoints: readonly TestEndpoint[], options: GroundOptions,
  ): Promise<Ground> {
    refuse(read.findings);
    const words = new Map<string, FlowEnd[]>();
    const cluster = await refusing(Cluster.fromSnapshot(
      populated(read.snapshot, endpoints, words), { words, nowSeconds: options.nowSeconds },
    ));
    return new Ground(read, cluster, endpoints, words, options);
  }

  get world(): World {
    return this.cluster.world;
  }

  /** Indexed anew after each change of the manifests. */
  get book(): RuleBook {
    return this.rules;
  }

  /** As `kubectl apply -f`: the running cluster gets the files' objects; sessions stay. */
  apply(paths: readonly string[]): Promise<void> {
    return this.become(applyManifests(this.read, paths, snapshotOptions(this.options)));
  }

  /** The same of manifests that no file bears. */
  applyText(text: string): Promise<void> {
    const options = { ...snapshotOptions(this.options), stdin: text };
    return this.become(applyManifests(this.read, ["-"], options));
  }

  /** As `kubectl delete`: those objects are gone, and what was made of them. */
  delete(objects: ReadonlySet<Manifest>): Promise<void> {
    const left = this.read.objects.filter((each) => !objects.has(each));
    return this.become(applyManifests({ ...this.read, objects: left }, [],
      snapshotOptions(this.options)));
  }

  get nowSeconds(): number | undefined {
    return this.options.nowSeconds;
  }

  /** What the cluster is made of now. */
  get objects(): readonly Manifest[] {
    return this.read.objects;
  }

  private async become(read: ReadSnapshot): Promise<void> {
    refuse(read.findings);
    await refusing(this.cluster.apply(populated(read.snapshot, this.endpoints, this.words)));
    this.read = read;
    this.refresh();
  }

  /** The same ground once more: what is applied to one, the other does not see. */
  async fork(): Promise<Ground> {
    const words = new Map(this.words);
    const cluster = await this.cluster.fork(words);
    return new Ground(this.read, cluster, this.endpoints, words, this.options);
  }

  close(): void {
    this.cluster.close();
  }

  private refresh(): void {
    const programs = [...this.cluster.nodes].map(([name, { program }]) => [name, program] as const);
    this.rules = new RuleBook(new Map(programs));
    const prefixes = this.rules.allPrefixes();
    for (const name of this.nets.keys()) {
      this.words.set(name, netEnds(name, prefixes, this.world, this.nets));
    }
    // A prefix that a flow names is cut at the same boundaries.
    const { world } = this;
    world.within = (prefix) =>
      netEnds(prefix, prefixes, world, new Map([...this.nets, [prefix, prefix]]));
  }
}

function snapshotOptions({ stdin }: GroundOptions): SnapshotOptions {
  return stdin === undefined ? { command: "test" } : { command: "test", stdin };
}

function firstOptions({ without, ...options }: GroundOptions): SnapshotOptions {
  return without === undefined ? snapshotOptions(options)
    : { ...snapshotOptions(options), without };
}

/** What the calculation finds wrong is a manifest's fault too. */
async function refusing<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    if (error instanceof StateError) throw new ManifestError(error.findings);
    throw error;
  }
}

function refuse(findings: readonly Finding[]): void {
  const errors = findings.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new ManifestError(errors);
}

/** The snapshot with the test's pods in it, and their names in `words`. */
function populated(
  snapshot: Snapshot, endpoints: readonly TestEndpoint[], words: Map<string, FlowEnd[]>,
): Snapshot {
  const extra = endpoints.flatMap(({ name, pod, place }) => {
    if (pod === undefined) return [];
    const known = snapshot.pods.find((each) =>
      each.namespace === pod.namespace && each.name === name);
    if (!known) return [{ name, ...pod }];
    const message = `endpoint ${name}: ${pod.namespace} has a pod of that name; name it otherwise`;
    throw new FileError([{ ...place, message }]);
  });
  if (extra.length === 0) return snapshot;
  const changed = withPods(snapshot, extra);
  for (const { name, namespace } of extra) {
    const pod = changed.pods.find((each) => each.namespace === namespace && each.name === name)!;
    words.set(name, pod.addresses.map((address) => ({ kind: "pod", pod, address })));
  }
  return changed;
}
