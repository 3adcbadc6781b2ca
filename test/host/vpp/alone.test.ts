// host/vpp/api stands on its own: it imports Node and itself, and its types hold without the rest.

import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { Schema, declarationsOf } from "../../../host/vpp/api/index.ts";
import { findVpp } from "../../../host/vpp/install.ts";
import { garden } from "./garden.ts";

const HOME = "host/vpp/api";
const TYPES = resolve("node_modules/@types");
const TSC = resolve("node_modules/typescript/bin/tsc");

function inCopy<T>(run: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "margay-alone-"));
  try {
    cpSync(HOME, join(directory, "api"), { recursive: true });
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({
      compilerOptions: {
        target: "es2022", module: "esnext", moduleResolution: "bundler", strict: true,
        noEmit: true, allowImportingTsExtensions: true, noUncheckedIndexedAccess: true,
        noPropertyAccessFromIndexSignature: true, types: ["node"], typeRoots: [TYPES],
      },
      include: ["."],
    }));
    return run(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What tsc says of a program, a line an error: "program.ts(line". */
function errorsOf(directory: string, declarations: string, program: string): string[] {
  writeFileSync(join(directory, "vpp.d.ts"), declarations);
  writeFileSync(join(directory, "program.ts"), program);
  const { stdout } = spawnSync(process.execPath, [TSC, "-p", directory], {
    cwd: directory, encoding: "utf8",
  });
  return stdout.split("\n").filter((line) => line.includes("error"));
}

const HEAD = `import { VppClient } from "./api/index.ts";
import type { VppApi } from "./vpp.d.ts";
export const vpp = await VppClient.connect<VppApi>();
`;

test("vpp-api-alone: the folder imports Node and itself alone", () => {
  for (const name of readdirSync(HOME)) {
    const text = readFileSync(join(HOME, name), "utf8");
    for (const [, from] of text.matchAll(/(?:from|import\()\s*"([^"]+)"/g)) {
      expect(from, `${name}: ${from}`).toMatch(/^(node:[a-z/]+|\.\/[a-z]+\.ts)$/);
    }
  }
  inCopy((directory) => {
    execFileSync(process.execPath, [TSC, "-p", directory], { cwd: directory });
  });
});

test("vpp-api-types: declarations let tsc take what is right and refuse what is wrong", () => {
  const right = `
await vpp.call("plant_set", {
  petals: 1, frost: 0, leaves: 0, depth: 0, seeds: 0, balance: 0, cells: 5, age: 5n,
  blooms: true, height: 0.5, colour: "COLOUR_RED", needs: ["NEEDS_SUN", 64],
  tag: "02:00:00:00:00:01",
  home: "10.0.0.1", bed: "fd00::/8", label: "rose", seal: [1, 2, 3, 4], rows: [1, 2, 3],
  soil: { data: { sand: 1 } }, notes: new Uint8Array(3), roots: [{ water: "10.0.0.3" }], story: "",
});
for await (const plant of vpp.dump("plant_dump")) {
  const cells: bigint = plant.cells;
  const needs: (string | number)[] = plant.needs;
  const water: string | undefined = plant.roots[0]?.water;
  console.log(cells, needs, water, plant.soil.data.peat?.length.toFixed());
}
const { details, reply } = await vpp.get("bee_get", { cursor: 0 });
console.log(details[0]?.bee.toFixed(), reply.cursor.toFixed());
for await (const event of vpp.events("want_bee_events")) {
  const name: "bee_event" = event._name;
  console.log(name, event.bee.toFixed());
}
console.log((await vpp.call("control_ping")).vpe_pid.toFixed());
`;
  const wrong = [
    "await vpp.call(\"plant_sett\", {});",
    "await vpp.call(\"plant_set\");",
    "await vpp.call(\"plant_set\", { petals: 1 });",
    "await vpp.call(\"plant_dump\");",
    "vpp.dump(\"plant_dump\", { from: \"1\" });",
    "vpp.dump(\"plant_dump\", { form: 1 });",
    "await vpp.get(\"bee_get\", {});",
    "(await vpp.call(\"control_ping\")).pid;",
    "for await (const { colour } of vpp.dump(\"plant_dump\")) colour === \"COLOUR_GREEN\";",
    "vpp.events(\"want_wasp_events\");",
  ];
  inCopy((directory) => {
    const declarations = declarationsOf(garden());
    expect(errorsOf(directory, declarations, HEAD + right)).toEqual([]);
    const errors = errorsOf(directory, declarations, `${HEAD}${wrong.join("\n")}\n`);
    const lines = new Set(errors.map((line) => Number(/program\.ts\((\d+)/.exec(line)?.[1])));
    const first = HEAD.split("\n").length;
    expect([...lines].sort((a, b) => a - b)).toEqual(wrong.map((_, i) => first + i));
  });
});

const prefix = findVpp();
test.skipIf(!prefix)("vpp-api-types-live: an installed VPP's declarations hold too", () => {
  const schema = Schema.readDirectories([join(prefix!, "share/vpp/api")]);
  inCopy((directory) => {
    const errors = errorsOf(directory, declarationsOf(schema), `${HEAD}
const flags = ["IF_STATUS_API_FLAG_ADMIN_UP"] as const;
await vpp.call("sw_interface_set_flags", { sw_if_index: 1, flags });
await vpp.call("ip_route_add_del", {
  is_multipath: false,
  route: { prefix: "10.0.0.0/8", paths: [{ nh: { address: { ip4: "10.0.0.1" } } }] },
});
await vpp.call("sw_interface_set_flags", { sw_if_index: 1, flags: ["ADMIN_UP"] });
`);
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/program\.ts\(11,.*ADMIN_UP/);
  });
});
