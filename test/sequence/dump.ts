// Session tables as lines of text, sorted: the engine's and the twin's.
import { addressText } from "../../host/model/address.ts";
import type { Tracker } from "../reference/conntrack.ts";
import type { Key } from "../reference/sessions.ts";
import { wireOf } from "../reference/site.ts";
import type { Engine } from "./engine.ts";

export function dumpOfEngine(engine: Engine): string[] {
  return engine.dataplane.sessions().map((each) => [
    each.protocol, `${each.source}:${each.sourcePort}`,
    `${each.destination}:${each.destinationPort}`, "to",
    `${each.toSource}:${each.toSourcePort}`, `${each.toDestination}:${each.toDestinationPort}`,
    `flags ${each.flags} seen ${each.seenMs} generation ${each.generation}`,
    `[${engine.backendName(each.backend === 0 ? undefined : each.backend - 1)}] peer ${each.peer}`,
  ].join(" ")).sort();
}

export function dumpOfTwin({ sessions }: Tracker): string[] {
  return sessions.all().map((each) => {
    const { family, protocol, keys: [forward, reply], flags, seenMs, generation } = each;
    const from = ({ source, sourcePort }: Key): string =>
      `${addressText(wireOf(source, family))}:${sourcePort}`;
    const to = ({ destination, port }: Key): string =>
      `${addressText(wireOf(destination, family))}:${port}`;
    return [
      protocol, from(forward), to(forward), "to", to(reply), from(reply),
      `flags ${flags} seen ${seenMs} generation ${generation}`,
      `[${each.backend?.name ?? ""}] peer ${each.peer}`,
    ].join(" ");
  }).sort();
}
