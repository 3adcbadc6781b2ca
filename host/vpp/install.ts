// Where VPP is installed and where the plugin was built for it. scripts/build-vpp-plugin.mjs looks
// for VPP by the same function.
//
//   VPP_PREFIX alone when it is set, else /usr, /usr/local: bin/vpp, and its headers' CMake files

import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const VPP_PREFIXES = ["/usr", "/usr/local"];

function hasCmakeFiles(prefix: string): boolean {
  const lib = join(prefix, "lib");
  const directories = existsSync(lib) ? ["", ...readdirSync(lib)] : [];
  return directories.some((name) => existsSync(join(lib, name, "cmake/vpp/VPPConfig.cmake")));
}

/** The prefix of an installed VPP that a plugin can be built for; undefined where there is none. */
export function findVpp(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  const named = environment["VPP_PREFIX"];
  return (named ? [named] : VPP_PREFIXES)
    .find((prefix) => existsSync(join(prefix, "bin/vpp")) && hasCmakeFiles(prefix));
}

export interface VppInstall {
  prefix: string;
  /** The plugin's file. */
  plugin: string;
}

/** VPP and the plugin, or in one sentence what is missing. */
export function vppInstall(environment: NodeJS.ProcessEnv = process.env): VppInstall | string {
  const prefix = findVpp(environment);
  if (!prefix) {
    const places = environment["VPP_PREFIX"] || VPP_PREFIXES.join(", ");
    return `no VPP with headers in ${places} (VPP_PREFIX names where one is installed)`;
  }
  // The sources and the bundle lie at different depths below package.json.
  for (let at = dirname(fileURLToPath(import.meta.url)); dirname(at) !== at; at = dirname(at)) {
    if (!existsSync(join(at, "package.json"))) continue;
    const plugin = join(at, "build/vpp/lib/vpp_plugins/margay_plugin.so");
    return existsSync(plugin) ? { prefix, plugin } : "the plugin is not built: npm run build:vpp";
  }
  return "the plugin is not built: npm run build:vpp";
}
