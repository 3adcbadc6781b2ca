// A cluster from what a command was given: manifests, or a stream of Felix's. Errors in them stop
// the command and are listed as `margay check` lists them.
import { readFileSync, statSync } from "node:fs";
import { CommandError } from "../command-error.ts";
import type { FelixMirror } from "../input/felix.ts";
import { noManifests } from "../input/manifest.ts";
import { readSnapshot } from "../input/snapshot.ts";
import { Cluster, NoPath, type ClusterOptions } from "./cluster.ts";
import { stopAt } from "./fault.ts";
import { devicesOfState } from "./mirror.ts";

/** Throws a CommandError with all that is wrong. */
export async function openCluster(
  paths: readonly string[], options: ClusterOptions = {},
): Promise<Cluster> {
  try {
    const felix = await openFelix(paths, options);
    if (felix) return felix;
    const { snapshot, findings, documents } = readSnapshot(paths, { command: "verdict --state" });
    stopAt(findings);
    if (documents.manifests.length === 0) {
      throw new CommandError(noManifests(paths, documents, "verdict --state"));
    }
    return await Cluster.fromSnapshot(snapshot, options);
  } catch (error) {
    if (error instanceof NoPath) throw new CommandError(error.message);
    throw error;
  }
}

/** One file whose bytes are Felix's. */
async function openFelix(
  paths: readonly string[], options: ClusterOptions,
): Promise<Cluster | undefined> {
  const [path, more] = paths;
  if (path === undefined || more !== undefined || path === "-") return undefined;
  if (!statSync(path, { throwIfNoEntry: false })?.isFile() || /\.ya?ml$/i.test(path)) {
    return undefined;
  }
  const { FelixError, isFelix, readFelix } = await import("../input/felix.ts");
  const bytes = readFileSync(path);
  if (!isFelix(bytes)) return undefined;
  try {
    const mirror = readFelix(bytes);
    const state = mirror.state();
    const node = options.node ?? localNode(mirror);
    return await Cluster.fromState(state, devicesOfState(state, node), { ...options, node });
  } catch (error) {
    if (error instanceof FelixError) throw new CommandError(`${path}: ${error.message}`);
    throw error;
  }
}

/** Which host a stream is for: routes tell, where there are any; else the one host there is. */
function localNode({ network }: FelixMirror): string {
  for (const { types, dstNodeName } of network.routes.values()) {
    if ((types & LOCAL) !== 0 && dstNodeName !== "") return dstNodeName;
  }
  const hosts = [...network.hosts().keys()];
  return hosts.length === 1 ? hosts[0]! : "this-node";
}

/** RouteType LOCAL_WORKLOAD and LOCAL_HOST of felixbackend.proto. */
const LOCAL = 4 | 8;
