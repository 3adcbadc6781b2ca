// What is printed from host/input/felixbackend.proto is what stands in the tree.
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

test("felix-proto-fresh: felixbackend_pb.ts is what felixbackend.proto prints", () => {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/proto.mjs", "--check"], {
    encoding: "utf8",
  });
  expect([status, stderr]).toEqual([0, ""]);
});
