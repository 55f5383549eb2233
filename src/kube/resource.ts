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

/** An object as in the API server's JSON. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  [field: string]: unknown;
}

/** A kind of object, for URLs and manifests. */
export interface ResourceName {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

/** A watched kind of object with its projection. */
export interface ResourceType<T> extends ResourceName {
  /**
   * Selects the needed fields; the rest can be collected after decoding. Copy values out of `raw`: a reference to an
   * object within it keeps that object in memory.
   */
  readonly project: (raw: KubeObject) => T;
  /**
   * The stored value for an object that `project` throws on, if its absence would do harm: a pod that uses a node's
   * capacity. Without the function, or if it returns undefined, the object is left out.
   */
  readonly substitute?: (raw: KubeObject) => T | undefined;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

/** "v1" or "group/version". */
export const apiVersionOf = (type: ResourceName): string =>
  type.group === "" ? type.version : `${type.group}/${type.version}`;

/** "namespace/name", or "name" if cluster-scoped. Throws on an object without a name. */
export function keyOf(object: { readonly metadata: ObjectMeta }): string {
  const { name, namespace } = object.metadata;
  if (name === undefined || name === "") throw new Error("an object without a name has no key");
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The parts of a key; without `namespace` if cluster-scoped. */
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

/** The path of one object. Throws if the key does not match the scope of the type. */
export function objectPath(type: ResourceName, key: string, subresource?: string): string {
  const { namespace, name } = splitKey(key);
  if (type.namespaced !== (namespace !== undefined)) {
    const expected = type.namespaced ? "namespace/name" : "name";
    throw new Error(`"${key}" is not a key of ${type.plural}: expected ${expected}`);
  }
  const path = `${collectionPath(type, namespace)}/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}
