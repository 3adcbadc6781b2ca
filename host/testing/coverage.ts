// Which rules the tests really test: those that decided no flow of any test, and those that could
// be taken away without a test noticing.
//
//   rules of the manifests ─┬─ decided a flow?  (stages of the results)         no: "never decided"
//                           └─ a cluster without the rule: the flows it decided, once more
//                                                       all tests still pass: "fails no test"
//
// A rule is what an author wrote: ingress[0] of an object, whatever its peers became. Log rules
// decide nothing and staged policies are not enforced: neither counts. A pass leaves the verdict to
// others, so results don't name it; a twin where it is a deny tells which flows it took.
import type { Cluster } from "../cluster/cluster.ts";
import type { FlowResult } from "../cluster/types.ts";
import type { Rule } from "../model/rule.ts";
import type { Manifest, Snapshot } from "../model/snapshot.ts";
import { policyKey, type NodeState, type PolicyState } from "../model/state.ts";
import { holds, isolatingOf, type Check, type RunTest } from "./runner.ts";

export interface RuleSite {
  /** "NetworkPolicy shop/db". */
  policy: string;
  /** "ingress[0]"; "" of a module. */
  path: string;
  file: string;
  line: number;
}

export interface Coverage {
  rules: number;
  decided: number;
  neverDecided: RuleSite[];
  /** They decide, but no test would miss them. */
  notMissed: RuleSite[];
}

interface Known extends RuleSite {
  isPass: boolean;
  decided: boolean;
  missed: boolean;
}

/** A flow that went as its test expected, and what decided it. */
interface Decided {
  check: Check;
  result: FlowResult;
}

export class CoverageBook {
  private readonly known = new Map<string, Known>();

  /**
   * A file's tests, as they ran on a cluster, and what came of steps: a rule that decides there
   * counts as missed, for steps are not run once more without it.
   */
  async add(
    tests: readonly RunTest[], cluster: Cluster, stepped: readonly FlowResult[] = [],
  ): Promise<void> {
    const sites = sitesOf(cluster.snapshot);
    for (const [key, site] of sites) {
      if (!this.known.has(key)) this.known.set(key, { ...site, decided: false, missed: false });
    }
    const isolating = isolatingOf(cluster);
    const flows: Decided[] = [];
    const bySite = new Map<string, Decided[]>();
    for (const { planned, results } of tests) {
      planned.checks.forEach((check, i) => {
        const flow = { check, result: results[i]! };
        const isBorneOut = holds(check, flow.result, isolating);
        if (isBorneOut) flows.push(flow);
        for (const key of decidersOf(flow.result)) {
          const known = this.known.get(key);
          if (known) known.decided = true;
          // What fails already can't fail for want of a rule.
          if (isBorneOut) pushTo(bySite, key, flow);
        }
      });
    }
    for (const key of stepped.flatMap((result) => [...decidersOf(result)])) {
      const known = this.known.get(key);
      if (known) known.decided = known.missed = true;
    }
    await this.remove(sites, bySite, flows, cluster);
  }

  /** Takes each rule away in turn, on a twin of the cluster. */
  private async remove(
    sites: ReadonlyMap<string, Known>, bySite: ReadonlyMap<string, Decided[]>,
    flows: readonly Decided[], cluster: Cluster,
  ): Promise<void> {
    const twin = await cluster.fork();
    try {
      for (const [key, site] of sites) {
        const known = this.known.get(key)!;
        if (known.missed) continue;
        const took = site.isPass ? await passed(site, key, flows, cluster, twin)
          : bySite.get(key) ?? [];
        if (site.isPass && took.length > 0) known.decided = true;
        if (took.length === 0 || !await change(site, () => undefined, cluster, twin)) continue;
        const isolating = isolatingOf(twin);
        const results = twin.run(took.map(({ check }) => check.flow));
        known.missed = took.some(({ check }, i) => !holds(check, results[i]!, isolating));
      }
    } finally {
      twin.close();
    }
  }

  result(): Coverage {
    const all = [...this.known.values()].sort((a, b) =>
      a.file < b.file ? -1 : a.file > b.file ? 1 : a.line - b.line);
    const plain = ({ policy, path, file, line }: Known): RuleSite => ({ policy, path, file, line });
    return {
      rules: all.length,
      decided: all.filter(({ decided }) => decided).length,
      neverDecided: all.filter(({ decided }) => !decided).map(plain),
      notMissed: all.filter(({ decided, missed }) => decided && !missed).map(plain),
    };
  }
}

