// kube-proxy's categorisation of endpoints: policies, hints, terminating ones. Each case is the
// endpoints of one Service port and which of them clients of the node reach.
//
// Cases: ../shared/conformance/services/topology.jsonl (its README tells the format); where that
// folder is not there, this says so.
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { judgeTopology, topologyFile } from "./topology.ts";

const there = existsSync(topologyFile);
if (!there) console.log(`services-topology: skipped, there is no ${topologyFile}`);

describe.skipIf(!there)("kube-proxy's CategorizeEndpoints", () => {
  test("services-topology: each set of endpoints is the one that kube-proxy finds", () => {
    const { right, all, wrong } = judgeTopology();
    console.log(`topology ${right}/${all}`);
    expect(wrong).toEqual([]);
    expect(all).toBeGreaterThan(0);
  });
});
