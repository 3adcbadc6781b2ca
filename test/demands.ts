// Demands and results: which ids of test/demands.txt a run's passing tests carry.
// A line: id, spaces, sentence, and [native] or [vpp] where the demand needs that engine,
// [conformance] where it needs the folder of cases.

export interface Demand {
  id: string;
  sentence: string;
  needs: string | undefined;
}

export function parseDemands(text: string): Demand[] {
  const demands: Demand[] = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "" || line.startsWith("#")) return;
    const found = /^([a-z][a-z0-9-]*)\s+(.*?)(?:\s+\[(native|vpp|conformance)\])?$/.exec(line);
    if (!found) throw new Error(`test/demands.txt:${i + 1}: expected "id  sentence"`);
    const [, id, sentence, needs] = found as unknown as [string, string, string, string?];
    if (demands.some((each) => each.id === id)) {
      throw new Error(`test/demands.txt:${i + 1}: "${id}" stands there twice`);
    }
    demands.push({ id, sentence, needs });
  });
  return demands;
}

/** Does a test's title carry an id? As "id:" at its start or after a space. */
export function carries(title: string, id: string): boolean {
  return title.split(/\s+/).includes(`${id}:`);
}
