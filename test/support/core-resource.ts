/** Namespaced kinds of Kubernetes' core group. */
import type { ResourceName } from "../../src/kube/resource.ts";

export const core = (plural: string, kind: string): ResourceName => ({
  group: "",
  version: "v1",
  plural,
  kind,
  namespaced: true,
});
