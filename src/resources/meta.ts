/** Access to fields of raw objects; the API server has validated their schema. */
import type { KubeObject, OwnerReference } from "../kube/resource.ts";

/** The metadata that Rota keeps of every object. */
export interface Meta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  readonly createdAt: string;
  readonly deleting: boolean;
}

/** Copies the fields out of the raw object; absent ones become "", 0 or the epoch. */
export const metaOf = (raw: KubeObject): Meta => ({
  name: raw.metadata.name ?? "",
  namespace: raw.metadata.namespace ?? "",
  uid: raw.metadata.uid ?? "",
  resourceVersion: raw.metadata.resourceVersion ?? "0",
  generation: raw.metadata.generation ?? 0,
  createdAt: raw.metadata.creationTimestamp ?? "1970-01-01T00:00:00Z",
  deleting: raw.metadata.deletionTimestamp !== undefined,
});

/** Oldest first, then by resourceVersion: if two objects claim one thing, the earlier one gets it. */
export const byAge = (one: Meta, other: Meta): number =>
  Date.parse(one.createdAt) - Date.parse(other.createdAt) ||
  Number(one.resourceVersion) - Number(other.resourceVersion);

/** The value if it is an object, otherwise {}. */
export const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};

/** The value if it is a string, otherwise "". */
export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** The owner reference with controller: true; undefined without one. */
export const controllerOf = (raw: KubeObject): OwnerReference | undefined =>
  raw.metadata.ownerReferences?.find((reference) => reference.controller === true);
