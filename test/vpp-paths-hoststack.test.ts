// Programs on VPP's own host stack, as pods: unchanged binaries under VCL's preload library, each
// in an application namespace whose table leads to the plugin.
//
//   curl ─ VCL ─ table 1 ─ default route ─► judged as from loop1, DNAT ─► table 0 ─► table 2 ─┐
//   python3 -m http.server ─ VCL ◄─ TCP ◄─ local arc ◄────────────────────────────────────────┘
import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from "vitest";
import type { Policy, Program } from "../host/model/program.ts";
import { parseSessions } from "../host/vpp/text.ts";
import { seen } from "./translated.ts";
import { counted, Graph, install, skipped } from "./vpp-graph.ts";
import { ADDRESSES, CLIENT, FAMILIES, nodeProgram, OTHER, wireWorld } from "./vpp-node.ts";

const libraries = join(install.prefix ?? "", "lib/x86_64-linux-gnu");
const preload = join(libraries, "libvcl_ldpreload.so");
const missing = skipped || !existsSync(preload);
const PODS = { client: { table: 1, endpoint: CLIENT }, other: { table: 2, endpoint: OTHER } };
type Pod = keyof typeof PODS;
const BODY = "served by VPP's host stack\n";
/** Policy denies the second. */
const PORT = 8080, CLOSED = 1;

let graph: Graph;
const children: ChildProcess[] = [];

/** What a program needs to be in a pod. With local scope VCL may connect two programs directly. */
function environment(pod: Pod, local = false): NodeJS.ProcessEnv {
  const file = graph.vpp.path(`${pod}-${local}.conf`);
  // Once: programs that start meanwhile read it.
  if (!existsSync(file)) writeFileSync(file, `vcl {
  app-socket-api ${graph.vpp.path(`app_ns_sockets/${pod}`)}
  namespace-id ${pod}
  namespace-secret ${PODS[pod].table}
  app-scope-global
${local ? "  app-scope-local\n" : ""}}
`);
  return {
    PATH: process.env["PATH"], LD_PRELOAD: preload, LD_LIBRARY_PATH: libraries, VCL_CONFIG: file,
  };
}
function curl(pod: Pod, url: string, seconds = 5, local = false): Promise<string> {
  const words = ["-s", "-S", "--noproxy", "*", "--max-time", String(seconds), url];
  return new Promise((done) => execFile(
    "curl", words, { env: environment(pod, local), encoding: "utf8" },
    (error, out) => done(error ? `status ${String(error.code)}` : out)));
}
const at = (address: string, port: number) =>
  `http://${address.includes(":") ? `[${address}]` : address}:${port}/body`;

/** The Services' backend is the other pod. */
function programOf(): Program {
  const program = nodeProgram();
  for (const service of program.services) {
    service.backends = service.backends.map((each) => ({
      ...each, name: "other", address: ADDRESSES[each.address.includes(":") ? 6 : 4].other,
    }));
  }
  return program;
}

