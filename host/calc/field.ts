// Fields of objects as manifests bring them. Schemas have checked shapes before; here a value of
// another shape counts as absent, so that conversion never throws on one.

export type Fields = Record<string, unknown>;
export type Path = readonly (string | number)[];

export function fields(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : undefined;
}

/** A field's object; empty where there is none. */
export function objectAt(from: Fields | undefined, name: string): Fields {
  return fields(from?.[name]) ?? {};
}

export function listAt(from: Fields | undefined, name: string): unknown[] {
  const value = from?.[name];
  return Array.isArray(value) ? value : [];
}

export function textAt(from: Fields | undefined, name: string): string {
  const value = from?.[name];
  return typeof value === "string" ? value : "";
}

export function textsAt(from: Fields | undefined, name: string): string[] {
  return listAt(from, name).filter((each): each is string => typeof each === "string");
}

export function numberAt(from: Fields | undefined, name: string): number | undefined {
  const value = from?.[name];
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

export function flagAt(from: Fields | undefined, name: string): boolean {
  return from?.[name] === true;
}

/** metadata.labels, or any map of texts. */
export function mapAt(from: Fields | undefined, name: string): Record<string, string> {
  const map: Record<string, string> = {};
  for (const [key, value] of Object.entries(objectAt(from, name))) {
    if (typeof value === "string") map[key] = value;
  }
  return map;
}
