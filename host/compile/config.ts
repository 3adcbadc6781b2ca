// Felix' parameters that bear on verdicts, from the texts that Felix sends (or FelixConfiguration's
// fields under Felix' names), with Felix' defaults. A value that is none is reported, and the
// default stands. Names are looked up in any case.
// Source: projectcalico felix/docs/config-params.md, felix/config/config_params.go; calico.md 2.4.
import { parsePrefix } from "../model/address.ts";
import type { EndpointToHost } from "../model/program.ts";
import type { Failsafe, NodeConfig } from "../model/state.ts";

const SHARED = "tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667";
const INBOUND = `tcp:22,udp:68,${SHARED}`;
const OUTBOUND = `udp:53,udp:67,${SHARED}`;
const YES = ["true", "1", "yes", "y", "t"], NO = ["false", "0", "no", "n", "f", ""];

export type ReadParameter = <T>(name: string, standard: T, parse: (text: string) => T) => T;

/** `problems` gets a line for each value that is none: parameter, value, what it must be. */
export function parameterReader(
  config: ReadonlyMap<string, string>, problems: string[],
): ReadParameter {
  const texts = new Map([...config].map(([name, text]) => [name.toLowerCase(), text.trim()]));
  return (name, standard, parse) => {
    const text = texts.get(name.toLowerCase());
    if (text === undefined) return standard;
    try {
      return parse(text);
    } catch (cause) {
      problems.push(`${name} "${text}": ${(cause as Error).message}`);
      return standard;
    }
  };
}

export function parseConfig(
  config: ReadonlyMap<string, string>, problems: string[] = [],
): NodeConfig {
  const read = parameterReader(config, problems);
  return {
    failsafeInbound: read("FailsafeInboundHostPorts", failsafes(INBOUND), failsafes),
    failsafeOutbound: read("FailsafeOutboundHostPorts", failsafes(OUTBOUND), failsafes),
    endpointToHost: read<EndpointToHost>("DefaultEndpointToHostAction", "drop", (text) =>
      oneOf(text, ["drop", "return", "accept"])),
    vxlanPort: read("VXLANPort", 4789, (text) => portOf(text, 1)),
    vxlanEnabled: read("VXLANEnabled", false, isYes),
    ipipEnabled: read("IpInIpEnabled", false, isYes),
    allowVxlanFromWorkloads: read("AllowVXLANPacketsFromWorkloads", false, isYes),
    allowIpipFromWorkloads: read("AllowIPIPPacketsFromWorkloads", false, isYes),
    anySourceSpoofing: read("WorkloadSourceSpoofing", "disabled", (text) =>
      oneOf(text, ["disabled", "any"])) === "any",
  };
}

export function oneOf<T extends string>(text: string, values: readonly T[]): T {
  const found = values.find((value) => value === text.toLowerCase());
  if (!found) throw new Error(`expected ${values.join(", ")}`);
  return found;
}

export function isYes(text: string): boolean {
  if (YES.includes(text.toLowerCase())) return true;
  if (NO.includes(text.toLowerCase())) return false;
  throw new Error("expected true or false");
}

function portOf(text: string, least: number): number {
  const port = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(port >= least && port <= 65_535)) throw new Error(`expected a port, ${least} to 65535`);
  return port;
}

/** "tcp:22,udp:10.0.0.0/8:68,tcp:[fd00::/8]:22", "22" (TCP); "none" or nothing: no port at all. */
function failsafes(text: string): Failsafe[] {
  if (text === "" || text.toLowerCase() === "none") return [];
  return text.split(",").map((each) => {
    const parts = /^(?:(\w+):)?(?:(\[[^\]]+\](?:\/\d+)?|[\d.]+(?:\/\d+)?):)?(\d+)$/
      .exec(each.trim());
    if (!parts) throw new Error(`"${each.trim()}": expected protocol:port or protocol:cidr:port`);
    const [, protocol = "tcp", prefix, port] = parts;
    const failsafe: Failsafe = {
      protocol: oneOf(protocol, ["tcp", "udp", "sctp"]), port: portOf(port!, 0),
    };
    if (prefix !== undefined) {
      failsafe.prefix = prefix.replace(/[[\]]/g, "");
      parsePrefix(failsafe.prefix);
    }
    return failsafe;
  });
}
