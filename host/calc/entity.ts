// One side of a rule: who the source or the destination may be, and what all its ways of saying so
// come to as one selector.
//
//   namespaceSelector ─ labels "pcns.…", all() = has(projectcalico.org/namespace), global() = !has
//     (none, in a namespaced policy: its own namespace, once anything else selects)
//   serviceAccounts   ─ projectcalico.org/serviceaccount in {names}, labels "pcsa.…"
//   selector          ─ as it stands            } joined by &&
//
// Source: projectcalico libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go.
import {
  NAMESPACE_LABEL, NAMESPACE_PREFIX, SERVICE_ACCOUNT_LABEL, SERVICE_ACCOUNT_PREFIX,
} from "./label.ts";
import type { PortMatch } from "./port.ts";
import { Selector } from "./selector/selector.ts";

export interface Entity {
  /** Selector texts; "" where absent. */
  selector: string;
  notSelector: string;
  namespaceSelector: string;
  serviceAccounts?: { names: string[]; selector: string };
  service?: { namespace: string; name: string };
  /** Selects nodes, whose addresses match. */
  nodes?: Selector;
  /** Prefixes in their one spelling (net.ts). */
  nets: string[];
  notNets: string[];
  ports: PortMatch[];
  notPorts: PortMatch[];
}

export function anyEntity(): Entity {
  return {
    selector: "", notSelector: "", namespaceSelector: "",
    nets: [], notNets: [], ports: [], notPorts: [],
  };
}

/** Selector text → what it selects, with another prefix on its labels. */
export function prefixedText(text: string, prefix: string): string {
  return Selector.parse(text).prefixed(prefix).canonical;
}

/** The one selector of a side; "" = anyone. `namespace`: the policy's, "" of a cluster's. */
export function entitySelector(entity: Entity, namespace: string): string {
  const own = [accountSelector(entity), entity.selector].filter((text) => text !== "");
  const selector = own.length < 2 ? (own[0] ?? "") : `(${own.join(") && (")})`;
  const within = namespaceText(entity, namespace);
  const selects =
    selector !== "" || entity.notSelector !== "" || entity.namespaceSelector !== "";
  if (within === "" || !selects) return selector;
  return selector === "" ? within : `(${within}) && (${selector})`;
}

/**
 * A positive selector takes the negative one in: it names known endpoints alone. Without it the
 * negative one stays by itself, for it holds for addresses of no endpoint too.
 */
export function combined(selector: string, notSelector: string): { is: string; not: string } {
  if (selector === "" || notSelector === "") return { is: selector, not: notSelector };
  return { is: `(${selector}) && (!(${notSelector}))`, not: "" };
}

function namespaceText({ namespaceSelector }: Entity, namespace: string): string {
  if (namespaceSelector === "") {
    return namespace === "" ? "" : `${NAMESPACE_LABEL} == '${namespace}'`;
  }
  return prefixedText(namespaceSelector, NAMESPACE_PREFIX)
    .replaceAll("all()", `has(${NAMESPACE_LABEL})`)
    .replaceAll("global()", `!has(${NAMESPACE_LABEL})`);
}

function accountSelector({ serviceAccounts }: Entity): string {
  if (!serviceAccounts) return "";
  const { names, selector } = serviceAccounts;
  const bySelector = selector === "" ? "" : prefixedText(selector, SERVICE_ACCOUNT_PREFIX);
  if (names.length === 0) return bySelector;
  const list = `${SERVICE_ACCOUNT_LABEL} in { '${names.join("', '")}' }`;
  const byName = Selector.parse(list).canonical;
  return bySelector === "" ? byName : `(${bySelector}) && (${byName})`;
}
