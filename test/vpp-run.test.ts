// `margay run` with a real VPP: the live sample (examples/vpp-live), real clients in network
// namespaces, with both the agent and VPP killed on the way; and what the command answers where it
// can't run.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { live, type Seen } from "../examples/vpp-live/live.ts";
import { podsAbsent } from "../examples/vpp-live/pods.ts";
import { vppInstall } from "../host/vpp/install.ts";

const found = vppInstall();
const absent = typeof found === "string" ? found : podsAbsent();
if (absent !== undefined) console.log(`live sample: skipped (${absent})`);

describe.skipIf(absent !== undefined)("the live sample", () => {
  let seen: Seen[] = [];
  const said: string[] = [];
  beforeAll(async () => {
    if (typeof found === "string") return;
    seen = await live({ install: found, say: (line) => said.push(line) });
  }, 180_000);

  const right = (id: Seen["id"]): void => {
    const one = seen.find((each) => each.id === id);
    expect(one?.isRight, `${one?.text ?? "not seen"}\n${said.join("\n")}`).toBe(true);
  };

  test("run-service: real clients reach a Service's pages through VPP", () => right("service"));
  test("run-refused: who may not ask gets no answer", () => right("stranger"));
  test("run-policy: a changed policy acts; an open connection lives on", () => right("policy"));
  test("run-agent-killed: VPP forwards on; the agent goes on by differences", () =>
    right("agent"));
  test("run-state-lost: a core beside takes over, with its sessions", () => right("beside"));
  test("run-vpp-killed: everything comes back by itself, the open connection too", () =>
    right("vpp"));
});

describe("the command", () => {
  const run = (text: string) => {
    const folder = mkdtempSync(join(tmpdir(), "margay-run-"));
    try {
      const file = join(folder, "margay.yaml");
      writeFileSync(file, text);
      const { status, stderr } = spawnSync(process.execPath,
        ["dist/margay.js", "run", "--config", file, "--once"], { encoding: "utf8" });
      return { status, stderr: stderr.replaceAll(folder, "") };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };

  test("run-config: what is wrong in margay.yaml is told by line and field; status 2", () => {
    const { status, stderr } = run(
      "node: live\nstate: s\nmanifests: [.]\nvpp: { socket: a, sokket: b }\ninterfaces: []\n");
    expect(status).toBe(2);
    expect(stderr).toContain("margay.yaml:4:27 vpp.sokket: there is no such field");
    expect(stderr).toMatch(/margay\.yaml:5:13 interfaces: /);
  });

  test("run-config: a state directory that can't be made is told; status 2", () => {
    const rest = "manifests: [.]\nvpp: { socket: a }\ninterfaces: [{ name: lo, loopback: {} }]\n";
    for (const state of ["/proc/nope", "/proc/nope/s", "/dev/null/s"]) {
      const { status, stderr } = run(`node: live\nstate: ${state}\n${rest}`);
      expect(stderr).toMatch(/margay\.yaml: state: E[A-Z]+: .*'\/(proc\/nope|dev\/null)/);
      expect(status).toBe(2);
    }
  });

  test("run-absent: without a VPP, --once says so; status 3", () => {
    const { status, stderr } = run("node: live\nstate: s\nmanifests: [.]\n" +
      "vpp: { socket: api.sock }\ninterfaces: [{ name: lo, loopback: {} }]\n");
    expect(status).toBe(3);
    expect(stderr).toContain("/api.sock: VPP's API socket is not there");
  });

  test("run-alone: a second agent with the same state directory ends; status 2", async () => {
    const folder = mkdtempSync(join(tmpdir(), "margay-run-"));
    const args = ["dist/margay.js", "run", "--config", join(folder, "margay.yaml")];
    const second = () => spawnSync(process.execPath, [...args, "--once"], { encoding: "utf8" });
    let first: ChildProcess | undefined;
    try {
      writeFileSync(args[3]!, "node: live\nstate: s\nmanifests: [.]\n" +
        "vpp: { socket: api.sock }\ninterfaces: [{ name: lo, loopback: {} }]\n");
      first = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
      await Promise.race([once(first.stdout!, "data"), once(first.stderr!, "data")]);
      const { status, stderr } = second();
      expect(status).toBe(2);
      expect(stderr).toContain(`${folder}/s: another agent keeps its state there`);
      first.kill("SIGKILL");
      await once(first, "exit");
      expect(second().status).toBe(3); // the lock went with it: it is VPP that is missing now
    } finally {
      first?.kill("SIGKILL");
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
