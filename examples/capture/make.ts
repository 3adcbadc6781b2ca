// Makes examples/capture/shop.pcapng: HTTP and DNS clients and servers really run, in network
// namespaces, against the Services of examples/shop.json, over IPv4 and IPv6.
//
//   npm run capture          as root, on Linux; says what is missing
//
// Nobody carries a Service's traffic but the program: its choice for each connection is asked
// beforehand and given to the node as a DNAT rule, and what the program denies the node drops. The
// capture holds requests as the client sent them, to the VIP, and replies as the server sent them,
// from its own address: what a dataplane gets to see.

import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCaptureFile, writeCapture } from "../../host/input/pcap.ts";
import type { CapturedPacket, CaptureInterface } from "../../host/input/pcap.ts";
import { openProgram } from "./choose.ts";
import type { ShopProgram } from "./choose.ts";
import { missing, Network } from "./network.ts";
import type { Carriage } from "./network.ts";
import { ADMIN_PORT, dnsmasqCommand, PAGES_PORT, serveHttp } from "./servers.ts";
import { command, plan, SPOOFED } from "./visits.ts";
import type { Visit } from "./visits.ts";

const OUTPUT = "examples/capture/shop.pcapng";
const BYTES_MAX = 1_000_000;
const READY_TRIES = 100;

async function make(): Promise<void> {
  const problems = missing();
  if (problems.length > 0) {
    for (const problem of problems) console.error(`capture: ${problem}`);
    process.exitCode = 2;
    return;
  }
  const program = await openProgram("examples/shop.json");
  const visits = plan(program);
  const carriages = visits.filter(({ kind }) => kind !== "ping").map((visit) =>
    carriage(visit, program));
  const folder = mkdtempSync(join(tmpdir(), "margay-capture-"));
  const network = new Network(program.pods);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      network.close();
      process.exit(1);
    });
  }
  try {
    network.addForeignAddress("client", SPOOFED);
    network.carry(carriages);
    await startServers(network, program);
    const recorder = await network.capture(folder);
    await makeVisits(network, visits, carriages);
    write(await recorder.stop());
  } finally {
    network.close();
    rmSync(folder, { recursive: true });
  }
}

function carriage(visit: Visit, program: ShopProgram): Carriage {
  const { source, sourcePort, destination, destinationPort } = visit;
  const opening = {
    protocol: visit.kind === "dns" ? "udp" as const : "tcp" as const,
    source, sourcePort, destination, destinationPort,
  };
  return { ...opening, to: program.choose(visit.pod, opening) };
}

async function startServers(network: Network, program: ShopProgram): Promise<void> {
  const names = [
    { name: "shop.example", addresses: program.services.get("http")! },
    ...program.pods.filter(({ name }) => name.startsWith("http-")).map((pod) =>
      ({ name: `${pod.name}.example`, addresses: pod.addresses })),
  ].flatMap(({ name, addresses }) => addresses.map((address) => ({ name, address })));
  for (const { name } of program.pods) {
    if (name.startsWith("http-")) {
      network.startIn(name, process.execPath, process.argv[1]!, "serve-http", name);
      for (const port of [PAGES_PORT, ADMIN_PORT]) {
        await ready(network, name, ["curl", "-sf", `http://127.0.0.1:${port}/`]);
      }
    } else if (name.startsWith("dns-")) {
      const [dnsmasq, ...args] = dnsmasqCommand(5353, names);
      network.startIn(name, dnsmasq!, ...args);
      await ready(network, name, ["dig", "@127.0.0.1", "-p", "5353", "+tries=1", "shop.example"]);
    }
  }
}

/** Inside the server's own pod, so that no packet of it is captured. */
async function ready(network: Network, pod: string, probe: string[]): Promise<void> {
  let last = "";
  for (let tries = 0; tries < READY_TRIES; tries += 1) {
    const { code, output } = await network.runIn(pod, probe);
    if (code === 0) return;
    last = output;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the server in ${pod} doesn't answer ${probe.join(" ")}: ${last.trim()}`);
}

/** One after another; whether each was answered has to agree with what the program chose. */
async function makeVisits(network: Network, visits: Visit[], carriages: Carriage[]): Promise<void> {
  const denied = new Set(carriages.filter(({ to }) => to === undefined)
    .map(({ source, sourcePort }) => `${source} ${sourcePort}`));
  for (const visit of visits) {
    const { code, output } = await network.runIn(visit.pod, command(visit));
    const expected = !denied.has(`${visit.source} ${visit.sourcePort}`);
    if ((code === 0) === expected) continue;
    const what = `${command(visit).join(" ").slice(0, 200)} in ${visit.pod}`;
    throw new Error(`${what}: ${expected ? "not answered" : "answered"}: ${output.trim()}`);
  }
}

/** Merges what each pod sent, by time, into one file with the pods' names at the interfaces. */
function write(records: { name: string; file: string }[]): void {
  const interfaces: CaptureInterface[] = [];
  const packets: CapturedPacket[] = [];
  for (const { name, file } of records) {
    const capture = readCaptureFile(file);
    if (capture.error !== undefined) throw capture.error;
    const index = interfaces.push({ ...capture.interfaces[0]!, name }) - 1;
    for (const packet of capture.packets) packets.push({ ...packet, interface: index });
  }
  packets.sort((a, b) => Number(a.timestampNs - b.timestampNs));
  writeFileSync(OUTPUT, writeCapture("pcapng", interfaces, packets));
  const bytes = statSync(OUTPUT).size;
  if (bytes > BYTES_MAX) throw new Error(`${OUTPUT} has ${bytes} bytes, at most ${BYTES_MAX}`);
  console.log(`${OUTPUT}: ${packets.length} packets of ${interfaces.length} pods, ${bytes} bytes`);
}

if (process.argv[2] === "serve-http") await serveHttp(process.argv[3]!);
else await make();
