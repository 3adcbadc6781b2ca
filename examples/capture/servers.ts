// The servers of the capture: Node's HTTP server with the shop's pages, run in the namespace of
// each pod and of the world by `node make.js serve-http NAME PORT...`, and dnsmasq with the shop's
// names in each DNS pod. What isn't HTTP in a real shop (the database's port, the queue's) answers
// HTTP here: policies see addresses, protocols and ports.

import { createServer } from "node:http";
import type { RequestListener } from "node:http";
import { once } from "node:events";

const GOODS = 40;

/** Serves at those ports until the process is ended; says "ready" on standard output. */
export async function serveHttp(name: string, serverPorts: number[]): Promise<void> {
  const catalogue = JSON.stringify(Array.from({ length: GOODS }, (_, index) => ({
    id: index + 1, name: `Lamp ${index + 1}`, price: 1999 + 250 * index, stock: (index * 7) % 31,
  })));
  const pages: RequestListener = (request, response) => {
    response.setHeader("x-served-by", name);
    if (request.method === "POST") {
      let bytes = 0;
      request.on("data", (chunk: Buffer) => (bytes += chunk.length));
      request.on("end", () => response.writeHead(201).end(`order of ${bytes} bytes at ${name}\n`));
    } else if (request.url === "/catalogue.json") {
      response.setHeader("content-type", "application/json").end(catalogue);
    } else if (request.url === "/") {
      response.setHeader("content-type", "text/html").end(`<h1>The lamp shop</h1>${name}\n`);
    } else {
      response.writeHead(404).end("no such page\n");
    }
  };
  for (const port of serverPorts) {
    const server = createServer(pages).listen(port, "::");
    await once(server, "listening");
  }
  console.log("ready");
}

export interface NamedAddress {
  name: string;
  address: string;
}

/** dnsmasq as an authority for those names alone: it reads no file and asks nobody. */
export function dnsmasqCommand(port: number, names: NamedAddress[]): string[] {
  return [
    "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv",
    "--no-hosts", `--port=${port}`,
    ...names.map(({ name, address }) => `--host-record=${name},${address}`),
  ];
}
