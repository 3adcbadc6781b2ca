// Builds what the benches alone load into VPP, where VPP and the product's plugin are; never
// installed: build/vpp-bench holds it.
//
//   CMakeLists.txt + flows.c ──────────────────────► benchflows_plugin.so
//   vpp-plugin/CMakeLists.txt + watch.cmake, split.c ► timed/.../margay_plugin.so

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { vppInstall } from "../../host/vpp/install.ts";
import type { Install } from "./rig.ts";

const OUT = resolve("build/vpp-bench");

/** What a bench needs, built; or in one sentence what is missing. */
export function buildBenchPlugins(core: string): Install | string {
  const install = vppInstall();
  if (typeof install === "string") return install;
  if (!existsSync(core)) return "build/margay.wasm is missing: npm run build";
  const { error } = spawnSync("cmake", ["--version"]);
  if (error) return `cmake cannot be run: ${error.message}`;
  // Another VPP, another ABI: nothing of the last build may be reused.
  const stamp = join(OUT, "vpp-prefix");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") !== install.prefix) {
    rmSync(OUT, { recursive: true });
  }
  mkdirSync(OUT, { recursive: true });
  writeFileSync(stamp, install.prefix);
  cmake(install.prefix, "bench/vpp", OUT);
  return { ...install, core, flows: join(OUT, "lib/vpp_plugins/benchflows_plugin.so") };
}

/** The product's plugin with the stop-watches in it. */
export function buildTimedPlugin({ prefix }: Install): string {
  const out = join(OUT, "timed");
  const include = `-DCMAKE_PROJECT_INCLUDE=${resolve("bench/vpp/watch.cmake")}`;
  cmake(prefix, "vpp-plugin", out, include);
  return join(out, "lib/vpp_plugins/margay_plugin.so");
}

function cmake(prefix: string, source: string, out: string, ...more: string[]): void {
  const steps = [
    ["-S", resolve(source), "-B", out, "-Wno-dev", `-DCMAKE_PREFIX_PATH=${prefix}`, ...more],
    ["--build", out, "--parallel"],
  ];
  for (const step of steps) {
    const { status, stdout, stderr } = spawnSync("cmake", step, { encoding: "utf8" });
    if (status !== 0) throw new Error(`cmake ${step[0]}: status ${status}\n${stdout}${stderr}`);
  }
}
