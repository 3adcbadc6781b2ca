// Which of a Service port's endpoints this node's clients are led to: by the traffic policies, by
// hints of topology, and by what the endpoints say of themselves.
//
//   cluster  ready ones, hints heeded     ─┐ where there is none: those that serve while they
//   local    ready ones on this node       ─┘ terminate, each of the two for itself
//
// Hints count when every ready endpoint has them and one of them names this node (then its zone).
// Source: kubernetes pkg/proxy/topology.go (CategorizeEndpoints), EndpointConditions,
// EndpointHints.

/** What of an endpoint decides. */
export interface Categorized {
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  /** The node that it is on; "" where that is not known. */
  node: string;
  /** Nodes and zones whose clients it is meant for; empty = no hint. */
  nodeHints: readonly string[];
  zoneHints: readonly string[];
}

/** Where clients are: this node's name and zone ("" = not known). */
export interface Place {
  node: string;
  zone: string;
}

export interface Categories<E> {
  /** For the traffic policy Cluster; empty where nothing of the Service uses it. */
  cluster: E[];
  /** For the policy Local; likewise. */
  local: E[];
  /** Either of the two: what packets of this node can reach. */
  reachable: E[];
  /** Is there an endpoint anywhere that serves? Without one clients are refused. */
  any: boolean;
}

/** `uses`: does any traffic of the Service port take the policy Cluster, Local? */
export function categorize<E extends Categorized>(
  endpoints: readonly E[], uses: { cluster: boolean; local: boolean }, place: Place,
): Categories<E> {
  const cluster = uses.cluster ? ofCluster(endpoints, place) : [];
  const here = uses.local ? endpoints.filter((each) => isLocal(each, place)) : [];
  const local = orServing(here, isReady);
  const reachable = [...cluster, ...local.filter((each) => !cluster.includes(each))];
  const any = uses.cluster ? cluster.length > 0
    : endpoints.some((each) => isReady(each) || isLeaving(each));
  return { cluster, local, reachable, any };
}

function ofCluster<E extends Categorized>(endpoints: readonly E[], place: Place): E[] {
  const meant = meantFor(endpoints.filter(isReady), place);
  return orServing(endpoints, (each) => isReady(each) && meant(each));
}

/** Whom the hints admit: this node's own, else this zone's, else all. */
function meantFor(ready: readonly Categorized[], place: Place): (each: Categorized) => boolean {
  const forNode = ({ nodeHints }: Categorized): boolean => nodeHints.includes(place.node);
  const forZone = ({ zoneHints }: Categorized): boolean => zoneHints.includes(place.zone);
  if (ready.every(({ nodeHints }) => nodeHints.length > 0) && ready.some(forNode)) return forNode;
  if (ready.every(({ zoneHints }) => zoneHints.length > 0) && ready.some(forZone)) return forZone;
  return () => true;
}

function orServing<E extends Categorized>(
  endpoints: readonly E[], usual: (each: E) => boolean,
): E[] {
  const found = endpoints.filter(usual);
  return found.length > 0 ? found : endpoints.filter(isLeaving);
}

/** Is it on this node? */
export function isLocal({ node }: Pick<Categorized, "node">, place: Place): boolean {
  return node !== "" && node === place.node;
}
function isReady({ ready }: Categorized): boolean {
  return ready;
}
function isLeaving({ serving, terminating }: Categorized): boolean {
  return serving && terminating;
}