function pushTo<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const list = lists.get(key);
  if (list) list.push(item);
  else lists.set(key, [item]);
}

/** Every rule that could decide, by policy and path. */
function sitesOf(snapshot: Snapshot): Map<string, Known> {
  const sites = new Map<string, Known>();
  const add = (manifest: Manifest, path: (string | number)[], name: string, action: string) => {
    const { kind, namespace, name: object, file } = manifest;
    const policy = policyKey(kind, namespace, object);
    const isPass = /^pass$/i.test(action);
    const { line } = manifest.at(path);
    sites.set(siteKey(policy, name),
      { policy, path: name, file, line, isPass, decided: false, missed: false });
  };
  for (const manifest of snapshot.policies) {
    if (manifest.kind.startsWith("Staged")) continue;
    const spec = (manifest.value["spec"] ?? {}) as Record<string, unknown>;
    if (manifest.kind === "ModulePolicy") add(manifest, ["spec"], "", "");
    for (const direction of ["ingress", "egress"] as const) {
      const rules = Array.isArray(spec[direction]) ? spec[direction] as unknown[] : [];
      rules.forEach((rule, i) => {
        const action = String((rule as { action?: unknown } | null)?.action ?? "");
        if (/^log$/i.test(action)) return;
        add(manifest, ["spec", direction, i], `${direction}[${i}]`, action);
      });
    }
  }
  return sites;
}

function siteKey(policy: string, path: string): string {
  return `${policy} ${path}`;
}

/** The rules that decided at each stage of a flow. */
function decidersOf({ stages }: FlowResult): Set<string> {
  return new Set(stages.flatMap(({ policy, path }) => policy === undefined ? []
    : [siteKey(policy, path ?? ""), siteKey(policy, "")]));
}

/** The flows that a pass rule took: those that it denies as a deny. */
async function passed(
  site: RuleSite, key: string, flows: readonly Decided[], cluster: Cluster, twin: Cluster,
): Promise<Decided[]> {
  if (!await change(site, (rule) => ({ ...rule, action: "deny" }), cluster, twin)) return [];
  const results = twin.run(flows.map(({ check }) => check.flow));
  return flows.filter((_, i) => decidersOf(results[i]!).has(key));
}

/**
 * Makes `twin` the cluster with one rule changed, or, where that says undefined, without it. Is
 * there a node that had it?
 */
async function change(
  site: RuleSite, to: (rule: Rule) => Rule | undefined, cluster: Cluster, twin: Cluster,
): Promise<boolean> {
  let found = false;
  for (const [name, { state }] of cluster.nodes) {
    const node = twin.nodes.get(name)!;
    const policy = state.policies.get(site.policy);
    const wanted = policy === undefined ? state
      : edited(state, site.policy, changed(policy, site.path, to));
    found ||= policy !== undefined;
    if (node.state !== wanted) await node.push(wanted);
  }
  return found;
}

function changed(
  policy: PolicyState, path: string, to: (rule: Rule) => Rule | undefined,
): PolicyState {
  if (path === "") return { ...policy, module: undefined, inbound: [], outbound: [] };
  const rules = (all: Rule[]): Rule[] => all.flatMap((rule) =>
    rule.origin?.path === path ? to(rule) ?? [] : [rule]);
  return { ...policy, inbound: rules(policy.inbound), outbound: rules(policy.outbound) };
}

/** States of several nodes share objects: what changes is another object. */
function edited(state: NodeState, key: string, policy: PolicyState): NodeState {
  return { ...state, policies: new Map(state.policies).set(key, policy) };
}

/** Of 100. */
export function percent({ rules, decided }: Coverage): number {
  return rules === 0 ? 100 : decided * 100 / rules;
}

export function coverageLines(coverage: Coverage): string[] {
  const { rules, decided, neverDecided, notMissed } = coverage;
  const rows = [
    ...neverDecided.map((site) => ({ site, what: "never decided a flow" })),
    ...notMissed.map((site) => ({ site, what: "removing it fails no test" })),
  ].map(({ site, what }) => (
    { place: `${site.file}:${site.line}`, rule: `${site.policy} ${site.path}`.trim(), what }));
  const width = (field: "place" | "rule"): number =>
    Math.max(0, ...rows.map((row) => row[field].length));
  const [place, rule] = [width("place"), width("rule")];
  return [
    ` policy rules decided by a test  ${decided} of ${rules} (${Math.floor(percent(coverage))} %)`,
    ...rows.map((row) =>
      `   ${row.place.padEnd(place)}  ${row.rule.padEnd(rule)}  ${row.what}`),
  ];
}
