// The package as people get it: one tarball, installed in an empty folder, runs `margay check`,
// `margay test` and a vitest file that imports margay/testing.
//
//   sources + the built core ─ scripts/build.mjs --host, npm pack ─► margay-x.tgz ─ npm install ─►
//   an empty folder with test/fixtures/session in it
//
// npm installs what the package depends on from its cache, without the network; where that lacks
// something, the workspace's own packages are linked in, those alone that the package names.
import { execFileSync, spawnSync } from "node:child_process";
import {
  copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const INSTALL_MS = 90_000;
const SESSION = "test/fixtures/session";
const folder = mkdtempSync(join(tmpdir(), "margay-pack-"));
const app = join(folder, "app");
let packed: string[];
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeAll(() => {
  const stage = join(folder, "stage");
  const { files } = JSON.parse(readFileSync("package.json", "utf8")) as { files: string[] };
  const sources = execFileSync("git", ["ls-files", "-co", "--exclude-standard"],
    { encoding: "utf8" }).split("\n").filter((path) => path !== "" && existsSync(path) &&
    (/^(package\.json|README\.md|LICENSE|asconfig\.json|host\/)/.test(path) ||
      files.some((file) => path === file || path.startsWith(`${file}/`))));
  for (const path of [...sources, "build/margay.wasm"]) {
    mkdirSync(join(stage, dirname(path)), { recursive: true });
    copyFileSync(path, join(stage, path));
  }
  symlinkSync(resolve("node_modules"), join(stage, "node_modules"));
  execFileSync("node", ["scripts/build.mjs", "--host"], { cwd: stage });
  mkdirSync(app);
  const [{ filename, files: inside }] = JSON.parse(execFileSync("npm", ["pack", "--ignore-scripts",
    "--json", "--pack-destination", app], { cwd: stage, encoding: "utf8", stdio: "pipe" })) as
    [{ filename: string; files: { path: string }[] }];
  packed = inside.map(({ path }) => path);
  writeFileSync(join(app, "package.json"), '{ "private": true, "type": "module" }\n');
  install(filename);
  for (const name of ["vitest", "typescript"]) {
    symlinkSync(resolve("node_modules", name), join(app, "node_modules", name));
  }
}, 2 * INSTALL_MS);

function install(tarball: string): void {
  const { status } = spawnSync("npm", ["install", "--offline", "--ignore-scripts", "--no-audit",
    "--no-fund", "--omit=peer", `./${tarball}`], { cwd: app, timeout: INSTALL_MS });
  if (status === 0) return;
  console.log("npm's cache lacks something: the workspace's packages are linked in");
  const modules = join(app, "node_modules"), own = join(modules, "margay");
  rmSync(modules, { recursive: true, force: true });
  mkdirSync(own, { recursive: true });
  execFileSync("tar", ["-xzf", join(app, tarball), "-C", own, "--strip-components=1"]);
  const { dependencies, bin } = JSON.parse(readFileSync(join(own, "package.json"), "utf8")) as
    { dependencies: Record<string, string>; bin: { margay: string } };
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(resolve("node_modules", name), join(modules, name));
  }
  mkdirSync(join(modules, ".bin"));
  symlinkSync(join(own, bin.margay), join(modules, ".bin/margay"));
}

/** In the empty folder, with `k8s/` from the session and what is laid over it. */
function run(
  over: string | undefined, ...args: string[]
): { status: number | null; text: string; error: string } {
  const k8s = join(app, "k8s");
  rmSync(k8s, { recursive: true, force: true });
  cpSync(join(SESSION, "k8s"), k8s, { recursive: true });
  if (over !== undefined) cpSync(join(SESSION, over), k8s, { recursive: true });
  const [command, ...rest] = args as [string, ...string[]];
  const { status, stdout, stderr } = spawnSync(command, rest, {
    cwd: app, encoding: "utf8", timeout: INSTALL_MS, env: { ...process.env, NO_COLOR: "1" },
  });
  return { status, text: stdout, error: stderr };
}

