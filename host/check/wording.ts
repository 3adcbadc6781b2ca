// Selectors as people say them: "podSelector app=dbb", "namespaceSelector team in (a, b)".

interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}

const SELECTORS = [
  "podSelector", "namespaceSelector", "selector", "notSelector", "namespaces", "pods", "nodes",
];

/** Of a LabelSelector its labels, of a peer its selectors, of a text the text. */
export function selectorText(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null) return "";
  const object = value as Record<string, unknown>;
  if (object["matchLabels"] !== undefined || object["matchExpressions"] !== undefined) {
    return labelsText(object);
  }
  return SELECTORS.flatMap((name) => {
    const text = selectorText(object[name]);
    if (text === "") return [];
    return ["pods", "namespaces", "nodes"].includes(name) ? text : `${name} ${text}`;
  }).join(", ");
}

/** A Kubernetes peer's two selectors as text; undefined where it has none. */
export function peerText(peer: unknown): { pods?: string; namespaces?: string } {
  if (typeof peer !== "object" || peer === null) return {};
  const object = peer as Record<string, unknown>;
  const within = object["pods"];
  if (typeof within === "object" && within !== null) return peerText(within);
  const { podSelector: pods, namespaceSelector, namespaces = namespaceSelector } = object;
  return {
    ...isLabels(pods) && { pods: selectorText(pods) },
    ...isLabels(namespaces) && { namespaces: selectorText(namespaces) },
  };
}

function isLabels(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function labelsText({ matchLabels, matchExpressions }: LabelSelector): string {
  const labels = Object.entries(matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (matchExpressions ?? []).map(({ key, operator, values }) => {
    const list = `(${(values ?? []).join(", ")})`;
    return {
      In: `${key} in ${list}`, NotIn: `${key} notin ${list}`, Exists: key, DoesNotExist: `!${key}`,
    }[operator] ?? key;
  });
  return [...labels, ...expressions].join(",");
}

/** Names of namespaces that a peer asks for by one of these labels. */
export function namespaceNames(peer: unknown, labels: readonly string[]): string[] {
  if (typeof peer !== "object" || peer === null) return [];
  const { namespaceSelector, namespaces, pods, services } = peer as Record<string, unknown>;
  const service = (services as { namespace?: string } | undefined)?.namespace;
  const inner = (pods as { namespaceSelector?: unknown } | undefined)?.namespaceSelector;
  return [
    ...service === undefined ? [] : [service],
    ...[namespaceSelector, namespaces, inner].flatMap((each) => namesIn(each, labels)),
  ];
}

function namesIn(selector: unknown, labels: readonly string[]): string[] {
  if (typeof selector === "string") {
    return labels.flatMap((label) => {
      const escaped = label.replace(/[.]/g, "\\.");
      const pattern = new RegExp(`${escaped}\\s*(?:==|in)\\s*[{\\s]*(['"])(.*?)\\1`, "g");
      return [...selector.matchAll(pattern)].map(([, , name]) => name!);
    });
  }
  if (typeof selector !== "object" || selector === null) return [];
  const { matchLabels, matchExpressions } = selector as LabelSelector;
  return labels.flatMap((label) => {
    const said = matchLabels?.[label];
    const listed = (matchExpressions ?? [])
      .filter(({ key, operator }) => key === label && operator === "In")
      .flatMap(({ values }) => values ?? []);
    return [...said === undefined ? [] : [said], ...listed];
  });
}
