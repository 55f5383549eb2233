/** The metadata every Kubernetes object has (API conventions, "Metadata"). */
export interface ObjectMeta {
  name?: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** An object as the API server's JSON has it. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** Names a kind of object in URLs and manifests. */
export interface ResourceName {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** A kind of object that is watched, with what is kept of each. */
export interface ResourceType<T> extends ResourceName {
  /**
   * Keeps only the fields needed; the rest is garbage as soon as it is decoded. Return values copied out of `raw`, not the
   * objects around them, or those stay in memory whole.
   */
  readonly project: (raw: KubeObject) => T;
  /**
   * What stands in the store for an object that `project` throws on, because its absence would do harm: a pod that uses
   * a node's capacity. Undefined, and a missing function, leave the object out.
   */
  readonly substitute?: (raw: KubeObject) => T | undefined;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export const apiVersionOf = (type: ResourceName): string =>
  type.group === "" ? type.version : `${type.group}/${type.version}`;

/** "namespace/name", or "name" for what is cluster-scoped. Throws on an object without a name. */
export function keyOf(object: { readonly metadata: ObjectMeta }): string {
  const { name, namespace } = object.metadata;
  if (name === undefined || name === "") throw new Error("an object without a name has no key");
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The parts of a key; `namespace` is absent for what is cluster-scoped. */
export function splitKey(key: string): { readonly namespace?: string; readonly name: string } {
  const slash = key.indexOf("/");
  if (slash < 0) return { name: key };
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The path of the collection, in one namespace or in all. */
export function collectionPath(type: ResourceName, namespace?: string): string {
  const root = type.group === "" ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${type.plural}`;
}

/** The path of one object. Throws when the key does not fit the type's scope. */
export function objectPath(type: ResourceName, key: string, subresource?: string): string {
  const { namespace, name } = splitKey(key);
  if (type.namespaced !== (namespace !== undefined)) {
    const expected = type.namespaced ? "namespace/name" : "name";
    throw new Error(`"${key}" is no key of ${type.plural}: expected ${expected}`);
  }
  const path = `${collectionPath(type, namespace)}/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}
