/** Reading fields of raw objects whose schema the API server has checked. */
import type { KubeObject, OwnerReference } from "../kube/resource.ts";

/** What Rota keeps of every object's metadata. */
export interface Meta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly createdAt: string;
  readonly deleting: boolean;
}

export const metaOf = (raw: KubeObject): Meta => ({
  name: raw.metadata.name ?? "",
  namespace: raw.metadata.namespace ?? "",
  uid: raw.metadata.uid ?? "",
  resourceVersion: raw.metadata.resourceVersion ?? "0",
  generation: raw.metadata.generation ?? 0,
  createdAt: raw.metadata.creationTimestamp ?? "1970-01-01T00:00:00Z",
  deleting: raw.metadata.deletionTimestamp !== undefined,
});

/** Who was there first comes first: where two claim one thing, chance and names must not decide. */
export const byAge = (one: Meta, other: Meta): number =>
  Date.parse(one.createdAt) - Date.parse(other.createdAt) ||
  Number(one.resourceVersion) - Number(other.resourceVersion);

/** A field that is an object, or {} where it is absent. */
export const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

export const controllerOf = (raw: KubeObject): OwnerReference | undefined =>
  raw.metadata.ownerReferences?.find((reference) => reference.controller === true);