describe.skipIf(missing)("programs on the host stack", () => {
  beforeAll(async () => {
    graph = await Graph.start({
      sections: { session: "enable use-app-socket-api event-queue-length 1000" },
    });
    await graph.open();
    await graph.push(programOf());
    await wireWorld(graph);
    for (const [pod, { table, endpoint }] of Object.entries(PODS)) {
      const loop = `loop${table}`;
      const [four, six] = FAMILIES.map((family) => ADDRESSES[family][pod as Pod]);
      await graph.vpp.command(`create loopback interface instance ${table}`);
      await graph.vpp.quietly(
        `ip table add ${table}`, `ip6 table add ${table}`,
        `set interface state ${loop} up`, `set interface ip table ${loop} ${table}`,
        `set interface ip6 table ${loop} ${table}`,
        `set interface ip address ${loop} ${four}/32`,
        `set interface ip address ${loop} ${six}/128`,
        `ip route add ${four}/32 via ip4-lookup-in-table ${table}`,
        `ip route add ${six}/128 via ip6-lookup-in-table ${table}`,
      );
      await graph.bind(loop, endpoint);
      const said = await graph.vpp.command(
        `margay host-stack add table ${table} interface ${loop}`);
      if (/unknown|error|fail/i.test(said)) throw new Error(said);
      await graph.vpp.quietly(`app ns add id ${pod} secret ${table} if ${loop}`);
    }
    const served = graph.vpp.path("served");
    mkdirSync(served);
    writeFileSync(join(served, "body"), BODY);
    // Whatever stands in front of it (a shell script, say) is not to run on VCL.
    const python = execFileSync("python3", ["-c", "import sys; print(sys.executable)"], {
      encoding: "utf8",
    }).trim();
    const serve = (address: string, port: number) => children.push(spawn(python, [
      "-m", "http.server", "--bind", address, "--directory", served, String(port),
    ], { env: environment("other"), stdio: "ignore" }));
    for (const family of FAMILIES) serve(ADDRESSES[family].other, PORT);
    serve(ADDRESSES[4].other, CLOSED);
    const deadline = Date.now() + 10_000;
    let listening = "";
    while (!/(LISTEN[\s\S]*){3}/.test(listening)) {
      if (Date.now() > deadline) throw new Error(`the servers do not listen:\n${listening}`);
      await new Promise((done) => setTimeout(done, 50));
      listening = await graph.vpp.command("show session verbose");
    }
  });
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await graph?.close();
  });

  describe.each(FAMILIES)("IPv%i", (family) => {
    const { other, vip, world, node: own, client } = ADDRESSES[family];

    test("vpp-vcl-direct: a pod's program fetches from another's", async () => {
      onTestFailed(async () => console.log(await graph.vpp.command("show errors")));
      expect(await curl("client", at(other, PORT))).toBe(BODY);
    });

    test("vpp-vcl-service: and through a Service, which the plugin translates", async () => {
      expect(await curl("client", at(vip, 80))).toBe(BODY);
      const sessions = parseSessions(await graph.vpp.command("show margay sessions"));
      expect(sessions).toContainEqual(expect.objectContaining({
        source: client, destination: vip, destinationPort: 80, toDestination: other,
        toDestinationPort: PORT,
      }));
    });

    test("vpp-vcl-denied: what policy denies does not connect", async () => {
      const denied = async () => counted({ errors: await graph.errors() }, "policy-denied");
      const before = await denied();
      expect(await curl("client", at(other, CLOSED), 1)).toMatch(/^status/);
      expect(await denied()).toBeGreaterThan(before);
    });

    test("vpp-vcl-masqueraded: a program's packets leave the node under its address", async () => {
      graph.left();
      await curl("client", at(world, 80), 1);
      const left = graph.left();
      expect(left.length).toBeGreaterThan(0);
      expect(new Set(left.map((each) => `${each.by} ${seen(each.bytes).from}`)))
        .toEqual(new Set([`world ${own}`]));
    });
  });

  test("vpp-vcl-policy: policy between two programs holds, as long as it says so", async () => {
    const url = at(ADDRESSES[4].other, CLOSED);
    expect(await curl("client", url, 1)).toBe("status 28");
    // Nor does it depend on what the program's own configuration asks for.
    expect(await curl("client", url, 1, true)).toBe("status 28");
    const open = programOf();
    const [most] = open.policies as [Policy];
    most.rules = most.rules.filter(({ name }) => name !== "closed");
    await graph.push(open);
    expect(await curl("client", url)).toBe(BODY);
    await graph.push(programOf());
    expect(await curl("client", url, 1)).toBe("status 28");
  });

  test("vpp-vcl-cut-through: two programs are never connected past the graph", async () => {
    const url = at(ADDRESSES[4].other, PORT);
    const sent = async () => (await graph.errors()).get("tcp4-output Packets sent") ?? 0;
    // Only local scope, which the configuration leaves off, connects the programs of one pod so.
    await new Promise((done) => setTimeout(done, 200));
    const none = await sent();
    expect(await curl("other", url, 2, true)).toBe(BODY);
    expect(await sent()).toBe(none);
    const before = await sent();
    expect(await curl("client", url)).toBe(BODY);
    const direct = await sent();
    expect(direct).toBeGreaterThan(before);
    expect(await curl("client", url, 5, true)).toBe(BODY);
    expect(await sent()).toBeGreaterThan(direct);
  });
});
