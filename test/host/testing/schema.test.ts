// The published JSON Schema is what the reader of test files knows.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { printSchema } from "../../../host/testing/schema.ts";

test("test-schema: docs/policytest.schema.json is what schema.ts prints", () => {
  expect(readFileSync("docs/policytest.schema.json", "utf8")).toBe(printSchema());
});

test("it knows every field of a test and asks for one of to, from, flow, steps", () => {
  const schema = JSON.parse(printSchema()) as {
    properties: { tests: { items: {
      properties: object; oneOf: { required: string[] }[]; additionalProperties: boolean;
    } } };
  };
  const { items } = schema.properties.tests;
  expect(Object.keys(items.properties)).toEqual(["name", "to", "from", "allow", "deny", "only",
    "flow", "expect", "steps", "time"]);
  expect(items.additionalProperties).toBe(false);
  expect(items.oneOf.map(({ required }) => required[0])).toEqual(["to", "from", "flow", "steps"]);
});
