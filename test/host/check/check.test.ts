// `margay check` over real files: what it prints, how it exits, what it warns of.
import { describe, expect, test } from "vitest";
import { check } from "../../../host/check/check.ts";
import { runCheck } from "../../../host/check/run.ts";
import type { CheckOptions } from "../../../host/check/command.ts";
import { folderOf, line, object, policy } from "../input/files.ts";

const WEB = (more = ""): string => object("apps/v1", "Deployment", "namespace: shop", `
replicas: 2
template:
  metadata: {labels: {app: web, tier: front}}
  spec: {containers: [{ports: [{containerPort: 8080, name: http}${more}]}]}`, "---")
  .replace("name: x", "name: web");

/** Warnings and errors of files, without the place's column. */
async function found(files: Record<string, string>): Promise<string[]> {
  const folder = folderOf(files);
  const { findings } = await check([folder]);
  return findings.map((each) => `${each.severity} ${line(each, folder)}`);
}

async function run(
  files: Record<string, string>, options: Partial<CheckOptions> = {}, stdin?: string,
): Promise<{ status: number; text: string }> {
  const folder = folderOf(files);
  const { status, lines, complaint } = await runCheck(
    stdin === undefined ? [folder] : ["-"], { format: "default", strict: false, ...options }, stdin,
  );
  const text = [...lines, ...complaint === undefined ? [] : [complaint]].join("\n");
  return { status, text: text.replaceAll(`${folder}/`, "").replaceAll(folder, "FOLDER") };
}

/** The same, with as many blanks as the folder's name took. */
function squeezed(text: string): string {
  return text.replace(/ {3,}/g, "  ");
}

describe("check-output:", () => {
  test("errors take two lines, warnings one, and then comes the sum", async () => {
    const { status, text } = await run({
      "k8s/db.yaml": policy("podSelector: {}\ningress:\n  - from:\n      - podSelecter: {}\n")
        .replace("name: x", "name: db"),
      "k8s/web.yaml": policy("podSelector: {}\npolicyTypes: [Egress]\negress:\n" +
        "- {}\n- ports: [{port: 5}]\n", `${WEB()}---`),
    });
    expect(status).toBe(1);
    expect(squeezed(text)).toBe([
      "k8s/db.yaml:10:11  error  NetworkPolicy shop/db  spec.ingress[0].from[0].podSelecter",
      "  unknown field; did you mean podSelector? The API server would drop it: an empty peer is " +
      "refused",
      "k8s/web.yaml:23:5  warning  NetworkPolicy shop/x  egress[1]  never reached: egress[0] " +
      "matches all that it matches",
      "1 error, 1 warning in 2 files (3 objects)",
    ].join("\n"));
  });

  test("columns stand under each other", async () => {
    const { text } = await run({
      "a.yaml": policy("podSelecter: {}"),
      "much/longer/name.yaml": policy("ingres: []", "\n\n\n\n\n"),
    });
    const of = (part: string): number[] => text.split("\n").flatMap((each) => {
      return each.includes(part) ? [each.indexOf(part)] : [];
    });
    // Both places were cut by the same folder's name.
    expect(new Set(of("error    NetworkPolicy")).size).toBe(1);
    expect(new Set(of("unknown field")).size).toBe(1);
  });

  test("exit: 0 with warnings alone, 1 with --strict, 2 where nothing was checked", async () => {
    const files = { "a.yaml": policy("podSelector: {}\ningress:\n- {}\n- {}\n", `${WEB()}---`) };
    expect((await run(files)).status).toBe(0);
    expect((await run(files, { strict: true })).status).toBe(1);
    expect(await run({ "a.yaml": WEB() }, { strict: true })).toEqual({
      status: 0, text: "no errors, no warnings in 1 file (1 object)",
    });
    expect(await run({ "values.yaml": "a: 1\n", "x.tpl": "" })).toEqual({
      status: 2, text: "no manifests in FOLDER (1 YAML file; 1 *.tpl: render Helm first: " +
        "helm template . | margay check -)",
    });
    const nowhere = await runCheck(["/nonexistent"], { format: "default", strict: false });
    expect(nowhere).toEqual({
      status: 2, lines: [], complaint: "/nonexistent: no such file or folder",
    });
  });

  test("what has no kind is named", async () => {
    const { text } = await run({
      "a.yaml": WEB(), "b.yaml": "a: 1", "c.yaml": "a: 1", "d.yaml": "a: 1", "e.yaml": "a: 1",
    });
    expect(text).toBe("no Kubernetes objects, for they have no kind: b.yaml:1, c.yaml:1, " +
      "d.yaml:1 and 1 more\nno errors, no warnings in 5 files (1 object)");
  });

  test("json bears the findings, github annotations", async () => {
    const files = { "a.yaml": policy("ingress: [{from: [{podSelecter: {}}]}]") };
    const json = JSON.parse((await run(files, { format: "json" })).text) as object;
    expect(json).toMatchObject({
      files: 1, objects: 1, ignored: [],
      findings: [{
        severity: "error", file: "a.yaml", line: 7, column: 22, object: "NetworkPolicy shop/x",
        field: "spec.ingress[0].from[0].podSelecter",
      }],
    });
    const { text } = await run(files, { format: "github" });
    expect(text).toBe("::error file=a.yaml,line=7,col=22," +
      "title=NetworkPolicy shop/x::spec.ingress[0].from[0].podSelecter: unknown field; did you " +
      "mean podSelector? The API server would drop it: an empty peer is refused");
  });

  test("github's special signs are escaped", async () => {
    const { text } = await run({ "a,b:c.yaml": policy("'100%': 1") }, { format: "github" });
    expect(text).toContain("file=a%2Cb%3Ac.yaml,");
    expect(text).toContain('spec["100%25"]: unknown field');
  });

  test("stdin is checked", async () => {
    const { status, text } = await run({}, {}, policy("ingres: []"));
    expect([status, text.split("\n")[0]]).toEqual([
      1, "stdin:7:3  error    NetworkPolicy shop/x  spec.ingres",
    ]);
  });
});

