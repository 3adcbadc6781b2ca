// `npm run vpp:record`: records test/host/vpp/exchange.txt with an installed VPP.

import { writeFileSync } from "node:fs";
import { Connection } from "../../../host/vpp/api/connection.ts";
import { VppClient } from "../../../host/vpp/api/index.ts";
import { vppInstall } from "../../../host/vpp/install.ts";
import { VppProcess } from "../../../host/vpp/process.ts";
import { MESSAGES, Recorder, exchange, schemaOf } from "./recording.ts";

const FILE = "test/host/vpp/exchange.txt";
const install = vppInstall();
if (typeof install === "string") throw new Error(install);
const vpp = await VppProcess.start(install);
try {
  const hello = await Connection.open(vpp.path("api.sock"), "recorder", 10);
  const schema = schemaOf(new Map(Object.keys(MESSAGES)
    .map((name) => [name, hello.table.crc(name) ?? ""])));
  hello.close();
  const recorder = new Recorder(vpp.path("proxy.sock"), vpp.path("api.sock"));
  const client = await VppClient.connect({ socket: vpp.path("proxy.sock"), schema });
  console.log(await exchange(client));
  const text = recorder.text();
  client.close();
  recorder.close();
  const { length } = text;
  writeFileSync(FILE, `# An exchange with a running VPP, recorded by npm run vpp:record.\n${text}`);
  console.log(`${FILE}: ${length} bytes`);
} finally {
  await vpp.close();
}
process.exit(0);
