// What the program says of a connection before it is made: it is asked in the Node engine about the
// packet that opens it.

import { readFileSync } from "node:fs";
import { Verdict } from "../../assembly/layout.ts";
import { compileProgram, openNode } from "../../host/replay/engines.ts";
import { readSnapshot } from "../../host/input/snapshot.ts";
import { familyOf } from "../../host/model/address.ts";
import { readTuple } from "../../host/observe/tuple.ts";
import type { Carriage, Opening, Pod } from "./network.ts";
import { openingPacket } from "./opening.ts";

export interface ShopProgram {
  pods: Pod[];
  /** Addresses of a Service. */
  services: ReadonlyMap<string, string[]>;
  /** Of an endpoint or a Service. */
  address(name: string, family: 4 | 6): string;
  /** Where the program sends a connection that a pod opens; undefined where it denies it. */
  choose(pod: string, opening: Opening): Carriage["to"];
}

export async function openProgram(file: string): Promise<ShopProgram> {
  const { program, interfaces } = readSnapshot(readFileSync(file, "utf8"), file);
  const dataplane = openNode(await compileProgram(program));
  const services = new Map<string, string[]>();
  for (const { name, address } of program.services) {
    services.set(name, [...(services.get(name) ?? []), address]);
  }
  const addresses = new Map([
    ...program.endpoints.map((one) => [one.name, one.addresses] as const), ...services,
  ]);
  const now = Date.now();
  const clock = { nowMs: now % 2 ** 32, nowSeconds: Math.floor(now / 1000) };
  return {
    pods: program.endpoints,
    services,
    address: (name, family) => {
      const found = addresses.get(name)?.find((address) => familyOf(address) === family);
      if (found === undefined) throw new Error(`${file}: ${name} has no IPv${family} address`);
      return found;
    },
    choose: (pod, opening) => {
      const number = interfaces.get(pod);
      if (number === undefined) throw new Error(`${file}: no interface is named ${pod}`);
      const packet = { interface: number, bytes: openingPacket(opening) };
      const [result] = dataplane.process(0, [packet], clock);
      if (result!.verdict !== Verdict.Pass) return undefined;
      const { destination, destinationPort } = readTuple(result!.bytes!)!;
      return { address: destination, port: destinationPort };
    },
  };
}
