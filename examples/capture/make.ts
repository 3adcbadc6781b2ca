// Makes examples/capture/shop.pcapng: HTTP and DNS clients and servers really run, in network
// namespaces, as the pods of examples/shop and the world around them, over IPv4 and IPv6.
//
//   npm run capture          as root, on Linux; says what is missing
//
// Nobody carries a Service's traffic but the program: its choice for each connection is asked
// beforehand and given to the node as DNAT and SNAT rules, and what the program denies the node
// drops. The
// capture holds requests as the client sent them, to the VIP, and replies as the server sent them,
// from its own address: what a dataplane gets to see.

import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readCaptureFile, writeCapture } from "../../host/input/pcap.ts";
import type { CapturedPacket, CaptureInterface } from "../../host/input/pcap.ts";
import { openShop } from "./choose.ts";
import type { ShopProgram } from "./choose.ts";
import { missing, Network } from "./network.ts";
import type { Carriage } from "./network.ts";
import { dnsmasqCommand, serveHttp } from "./servers.ts";
import { command, NODE, plan, SPOOFED, WORLD_NAME } from "./visits.ts";
import type { Visit } from "./visits.ts";

const OUTPUT = "examples/capture/shop.pcapng";
const BYTES_MAX = 200_000;
const READY_TRIES = 100;
const VISITS_AT_ONCE = 4;
const DNS_PORT = 53;
/** What the world answers at: the card networks and the smart host. */
const WORLD_PORTS = [443, 25];
const DNS = "kube-system/kube-dns";

async function make(): Promise<void> {
  const problems = missing();
  if (problems.length > 0) {
    for (const problem of problems) console.error(`capture: ${problem}`);
    process.exitCode = 2;
    return;
  }
  const shop = await openShop();
  const visits = plan(shop);
  const carriages = visits.filter(({ kind }) => kind !== "ping").map((visit) =>
    carriage(visit, shop));
  const folder = mkdtempSync(join(tmpdir(), "margay-capture-"));
  const network = await Network.make(shop.places, NODE);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      network.close();
      process.exit(1);
    });
  }
  try {
    await network.addForeignAddress(visits.find(({ source }) => source === SPOOFED)!.pod, SPOOFED);
    network.carry(carriages);
    await startServers(network, shop);
    const recorder = await network.capture(folder);
    await makeVisits(network, visits, carriages);
    write(await recorder.stop());
  } finally {
    network.close();
    rmSync(folder, { recursive: true });
  }
}

function carriage(visit: Visit, shop: ShopProgram): Carriage {
  const { source, sourcePort, destination, destinationPort } = visit;
  const opening = {
    protocol: visit.kind === "dns" ? "udp" as const : "tcp" as const,
    source, sourcePort, destination, destinationPort,
  };
  return { ...opening, ...shop.choose(visit.pod, opening) };
}

async function startServers(network: Network, shop: ShopProgram): Promise<void> {
  const names = ["shop/api", "shop/catalogue", "shop/db"].flatMap((service) =>
    shop.vips(service).map((address) =>
      ({ name: service.split("/").reverse().join("."), address })));
  const servers = new Set(shop.pods(DNS).map(({ name }) => name));
  for (const name of servers) {
    const [dnsmasq, ...args] = dnsmasqCommand(DNS_PORT, names);
    network.startIn(name, dnsmasq!, ...args);
  }
  const http = shop.all.filter(({ name, ports }) => ports.length > 0 && !servers.has(name));
  for (const { name, ports } of [...http, { name: WORLD_NAME, ports: WORLD_PORTS }]) {
    network.startIn(name, process.execPath, process.argv[1]!, "serve-http", name,
      ...ports.map(String));
  }
  await Promise.all([
    ...[...servers].map((name) =>
      ready(network, name, ["dig", "@127.0.0.1", "+tries=1", names[0]!.name])),
    ...http.flatMap(({ name, ports }) => ports.map((port) =>
      ready(network, name, ["curl", "-sf", `http://127.0.0.1:${port}/`]))),
  ]);
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

/** Some at a time, what is denied at once at the end; as the program chose, so it must be. */
async function makeVisits(network: Network, visits: Visit[], carriages: Carriage[]): Promise<void> {
  const denied = new Set(carriages.filter(({ to }) => to === undefined)
    .map(({ source, sourcePort }) => `${source} ${sourcePort}`));
  const isDenied = (visit: Visit): boolean => denied.has(`${visit.source} ${visit.sourcePort}`);
  const make = async (visit: Visit): Promise<void> => {
    const { code, output } = await network.runIn(visit.pod, command(visit));
    if ((code === 0) !== isDenied(visit)) return;
    const what = `${command(visit).join(" ").slice(0, 200)} in ${visit.pod}`;
    const came = isDenied(visit) ? "answered" : "not answered";
    throw new Error(`${what}: ${came}: ${output.trim()}`);
  };
  const allowed = visits.filter((visit) => !isDenied(visit));
  for (let from = 0; from < allowed.length; from += VISITS_AT_ONCE) {
    await Promise.all(allowed.slice(from, from + VISITS_AT_ONCE).map(make));
  }
  await Promise.all(visits.filter(isDenied).map(make));
}

/** Merges what each interface bore, by time, into one file with the interfaces' names. */
function write(records: { name: string; file: string }[]): void {
  const interfaces: CaptureInterface[] = [];
  const packets: CapturedPacket[] = [];
  for (const { name, file } of records) {
    const capture = readCaptureFile(file);
    if (capture.error !== undefined) throw capture.error;
    if (capture.packets.length === 0) continue;
    const index = interfaces.push({ ...capture.interfaces[0]!, name }) - 1;
    for (const packet of capture.packets) packets.push({ ...packet, interface: index });
  }
  packets.sort((a, b) => Number(a.timestampNs - b.timestampNs));
  writeFileSync(OUTPUT, writeCapture("pcapng", interfaces, packets));
  const bytes = statSync(OUTPUT).size;
  if (bytes > BYTES_MAX) throw new Error(`${OUTPUT} has ${bytes} bytes, at most ${BYTES_MAX}`);
  console.log(`${OUTPUT}: ${packets.length} packets at ${interfaces.length} interfaces, ` +
    `${bytes} bytes`);
}

const [, , what, name, ...ports] = process.argv;
if (what === "serve-http") await serveHttp(name!, ports.map(Number));
else await make();
