// A node's Services as they are told to a slow model of the core (told.ts): for tests of what
// changes bring.
import { Services } from "../../../host/compile/services.ts";
import type { Backend, Budgets, Service } from "../../../host/model/program.ts";
import { Told } from "./told.ts";

export const noSet = (id: string): number => {
  throw new Error(`no set has the id "${id}"`);
};
export const backends = (...last: number[]): Backend[] =>
  last.map((i) => ({ name: `pod-${i}`, address: `10.0.0.${i}`, port: 8080 }));
export const service = (name: string, last: number[], more: Partial<Service> = {}): Service => ({
  name, address: "10.96.0.1", port: 80, protocol: "tcp", backends: backends(...last), ...more,
});

/** Services and the core that they are told to. */
export class Node {
  readonly told: Told;
  readonly services: Services;
  /** The clock of changes, and how long each comes after the one before it. */
  time = 0;
  stepMs = 100_000;
  constructor(budgets: Partial<Budgets> = {}) {
    this.services = new Services(budgets, () => this.time);
    this.told = new Told(budgets.servicesMax, budgets.groupsMax);
  }
  /** Kinds of the records that a program brings. */
  update(list: Service[], { peers = [] as string[], set = noSet, again = false } = {}) {
    this.services.begin(again);
    this.time += this.stepMs;
    this.services.update(list, peers, set);
    return this.told.play(this.services.records());
  }
  alter(changed: Record<string, Service[]>, again = false) {
    this.services.begin(again);
    this.time += this.stepMs;
    this.services.alter(new Map(Object.entries(changed)), noSet);
    return this.told.play(this.services.records());
  }
  at(key = "10.96.0.1 port 80 protocol 6") {
    const frontend = this.told.frontends.get(key)!;
    const { internal, external, previousInternal, previousExternal } = frontend;
    const ends = (group: number): string =>
      this.told.ends(group).map((end) => end.replace("10.0.0.", "").replace(":8080", "")).join(" ");
    return {
      ...frontend, internal: ends(internal), external: ends(external),
      previousInternal: ends(previousInternal), previousExternal: ends(previousExternal),
    };
  }
}
