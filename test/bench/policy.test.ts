// The policy bench at a small size, so that it does not rot: every variant denies what it should,
// and gives a figure. Says nothing about speed.
import { expect, test } from "vitest";
import { policy } from "../../bench/policy.ts";

test("bench-policy: rules as code and as blocks, sets, publishing, at a small size", async () => {
  const figures = await policy({
    rules: [1, 10, 200, 1000], rounds: 2, frames: 2, policies: 30, members: 5000,
    core: "build/margay.wasm",
  });
  expect(figures.map(({ name }) => name)).toEqual([
    "1 rules", "1 rules, code", "1 rules, block", "10 rules", "10 rules, code", "10 rules, block",
    "200 rules", "200 rules, code", "200 rules, block", "1,000 rules", "1,000 rules, code",
    "1,000 rules, block", "1,000 rules / 10 rules", "a set of 1,000", "a set of 5,000",
    "large set / small set", "30 policies of 10 rules published",
    "one of 30 policies of 10 rules changed", "a set of 5,000 built",
    "a set of 5,000 unchanged in a push", "one member into a set of 5,000",
  ]);
  for (const { name, value } of figures) expect(value, name).toBeGreaterThan(0);
}, 120_000);
