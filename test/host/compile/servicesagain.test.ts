// Changes of Services that were refused, whole or half-way, and what is wrong in Services.
import { describe, expect, test } from "vitest";
import type { Backend, Service } from "../../../host/model/program.ts";
import { random } from "./random.ts";
import { backends, Node, noSet, service } from "./servicenode.ts";
import { groupsOf } from "./told.ts";

describe("refused changes", () => {
  /** The state that a core must be in for a list of Services, whatever came before. */
  function check(node: Node, list: Service[], what: string): void {
    const { frontends, groups, gone } = node.told;
    expect([...frontends.keys()].sort(), what).toEqual(
      list.map(({ address, port }) => `${address} port ${port} protocol 6`).sort());
    const named = new Set<number>(), now = new Set<number>();
    for (const { address, port, backends: own, localBackends = [] } of list) {
      const frontend = frontends.get(`${address} port ${port} protocol 6`)!;
      const ends = (all: Backend[]): string[] =>
        all.map((each) => `${each.address}:${each.port}`).sort();
      expect(node.told.ends(frontend.internal).sort(), what).toEqual(ends(own));
      expect(node.told.ends(frontend.external).sort(), what).toEqual(ends(localBackends));
      for (const id of groupsOf(frontend)) named.add(id);
      for (const id of [frontend.internal, frontend.external]) {
        for (const { id: backend } of groups.get(id)?.backends ?? []) now.add(backend);
      }
    }
    named.delete(0);
    expect([...groups.keys()].sort(), `${what}: groups`).toEqual([...named].sort());
    for (const id of now) {
      expect(gone.has(id), `${what}: backend ${id} serves`).toBe(false);
    }
    for (const [, { backends: all }] of groups) {
      for (const { id } of all) if (!now.has(id)) expect(gone.has(id), what).toBe(true);
    }
  }

  test("services-again: whatever part of a refused change came about, the next mends it", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const pick = random(seed);
      const node = new Node({ servicesMax: 12, groupsMax: 48, backendsMax: 60 });
      const one = (i: number): Service => {
        const some = (): number[] => [1, 2, 3, 4, 5, 6].filter(() => pick(2));
        const more: Partial<Service> = { address: `10.96.0.${i}`, affinitySeconds: pick(2) };
        if (pick(3) === 0) more.localBackends = backends(...some());
        return service(`s${pick(4) ? i : i + 100}`, some(), more);
      };
      let list: Service[] = [];
      let again = false;
      for (let turn = 0; turn < 40; turn++) {
        const wanted = list.filter(() => pick(8)).map((each) =>
          (pick(3) ? each : one(addressOf(each))));
        for (let i = 1; i <= 8; i++) {
          if (!pick(4) && !wanted.some((each) => addressOf(each) === i)) wanted.push(one(i));
        }
        node.services.begin(again);
        if (pick(2)) node.services.update(wanted, [], noSet);
        else node.services.alter(changes(list, wanted), noSet);
        list = wanted;
        const stream = node.services.records();
        again = pick(3) === 0;
        node.told.play(stream, again ? pick(12) : Infinity);
        if (!again) check(node, list, `seed ${seed}, turn ${turn}`);
      }
    }
  });

  const addressOf = ({ address }: Service): number => Number(address.split(".")[3]);

  /** By name, all frontends of names that were or are among those that differ. */
  function changes(before: Service[], after: Service[]): Map<string, Service[]> {
    const names = new Set([...before, ...after].filter((each) =>
      !(before.includes(each) && after.includes(each))).map(({ name }) => name));
    return new Map([...names].map((name) => [name, after.filter((each) => each.name === name)]));
  }

  test("a change that throws is not half told: the next one is looked at whole", () => {
    const node = new Node({ groupsMax: 2, servicesMax: 8 });
    const a = service("a", [1]), b = service("b", [2], { address: "10.96.0.2" });
    const c = service("c", [3], { address: "10.96.0.3" });
    expect(() => node.update([a, b, c])).toThrow(
      "more than 2 groups of backends at a time; the budget groupsMax is 2");
    node.update([a, b]);
    check(node, [a, b], "after");
  });

  test.each([
    [{ address: "10.96.0.0/16" }, 'service a: "10.96.0.0/16" is no address'],
    [{ port: 0 }, "service a: port 0, protocol tcp: expected 1 to 65535, or 0 and 0"],
    [{ port: 70_000 }, "service a: port 70000, protocol tcp: expected 1 to 65535, or 0 and 0"],
    [{ port: 0, protocol: 0 },
      "service a: port 0, protocol 0: what nothing serves has no backends"],
    [{ affinitySeconds: -1 }, "service a: affinitySeconds -1: expected 0 to 86400"],
    [{ backends: [{ name: "x", address: "fd00::1", port: 1 }] },
      "service a: backend x: fd00::1 is not IPv4"],
    [{ backends: [{ name: "x", address: "10.0.0.1", port: 0 }] },
      "service a: backend x: port 0: expected 1 to 65535"],
    [{ localBackends: [{ name: "x", address: "10.0.0.1", port: 1, weight: 1001 }] },
      "service a: backend x: weight 1001: expected 1 to 1000"],
    [{ maglevSlots: 1000 }, "service a: maglevSlots 1000: expected a prime of 1 to 655373"],
    [{ sourceRanges: "s" }, 'service a: no set has the id "s"'],
  ] as [Partial<Service>, string][])("what is wrong has a name: %j", (more, message) => {
    expect(() => new Node().update([service("a", [1], more)])).toThrow(message);
    const twice = [service("a", [1]), service("b", [2], { address: "10.96.0.1" })];
    expect(() => new Node().update(twice)).toThrow(
      "service b: tcp 10.96.0.1 port 80 is also service a's");
  });
});
