// The form of a *.test.yaml file, as zod knows it: what it may hold, and the JSON Schema that
// editors read (docs/policytest.schema.json is printed from here).
//
//   kind: PolicyTest
//   manifests: [., ../base]            endpoints: { stranger: { namespace: other } }
//   tests:  to + allow / deny / only  │  from + allow / deny  │  flow + expect  │  steps
//
// What one field says of another (to or from, never both) stands in testfile.ts, with positions.
// Source: zod 4 (strict objects, JSON Schema draft 2020-12).
import { z } from "zod";

const END = "a pod, workload or Service (shop/db, shop/deploy/web, shop/svc/web), node:NAME, an " +
  "endpoint of this file, internet, or an address";
const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

const Port = z.strictObject({
  name: z.string().optional().describe("as named ports of policies know it"),
  port: z.int().min(1).max(65_535),
  protocol: z.enum(["TCP", "UDP", "SCTP"]).optional().describe("TCP when absent"),
});

const Endpoint = z.strictObject({
  namespace: z.string().regex(NAME).optional().describe("a pod that exists in this test alone"),
  labels: z.record(z.string(), z.string()).optional(),
  serviceAccount: z.string().optional().describe("default when absent"),
  ports: z.array(Port).optional(),
  net: z.string().optional().describe("addresses outside the cluster: one of each class is tried"),
}).describe("a test-only end of flows: a pod with a namespace, or addresses with a net");

const Verdict = z.enum(["allow", "deny", "reject", "drop"]);

const Expectation = z.strictObject({
  verdict: Verdict.describe("deny: by a policy; reject: answered; drop: any other drop"),
  at: z.enum(["untracked", "pre-dnat", "egress", "forward-in", "forward-out", "ingress", "host"])
    .optional().describe("the stage that decided"),
  by: z.string().optional().describe("the policy: NetworkPolicy shop/db, or with its ingress[0]"),
  reason: z.string().optional().describe("of a drop or reject: no-backend, source-range …"),
  backend: z.string().optional().describe(
    "where a Service led to: shop/web-0, or its address and port; in steps, same: the backend of " +
    "the flow to that Service before",
  ),
  source: z.string().optional().describe(
    "what the receiver sees as source: kept, or the address that NAT puts in its place",
  ),
});

const Ends = z.array(z.string()).min(1);

const Objects = z.union([z.string().min(1), Ends]);
const FLOW = "FROM[:PORT] -> TO[:PORT][/PROTO]";

const Step = z.strictObject({
  open: z.string().optional().describe(`${FLOW}: opens it; of TCP with its handshake`),
  send: z.string().optional().describe(
    `${FLOW}: one more packet of what was opened so, from its opener`,
  ),
  reply: z.string().optional().describe(
    `${FLOW}, as its opener wrote it: a packet back, from the far end`,
  ),
  apply: Objects.optional().describe(
    "files or folders of manifests, from this file's folder, or manifests themselves: they " +
    "replace those of the same kind, namespace and name",
  ),
  delete: Objects.optional().describe(
    "objects that go: Kind namespace/name, or files that hold them",
  ),
  wait: z.string().optional().describe("moves the clock: 500ms, 90s, 5m, 2h"),
  expect: z.union([Verdict, Expectation]).optional()
    .describe("of open, send and reply; allow when absent"),
}).describe("one of open, send, reply, apply, delete, wait");

const Test = z.strictObject({
  name: z.string().min(1),
  to: z.string().optional().describe(`${END}; with its port: shop/db:5432, shop/dns:53/udp`),
  from: z.string().optional().describe(END),
  allow: Ends.optional().describe("the other ends, all of whose flows must pass"),
  deny: Ends.optional().describe("the other ends, none of whose flows may pass"),
  only: z.array(z.string()).optional().describe(
    "exhaustive: who may reach `to`, and nobody else may: FROM -> [PORT][/PROTO] or FROM; " +
    "ops/* is all of a namespace, 10.0.0.0/8 what is outside of the cluster, * everyone",
  ),
  flow: z.string().optional().describe("FROM[:PORT] -> TO[:PORT][/PROTO]"),
  expect: z.union([Verdict, Expectation]).optional(),
  steps: z.array(Step).min(1).optional().describe(
    "one after the other, on a cluster of their own whose sessions live on",
  ),
  time: z.iso.datetime({ offset: true }).optional().describe("when it happens; now when absent"),
});

export const PolicyTest = z.strictObject({
  kind: z.literal("PolicyTest"),
  manifests: z.array(z.string()).min(1).optional()
    .describe("files and folders, from this file's folder; that folder when absent"),
  endpoints: z.record(z.string().regex(NAME), Endpoint).optional(),
  tests: z.array(Test).min(1),
});

export type PolicyTestDocument = z.infer<typeof PolicyTest>;
export type TestDocument = z.infer<typeof Test>;
export type EndpointDocument = z.infer<typeof Endpoint>;
export type StepDocument = z.infer<typeof Step>;
export type ExpectationDocument = z.infer<typeof Expectation>;

/** A step is one of these. */
export const ACTIONS = ["open", "send", "reply", "apply", "delete", "wait"] as const;

/** Fields by what holds them, for "did you mean". */
export const FIELDS: Record<
  "file" | "endpoint" | "port" | "test" | "step" | "expect", string[]
> = {
  file: Object.keys(PolicyTest.shape),
  endpoint: Object.keys(Endpoint.shape),
  port: Object.keys(Port.shape),
  test: Object.keys(Test.shape),
  step: Object.keys(Step.shape),
  expect: Object.keys(Expectation.shape),
};

/** docs/policytest.schema.json, byte by byte. */
export function printSchema(): string {
  const schema = z.toJSONSchema(PolicyTest, {
    override({ zodSchema, jsonSchema }) {
      if (zodSchema === (Step as z.core.$ZodType)) {
        jsonSchema.oneOf = ACTIONS.map((action) => ({ required: [action] }));
      }
      if (zodSchema !== (Test as z.core.$ZodType)) return;
      jsonSchema.oneOf = [
        { required: ["to"] }, { required: ["from"] }, { required: ["flow", "expect"] },
        { required: ["steps"] },
      ];
    },
  });
  return `${JSON.stringify({
    ...schema, title: "Margay policy test", description: "*.test.yaml, run by margay test",
  }, null, 2)}\n`;
}
