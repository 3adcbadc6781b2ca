// Findings as people read them, and as programs do.
//
//   k8s/db.yaml:14:9   error    NetworkPolicy shop/db  spec.ingress[0].from[0].podSelecter
//                      unknown field; did you mean podSelector? …
//   k8s/web.yaml:31:5  warning  NetworkPolicy shop/web  egress[2]  never reached: …
//   1 error, 2 warnings in 9 files (41 objects)
import pc from "picocolors";
import type { Finding } from "../model/snapshot.ts";
import type { CheckResult } from "./check.ts";

const SEVERITY_WIDTH = 9;
/** Places of documents without a kind that are named, before the rest is counted. */
const NAMED_MAX = 3;

export function printDefault({ findings, files, objects, documents }: CheckResult): string[] {
  const places = findings.map(({ file, line, column }) => {
    return file === "" ? "" : `${file}:${line}:${column}`;
  });
  const width = Math.max(0, ...places.map((place) => place.length)) + 2;
  const lines = findings.flatMap((finding, i) => {
    const error = finding.severity === "error";
    const severity = finding.severity.padEnd(SEVERITY_WIDTH);
    const place = pc.bold(places[i]!.padEnd(width));
    const field = error ? finding.field : finding.field.replace(/^spec\./, "");
    const head = [finding.object, field].filter((text) => text !== "");
    const colour = error ? pc.red : pc.yellow;
    if (!error || head.length === 0) {
      return [`${place}${colour(severity)}${[...head, finding.message].join("  ")}`];
    }
    return [
      `${place}${colour(severity)}${head.join("  ")}`, `${" ".repeat(width)}${finding.message}`,
    ];
  });
  const { kindless } = documents;
  if (kindless.length > 0) {
    const rest = kindless.length - NAMED_MAX;
    lines.push(pc.dim(`no Kubernetes objects, for they have no kind: ` +
      `${kindless.slice(0, NAMED_MAX).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`));
  }
  const where = `${count(files, "file")} (${count(objects, "object")})`;
  return [...lines, `${summary(findings)} in ${where}`];
}

function summary(findings: readonly Finding[]): string {
  const of = (severity: string): number => {
    return findings.filter((each) => each.severity === severity).length;
  };
  const parts = [count(of("error"), "error"), count(of("warning"), "warning")]
    .filter((text) => !text.startsWith("0 "));
  return parts.length === 0 ? "no errors, no warnings" : parts.join(", ");
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** Workflow commands of GitHub Actions: annotations at the lines. */
export function printGithub({ findings }: CheckResult): string[] {
  return findings.map(({ severity, file, line, column, object, field, message }) => {
    const text = field === "" ? message : `${field}: ${message}`;
    const place = [
      ...file === "" ? [] : [`file=${property(file)}`, `line=${line}`, `col=${column}`],
      `title=${property(object === "" ? "margay check" : object)}`,
    ];
    return `::${severity} ${place.join(",")}::${data(text)}`;
  });
}

function data(text: string): string {
  return text.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");
}

function property(text: string): string {
  return data(text).replace(/:/g, "%3A").replace(/,/g, "%2C");
}

export function printJson({ findings, files, objects, documents }: CheckResult): string[] {
  return [JSON.stringify({ findings, files, objects, ignored: documents.kindless }, null, 2)];
}
