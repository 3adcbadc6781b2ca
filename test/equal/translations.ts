// The second sequence that every engine must treat alike: flows that are translated in every way
// and their answers, ICMP errors about them, fragments, what is answered instead of let through,
// Services that change in between; both families. It is made on a first engine, as sequence.ts' is.
import { FRAME_PACKETS_MAX, Verdict } from "../../assembly/layout.ts";
import type { Compiler } from "../../host/compile/program.ts";
import type { Dataplane, Packet, Push, Result } from "../../host/dataplane/dataplane.ts";
import type { Backend, Program, Service } from "../../host/model/program.ts";
import { fragmentsOf } from "../fragmented.ts";
import { packet, type Spec } from "../packets.ts";
import {
  ADDRESSES, answerTo, BACKEND, CASES, CLIENT, FAMILIES, icmpError, opening, OTHER, PORT,
  PROTOCOLS, seen, TARGET, translated, UPLINK, type Family,
} from "../translated.ts";
import type { Step } from "./sequence.ts";

const PER_CASE = 4;

/** translated(), with more kinds of Services, and denials that are answered. */
export function market(): Program {
  const program = translated({
    rejectDenied: true, podNetworks: "pods", serviceNetworks: "services",
    snatPorts: [20_000, 20_063],
  });
  program.sets!.push(
    { id: "services", type: "net", members: ["10.96.0.0/16", "fd00:96::/32"] },
    { id: "friends", type: "net", members: ["198.51.100.0/28", "2001:db8::/120"] },
  );
  program.services.push(...FAMILIES.flatMap(further));
  program.peers = ["node-2"];
  return program;
}

function further(family: Family): Service[] {
  const { backend, client, other } = ADDRESSES[family];
  const behind = (...addresses: string[]): Backend[] =>
    addresses.map((address) => ({ name: `at-${address}`, address, port: TARGET }));
  const [vip, node] = family === 4 ? ["10.96.0.", "192.0.2."] : ["fd00:96::", "2001:db8:1::"];
  const tcp = { protocol: "tcp", port: PORT } as const;
  return [
    { ...tcp, name: `own-${family}`, address: `${vip}90`, backends: behind(client) },
    { ...tcp, name: `sticky-${family}`, address: `${vip}91`, backends: behind(backend, other),
      affinitySeconds: 600 },
    { ...tcp, name: `port-${family}`, address: `${node}1`, port: 30_080, kind: "node-port",
      backends: behind(backend, other), localBackends: behind(other) },
    { ...tcp, name: `local-${family}`, address: `${node}2`, kind: "external-ip",
      backends: behind(backend), localBackends: [], whenLocalEmpty: "reject" },
    { ...tcp, name: `friends-${family}`, address: `${node}3`, kind: "load-balancer",
      backends: behind(backend), sourceRanges: "friends" },
    { ...tcp, name: `calico-${family}`, address: `${vip}92`, maglev: "calico",
      backends: behind(backend, other) },
    { name: `rest-${family}`, address: `${vip}91`, port: 0, protocol: 0, backends: [],
      whenEmpty: "reject" },
  ];
}

/** Packets of new flows to the further Services, from inside and outside. */
function toFurther(family: Family): Packet[] {
  const { client, other, outside } = ADDRESSES[family];
  const [vip, node] = family === 4 ? ["10.96.0.", "192.0.2."] : ["fd00:96::", "2001:db8:1::"];
  const stranger = family === 4 ? "203.0.113.77" : "2001:db8:9::77";
  const tos: [string, number][] = [
    [`${vip}90`, PORT], [`${vip}91`, PORT], [`${vip}91`, 81], [`${vip}92`, PORT], [`${vip}99`, 80],
    [`${node}1`, 30_080], [`${node}2`, PORT], [`${node}3`, PORT],
  ];
  return tos.flatMap(([to, port], n) => Array.from({ length: PER_CASE }, (_, i) => {
    const sourcePort = 3000 + n * 10 + i;
    return ([[CLIENT, client], [OTHER, other], [UPLINK, outside], [UPLINK, stranger]] as const)
      .map(([number, from]) => ({
        interface: number, bytes: packet({ from, to, port, sourcePort, flags: "S" }),
      }));
  })).flat();
}

