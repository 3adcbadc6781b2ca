// What of a node's configuration bears on its frontends, from Felix' parameters and kube-proxy's,
// which stand beside them as KubeProxy… (FelixConfiguration's annotations
// config.projectcalico.org/KubeProxyNodePortAddresses and so on).
//
//   KubeProxyNodePortAddresses    "primary", or prefixes: the node's addresses that have NodePorts
//   KubeProxyLocalhostNodePorts   true: on 127.0.0.1 too, where those prefixes hold it
//   BPFExternalServiceMode        DSR: for all Services that do not say otherwise
//   BPFMaglevMaxEndpointsPerService  100: Calico's table has 5 times as many slots, the next prime
//
// Source: kubernetes pkg/proxy/apis/config KubeProxyConfiguration; felix/docs/config-params.md.
import { familyOf, parsePrefix, type Family } from "../model/address.ts";

const ENDPOINTS_MAX = 100, ENDPOINTS_MOST = 3000;
const SLOTS_PER_ENDPOINT = 5;
const LOCALHOST = "127.0.0.1";

export interface ProxyConfig {
  /** The node's addresses with NodePorts. */
  nodePortAddresses: string[];
  dsr: boolean;
  /** Services with more endpoints than these have no table of Calico's; its slots. */
  calicoEndpointsMax: number;
  calicoSlots: number;
}

/** `addresses`: the node's own. What is wrong in a value is told; the default stands then. */
export function proxyConfig(
  config: ReadonlyMap<string, string>, addresses: readonly string[],
  problem: (parameter: string, message: string) => void,
): ProxyConfig {
  const read = <T>(name: string, standard: T, parse: (text: string) => T): T => {
    const text = config.get(name);
    if (text === undefined) return standard;
    try {
      return parse(text.trim());
    } catch (error) {
      problem(name, (error as Error).message);
      return standard;
    }
  };
  const localhost = read("KubeProxyLocalhostNodePorts", false, parseBoolean);
  const calicoEndpointsMax = read("BPFMaglevMaxEndpointsPerService", ENDPOINTS_MAX, parseMost);
  return {
    nodePortAddresses: read("KubeProxyNodePortAddresses", primary(addresses), (text) => {
      if (text === "" || text === "primary") return primary(addresses);
      const prefixes = text.split(",").map((each) => parsePrefix(each.trim()));
      const own = [...addresses, ...(localhost ? [LOCALHOST] : [])];
      return own.filter((address) => {
        const { family, network } = parsePrefix(address);
        return prefixes.some((each) => each.family === family &&
          (network & each.mask) === each.network);
      });
    }),
    dsr: read("BPFExternalServiceMode", false, (text) => {
      if (!/^(dsr|tunnel)$/i.test(text)) throw new Error(`"${text}" is neither Tunnel nor DSR`);
      return text.toLowerCase() === "dsr";
    }),
    calicoEndpointsMax, calicoSlots: nextPrime(calicoEndpointsMax * SLOTS_PER_ENDPOINT),
  };
}

/** The first of each family. */
export function primary(addresses: readonly string[]): string[] {
  return ([4, 6] as Family[]).flatMap((family) => {
    return addresses.find((address) => familyOf(address) === family) ?? [];
  });
}

function parseBoolean(text: string): boolean {
  if (!/^(true|false)$/i.test(text)) throw new Error(`"${text}" is neither true nor false`);
  return text.toLowerCase() === "true";
}

function parseMost(text: string): number {
  const most = /^\d+$/.test(text) ? Number(text) : 0;
  if (most >= 1 && most <= ENDPOINTS_MOST) return most;
  throw new Error(`"${text}": 1 to ${ENDPOINTS_MOST} is expected`);
}

function nextPrime(from: number): number {
  for (let number = from; ; number++) {
    let divisor = 2;
    while (divisor * divisor <= number && number % divisor !== 0) divisor++;
    if (divisor * divisor > number) return number;
  }
}