describe("check-warnings:", () => {
  const inShop = (spec: string): Promise<string[]> => {
    return found({ "a.yaml": policy(spec), "b.yaml": WEB() });
  };
  const WARNING = "warning a.yaml:";
  const X = "NetworkPolicy shop/x spec";

  test("rules that are never reached: narrower selectors, ports and prefixes", async () => {
    expect(await inShop(`
podSelector: {}
ingress:
- from: [{podSelector: {}}]
- {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 80}]}
- from: [{ipBlock: {cidr: 192.168.0.0/16}}]
- from: [{ipBlock: {cidr: 192.168.1.0/24}}, {podSelector: {matchLabels: {tier: front}}}]
- from: [{ipBlock: {cidr: 192.168.1.0/24}}, {ipBlock: {cidr: 172.16.0.0/12}}]`)).toEqual([
      `${WARNING}10:5 ${X}.ingress[1]: never reached: ingress[0] matches all that it matches`,
      `${WARNING}12:5 ${X}.ingress[3]: never reached: ingress[2] and ingress[0] match all that ` +
      "it matches",
    ]);
  });

  test("Calico's rules too, whatever they do; a log rule covers nothing", async () => {
    expect(await found({
      "b.yaml": WEB(), "a.yaml": object("projectcalico.org/v3", "GlobalNetworkPolicy", "", `
selector: app == 'web'
ingress:
- {action: Log}
- {action: Deny, protocol: TCP, destination: {ports: ["1:1024"]}}
- {action: Allow, protocol: TCP, destination: {ports: [80, 443]}}
- {action: Allow, protocol: TCP, destination: {ports: [80, 8080]}}`),
    })).toEqual([
      "warning a.yaml:10:5 GlobalNetworkPolicy x spec.ingress[2]: never reached: ingress[1] " +
      "matches all that it matches",
    ]);
  });

  test("selectors that pick nothing: of the policy, of peers", async () => {
    expect(await inShop("podSelector: {matchLabels: {app: wbe}}")).toEqual([
      `${WARNING}7:3 ${X}.podSelector: selects no pod in shop: none has app=wbe`,
    ]);
    expect(await inShop(`
ingress:
- from:
  - podSelector:
      {matchLabels: {app: dbb}, matchExpressions: [{key: t, operator: In, values: [a, b]}]}
  - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shpo}}
  - {namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: web}}}
  - {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}
  - {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}`)).toEqual([
      `${WARNING}9:7 ${X}.ingress[0].from[0]: picks no pod: none in shop has app=dbb,t in (a, b)`,
      `${WARNING}11:7 ${X}.ingress[0].from[1]: picks nothing: there is no namespace shpo; did ` +
      "you mean shop?",
      `${WARNING}12:7 ${X}.ingress[0].from[2]: picks no pod: none has app=web in namespaces with ` +
      "team=ops",
    ]);
  });

  test("without any pods nothing is said of whom selectors pick", async () => {
    expect(await found({ "a.yaml": policy("podSelector: {matchLabels: {app: wbe}}") })).toEqual([]);
  });

  test("Calico's selectors and Services that pick nothing", async () => {
    expect(await found({
      "b.yaml": WEB(), "a.yaml": object("projectcalico.org/v3", "GlobalNetworkPolicy", "", `
selector: app == 'wbe'
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: np, namespace: shop}
spec:
  selector: app == 'web'
  ingress:
  - {action: Allow, source: {selector: app == 'dbb'}}
  - {action: Allow, source: {services: {name: s, namespace: shop}}}
  egress:
  - {action: Allow, destination: {services: {name: s, namespace: shop}}}
  - {action: Allow, protocol: UDP, destination: {ports: [53]}}`.replace(/^---/m, "---"))
        .replace(/^ {2}(---|apiVersion|kind|metadata|spec|  )/gm, "$1"),
    })).toEqual([
      "warning a.yaml:6:3 GlobalNetworkPolicy x spec.selector: selects no pod: none has app == " +
      "'wbe'",
      "warning a.yaml:14:21 NetworkPolicy shop/np spec.ingress[0].source: picks nothing in shop: " +
      "selector app == 'dbb'",
      "warning a.yaml:15:21 NetworkPolicy shop/np spec.ingress[1].source: picks nothing: there " +
      "is no Service shop/s",
      "warning a.yaml:17:21 NetworkPolicy shop/np spec.egress[0].destination: picks nothing: " +
      "there is no Service shop/s",
    ]);
  });

  test("tiers that are not there", async () => {
    expect(await found({
      "b.yaml": WEB(), "a.yaml": object("projectcalico.org/v3", "GlobalNetworkPolicy", "",
        "tier: platfrom"),
      "c.yaml": object("projectcalico.org/v3", "Tier", "", "order: 1").replace("x", "platform"),
    })).toEqual([expect.stringMatching(
      /^warning a\.yaml:6:3 .*tier "platfrom" does not exist; it would never run\. Tiers: .*form/,
    )]);
  });

  test("named ports that nobody serves", async () => {
    expect(await inShop(`
ingress:
- ports: [{port: http}, {port: web}, {port: http, protocol: UDP}]
egress:
- {to: [{podSelector: {}}], ports: [{port: sql}]}
- to: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}]`)).toEqual([
      `${WARNING}8:27 ${X}.ingress[0].ports[1]: no pod that it selects has a tcp port named web; ` +
      "there are http (8080/tcp)",
      expect.stringMatching(/ports\[2\]: no pod that it selects has a udp port named http; /),
      `${WARNING}10:39 ${X}.egress[0].ports[0]: nothing that it may send to has a tcp port ` +
      "named sql",
    ]);
  });

  test("prefixes with host bits mean their network", async () => {
    const block = "{cidr: 10.0.0.1/8, except: [10.1.2.3/16]}";
    expect(await inShop(`ingress: [{from: [{ipBlock: ${block}}]}]`))
      .toEqual([
        `${WARNING}7:38 ${X}.ingress[0].from[0].ipBlock.cidr: 10.0.0.1/8 has host bits set; ` +
        "10.0.0.0/8 is meant",
        expect.stringMatching(/except\[0\]: 10\.1\.2\.3\/16 .* set; 10\.1\.0\.0\/16 is meant/),
      ]);
  });

  test("HTTP matches and domain names are not enforced here", async () => {
    const lines = await found({
      "b.yaml": WEB(), "a.yaml": object("projectcalico.org/v3", "GlobalNetworkPolicy", "",
        "ingress: [{action: Allow, http: {methods: [GET]}}]"),
      "c.yaml": object("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", "",
        "tier: Admin\npriority: 1\nsubject: {namespaces: {}}\negress:\n" +
        "- {action: Accept, to: [{domainNames: [a.b]}]}"),
    });
    expect(lines).toEqual([
      expect.stringMatching(/^warning a\.yaml:6:29 .*ingress\[0\]\.http: HTTP is not looked at/),
      expect.stringMatching(/^warning c\.yaml:10:\d+ .*domainNames: names are not resolved/),
    ]);
  });

  test("a selector's fault stands in its text", async () => {
    expect(await found({
      "k8s/gnp.yaml": object("projectcalico.org/v3", "GlobalNetworkPolicy", "",
        "order: 1\nselector: app = 'x'"),
    })).toEqual([
      "error k8s/gnp.yaml:7:13 GlobalNetworkPolicy x spec.selector: selector: expected == or in " +
      "after 'app' (column 5): app = 'x'; Calico wants ==",
    ]);
  });

  test("a module that isn't there, or that the core refuses, is an error", async () => {
    expect(await found({
      "a.yaml": object("margay.io/v1", "ModulePolicy", "", "module: window.wasm"),
      "b.yaml": object("margay.io/v1", "ModulePolicy", "", "module: own.wasm").replace("x", "h"),
      "own.wasm": "no Wasm",
    })).toEqual([
      expect.stringMatching(/^error a\.yaml:6:3 .* x spec\.module: .*window\.wasm: ENOENT/),
      expect.stringMatching(/^error b\.yaml.* h spec\.module: .*refused by the core's door/),
    ]);
  });
});