describe("packed: one tarball in an empty folder", () => {
  test("holds what runs, and no tests", () => {
    for (const path of ["dist/margay.js", "dist/testing.js", "dist/testing.d.ts",
      "build/margay.wasm", "docs/policytest.schema.json", "package.json", "LICENSE"]) {
      expect(packed).toContain(path);
    }
    expect(packed.filter((path) => /^(test|host|bench|node_modules)\//.test(path))).toEqual([]);
  });

  test("npx margay check k8s/", () => {
    const { status, text } = run("check", "npx", "--no-install", "margay", "check", "k8s/");
    const lines = text.split("\n");
    expect(lines[0]).toBe("k8s/db.yaml:14:9   error    NetworkPolicy shop/db  " +
      "spec.ingress[0].from[0].podSelecter");
    expect(lines[1]).toBe(`${" ".repeat(19)}unknown field; did you mean podSelector? ` +
      "The API server would drop it: an empty peer is refused");
    expect(text).toContain("k8s/web.yaml:31:5  warning  NetworkPolicy shop/web  egress[2]  " +
      "never reached: egress[0] matches all that it matches");
    expect(text).toContain("k8s/deny.yaml:1:1  warning  GlobalNetworkPolicy deny-egress  " +
      "no pod in shop may ask DNS (kube-system/svc/kube-dns:53/udp)");
    expect(text).toMatch(/\n1 error, 2 warnings in 9 files \(\d+ objects\)\n$/);
    expect(status).toBe(1);
  });

  test("npx margay test k8s/", () => {
    const good = run(undefined, "npx", "--no-install", "margay", "test", "k8s/");
    expect(good.text).toMatch(/^ ✓ k8s\/db.test.yaml {4}3 tests, 11 flows {2}\d+ ms\n ✓ k8s\/shop/);
    expect(good.status).toBe(0);
    const bad = run("bad", "npx", "--no-install", "margay", "test", "k8s/");
    expect(bad.text).toContain("   db.test.yaml:9  only the API reaches the database\n" +
      "     shop/web (1 of 2 pods) -> shop/db:5432/tcp     expected deny, got ALLOW\n");
    expect(bad.text).toMatch(/ k8s\/db\.yaml:14 {2}NetworkPolicy shop\/db {2}ingress\[0\]/);
    expect(bad.text).toContain(" 12 tests, 10 passed, 2 failed · 551 flows · ");
    expect(bad.text).toMatch(/ · \d+\.\d s · core [0-9a-f]{7} \(the bytes that VPP runs\)\n/);
    expect(bad.status).toBe(1);
  });

  test("kustomize build | npx margay test - k8s/: manifests from stdin", () => {
    const pipe = "for f in k8s/*.yaml; do case $f in *.test.yaml) ;; " +
      "*) cat $f; echo; echo ---;; esac; done | npx --no-install margay test - k8s/db.test.yaml";
    const good = run(undefined, "sh", "-c", pipe);
    expect(good.text).toMatch(/^ ✓ k8s\/db.test.yaml {2}3 tests, 11 flows/);
    expect(good.status).toBe(0);
    const bad = run("bad", "sh", "-c", pipe);
    expect(bad.text).toMatch(/allow {2}stdin:\d+ {2}NetworkPolicy shop\/db {2}ingress\[0\]/);
    expect(bad.status).toBe(1);
  });

  test("the line to paste says the same", () => {
    const { text } = run("bad", "npx", "--no-install", "margay", "test", "k8s/db.test.yaml");
    const pasted = /margay verdict .*/.exec(text)![0];
    const { text: said, status } = run("bad", "sh", "-c", `npx --no-install ${pasted}`);
    expect(status).toBe(0);
    expect(said).toMatch(/k8s\/db\.yaml:14 {2}NetworkPolicy shop\/db {2}ingress\[0\]\.from\[1\]/);
  });

  test("margay/testing in vitest, with its types", () => {
    writeFileSync(join(app, "shop.test.ts"), EXAMPLE);
    cpSync(join(SESSION, "lockdown.yaml"), join(app, "lockdown.yaml"));
    const { status, text } = run(undefined, "node", "node_modules/vitest/vitest.mjs", "run");
    expect(text).toMatch(/Tests {2}2 passed/);
    expect(status).toBe(0);
    const types = run(undefined, "node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict",
      "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022",
      "--skipLibCheck", "--types", "", "shop.test.ts");
    expect([types.status, types.text]).toEqual([0, ""]);
  });

  test("editors and programs find the schema through the package", () => {
    const { text } = run(undefined, "node", "-e",
      "console.log(require.resolve('margay/policytest.schema.json'))");
    expect(text.trim()).toMatch(/margay\/docs\/policytest\.schema\.json$/);
  });
});

const EXAMPLE = `
import { expect, test } from 'vitest'
import { cluster } from 'margay/testing'                 // adds the matchers too
const shop = await cluster('k8s/', { endpoints: { stranger: { namespace: 'other', labels: ` +
  `{ app: 'curl' } } } })
test('only the API reaches the database', () => {
  expect(shop.flow('shop/api -> shop/db:5432')).toBeAllowed()
  expect(shop.flow('stranger -> shop/db:5432')).toBeDenied({ at: 'ingress', by: ` +
  `'NetworkPolicy shop/default-deny' })
  expect(shop.to('shop/db')).toBeReachableOnlyBy(['shop/api -> 5432/tcp', 'ops/* -> 22/tcp'])
})
test('a lock-down locks the API out', async () => {
  const s = await shop.fork()
  await s.apply('lockdown.yaml')
  expect(s.flow('shop/api -> shop/db:5432')).toBeDenied()
})
`;
