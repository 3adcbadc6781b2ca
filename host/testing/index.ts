// margay/testing, the package's entry point for tests in vitest: a cluster of manifests whose flows
// run through the packet program. Importing it adds the matchers. Types: public.ts.
import { expect } from "vitest";
import { ManifestCluster } from "./answer.ts";
import { matchers } from "./matchers.ts";
import type { cluster as DeclaredCluster } from "./public.ts";

export type * from "./public.ts";

expect.extend(matchers);

export const cluster: typeof DeclaredCluster = (manifests, options = {}) =>
  ManifestCluster.open([manifests].flat(), options, () => expect.getState().testPath);
