// The seeds of the random tests. In `npm test` they are fixed, so that a change is judged by what
// it changed and a failure comes back; the long runs take new ones each time.

const FIXED = 7;

/** The number in the variable repeats a run; "random" is a new one; without it a fixed one. */
export function seedOf(name: string): number {
  const given = process.env[name] ?? String(FIXED);
  const seed = given === "random" ? Date.now() % 0x7fffffff : Number(given);
  if (given === "" || !Number.isInteger(seed)) {
    throw new Error(`${name}: "${given}": expected a whole number or "random"`);
  }
  return seed;
}