/** Runs the sequence on a first engine while it is made; the steps serve the others. */
export async function makeTranslations(
  first: Dataplane, compiler: Compiler, program: Program,
): Promise<{ push: Push; steps: Step[]; results: Result[] }> {
  const steps: Step[] = [];
  const results: Result[] = [];
  const push = await compiler.compile(program, 1);
  first.push(push);
  let nowMs = 3_000_000;
  const send = (packets: Packet[]): Result[] => {
    const made: Result[] = [];
    for (let at = 0; at < packets.length; at += FRAME_PACKETS_MAX) {
      const frame = packets.slice(at, at + FRAME_PACKETS_MAX);
      const clock = { nowMs: nowMs += 500, nowSeconds: 1_700_000_000 };
      steps.push({ do: "send", clock, packets: frame });
      made.push(...first.process(0, frame, clock));
    }
    results.push(...made);
    return made;
  };
  const stage = (records: Uint8Array): void => {
    steps.push({ do: "stage", records });
    first.stage(records);
  };

  const openings = CASES.flatMap(({ family, way, protocol }, n) =>
    Array.from({ length: PER_CASE }, (_, i) =>
      opening(family, way, protocol, { sourcePort: 500 + n * PER_CASE + i, payload: 30 + i })));
  const sent = openings.map(({ near, spec }): Packet =>
    ({ interface: near, bytes: packet(spec) }));
  const left = send(sent);
  const answers = openings.map(({ far }, i): Packet =>
    ({ interface: far, bytes: packet(answerTo(left[i]!.bytes!, { payload: 40 })) }));
  const returned = send(answers);
  send(FAMILIES.flatMap(toFurther));

  // Errors about what left and about what came back; some from a router, some about nothing known.
  send(openings.flatMap(({ near, far }, i): Packet[] => {
    const { from, to } = seen(left[i]!.bytes!);
    const back = seen(returned[i]!.bytes!);
    const router = ADDRESSES[from.includes(":") ? 6 : 4].router;
    return [
      { interface: far, bytes: icmpError({ from: to, to: from, quoted: left[i]!.bytes! }) },
      { interface: UPLINK, bytes: icmpError({ from: router, to: from, quoted: left[i]!.bytes! }) },
      { interface: near, bytes: icmpError({ from: back.to, to: back.from,
        quoted: returned[i]!.bytes!.slice(0, back.l4 + 8) }) },
      { interface: far, bytes: icmpError({ from: to, to: from, quoted: sent[i]!.bytes }) },
    ];
  }));

  // Fragments behind their first, out of order, twice, and of nothing that came.
  send(openings.flatMap(({ near, spec }, i): Packet[] => {
    const parts = fragmentsOf(packet({ ...spec, payload: 100, flags: "A" }), 32, 500 + i);
    const strange = fragmentsOf(packet({ ...spec, payload: 100 }), 32, 9000 + i).slice(1);
    return [parts[0]!, ...parts.slice(1).reverse(), parts[1]!, ...strange].map((bytes) =>
      ({ interface: near, bytes }));
  }));

  // What is answered: no backends, closed ports.
  const refused = FAMILIES.flatMap((family) => PROTOCOLS.flatMap((protocol): Spec[] => {
    const { client, empty, other } = ADDRESSES[family];
    return [8, 300].flatMap((payload) => [
      { from: client, to: empty, protocol, port: PORT, sourcePort: 900, payload },
      { from: client, to: other, protocol, port: 1, sourcePort: 901, payload },
    ]);
  }));
  for (let round = 0; round < 8; round++) {
    send(refused.map((spec) => ({ interface: CLIENT, bytes: packet(spec) })));
  }

  // Backends change: sessions go on, new flows go elsewhere.
  stage(compiler.applyServices(new Map(FAMILIES.map((family) => {
    const { vip, balancer, other } = ADDRESSES[family];
    const name = `web-tcp-${family}`;
    const one = { name, port: PORT, protocol: "tcp" as const,
      backends: [{ name: "other", address: other, port: TARGET }] };
    return [name, [{ ...one, address: vip },
      { ...one, address: balancer, kind: "load-balancer" as const }]];
  }))));
  for (const flags of ["A", "S"]) {
    send(openings.map(({ near, spec }): Packet => ({
      interface: near,
      bytes: packet({ ...spec, flags, sourcePort: spec.sourcePort! + (flags === "S" ? 50 : 0) }),
    })));
  }
  send(FAMILIES.flatMap((family) => Array.from({ length: 100 }, (_, i): Packet => ({
    interface: CLIENT, // more flows than source NAT has ports
    bytes: packet({
      from: ADDRESSES[family].client, to: ADDRESSES[family].outside, sourcePort: 900 + i,
      flags: "S",
    }),
  }))));
  steps.push({ do: "age", nowMs: nowMs += 70_000, budget: 100_000 });
  first.age(0, nowMs, 100_000);
  send(FAMILIES.flatMap(toFurther));
  send(answers.filter((_, i) => left[i]!.verdict === Verdict.Pass && openings[i]!.far === BACKEND));
  return { push, steps, results };
}
