// Ids of sets: "PREFIX:" and the base64url of the SHA-224 of "PREFIX:CONTENT", so that equal
// content has an equal id on every node and in every dataplane.
// Source: projectcalico libcalico-go/lib/hash (MakeUniqueID).
import { createHash } from "node:crypto";

/** s = selector, n = named port, svc, svcnoport = service, nodes = addresses of nodes. */
export type IdPrefix = "s" | "n" | "svc" | "svcnoport" | "nodes";

export function uniqueId(prefix: IdPrefix, content: string): string {
  const hash = createHash("sha224").update(`${prefix}:${content}`, "utf8").digest("base64url");
  return `${prefix}:${hash}`;
}
