import { isDeepStrictEqual } from "node:util";

export type JsonObject = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * The JSON merge patch (RFC 7396) that turns `from` into `to`; undefined if they are equal. Undefined fields count as
 * absent. A null inside `to` cannot be expressed in a merge patch and removes the field.
 */
export function mergePatch(from: JsonObject, to: JsonObject): JsonObject | undefined {
  const patch: Record<string, unknown> = {};
  for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const change = fieldPatch(from[name], to[name]);
    if (change !== undefined) patch[name] = change.value;
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function fieldPatch(from: unknown, to: unknown): { readonly value: unknown } | undefined {
  if (isAbsent(to)) return isAbsent(from) ? undefined : { value: null };
  if (isObject(from) && isObject(to)) {
    const value = mergePatch(from, to);
    return value === undefined ? undefined : { value };
  }
  return isDeepStrictEqual(from, to) ? undefined : { value: to };
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null;
