/** One status patch at the end of a reconcile, and none when nothing changed. */
import { isDeepStrictEqual } from "node:util";
import type { KubeClient } from "../kube/client.ts";
import { isNotFound } from "../kube/errors.ts";
import type { ResourceName } from "../kube/resource.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The merge patch (RFC 7396) that makes `before` into `after`: only what differs, null for what goes. */
export function statusPatch(before: Fields, after: Fields): Fields {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  const changed = [...names].filter((name) => !isDeepStrictEqual(before[name], after[name]));
  return Object.fromEntries(changed.map((name) => [name, after[name] ?? null]));
}

/** Returns whether a write was needed. An object that is gone needs none. */
export async function writeStatus(
  kube: KubeClient,
  type: ResourceName,
  key: string,
  before: object,
  after: object,
  signal: AbortSignal,
): Promise<boolean> {
  const status = statusPatch(before as Fields, after as Fields);
  if (Object.keys(status).length === 0) return false;
  try {
    await kube.patch(type, key, { status }, { subresource: "status", signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  return true;
}
