/** Installs crds/ and manifests/base into a cluster; needs no kubectl, so that KUBECONFIG alone is enough. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import type { KubeClient } from "../../src/kube/client.ts";
import { isInvalid } from "../../src/kube/errors.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";
import { clientFor } from "./kube-client.ts";
import { projectRoot } from "./paths.ts";
import { waitFor } from "./wait.ts";

const serveTimeoutMs = 30_000;

/** Server-side apply; fulfils when the custom resources are served. */
export async function installCrds(cluster: { readonly kubeconfig: string }): Promise<void> {
  const client = clientFor(cluster.kubeconfig);
  try {
    const definitions = readManifests("crds");
    await applyAll(client, definitions);
    await Promise.all(definitions.map((definition) => waitUntilServed(client, definition)));
    await applyAll(client, readManifests("manifests/base").sort(namespacesFirst));
    const stamping = readManifests("manifests/stamping");
    if (await servesAll(client, stamping)) {
      await applyAll(client, stamping);
      await waitUntilStamped(client);
    }
  } finally {
    await client.close();
  }
}

function readManifests(folder: string): KubeObject[] {
  const root = join(projectRoot, folder);
  if (!existsSync(root)) return [];
  return globSync("**/*.{yaml,yml}", { cwd: root })
    .sort()
    .flatMap((file) => loadAll(readFileSync(join(root, file), "utf8")))
    .filter(isObject);
}

const isObject = (value: unknown): value is KubeObject =>
  typeof value === "object" && value !== null && "metadata" in value;

const namespacesFirst = (a: KubeObject, b: KubeObject): number =>
  Number(b.kind === "Namespace") - Number(a.kind === "Namespace");

async function applyAll(client: KubeClient, objects: readonly KubeObject[]): Promise<void> {
  for (const object of objects) await client.apply(await resourceOf(client, object), object);
}

interface ResourceList {
  readonly resources?: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
  }[];
}

/** Asks the API server under which name it serves objects of this kind. */
export async function resourceOf(client: KubeClient, object: KubeObject): Promise<ResourceName> {
  const { apiVersion = "", kind = "" } = object;
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const root = group === "" ? "/api" : "/apis";
  const answer = await client.raw("GET", `${root}/${apiVersion}`);
  const { resources = [] }: ResourceList = typeof answer === "object" && answer ? answer : {};
  const found = resources.find((entry) => entry.kind === kind && !entry.name.includes("/"));
  if (!found) throw new Error(`the cluster serves no ${kind} of ${apiVersion}`);
  return { group, version, kind, plural: found.name, namespaced: found.namespaced };
}

/** Older API servers do not know every kind. */
async function servesAll(client: KubeClient, objects: readonly KubeObject[]): Promise<boolean> {
  const found = objects.map((object) => resourceOf(client, object));
  return (await Promise.allSettled(found)).every(({ status }) => status === "fulfilled");
}

/**
 * Policies that mutate answer 503 for a kind whose definition is new, until the API server has read its schema again: a
 * second or two, more when it is busy. Waited for here too, since what comes next may be a user's kubectl, which does not.
 */
async function waitUntilStamped(client: KubeClient): Promise<void> {
  const template = { spec: { containers: [{ name: "main", image: "none.example/none:1" }] } };
  const example = {
    apiVersion: "rota.dev/v1alpha1",
    kind: "Job",
    metadata: { namespace: "default", name: "example" },
    spec: { template },
  };
  const type = await resourceOf(client, example);
  const probe = () => client.create(type, example, { dryRun: true, attempts: 1 });
  const what = "the API server to stamp a new Job";
  await waitFor(probe, { what, timeoutMs: serveTimeoutMs });
}

interface DefinitionSpec {
  readonly group: string;
  readonly names: { readonly kind: string };
  readonly versions: readonly { readonly name: string; readonly served: boolean }[];
}

/** A definition is Established a moment before its resource is found and answers, and before it can be applied. */
async function waitUntilServed(client: KubeClient, definition: KubeObject): Promise<void> {
  const { group, names, versions } = specOf(definition);
  const version = versions.find(({ served }) => served)?.name;
  const example = { apiVersion: `${group}/${version}`, kind: names.kind, metadata: {} };
  const probe = async (): Promise<boolean> => {
    const type = await resourceOf(client, example);
    await client.listPage(type, { pageSize: 1, attempts: 1 });
    return takesApplied(client, type);
  };
  const what = `the API server to serve ${names.kind}`;
  await waitFor(probe, { what, timeoutMs: serveTimeoutMs });
}

/** Whether an empty object is refused for what it lacks: until the schema is known to apply, the answer is 503. */
async function takesApplied(client: KubeClient, type: ResourceName): Promise<boolean> {
  const metadata = { name: "probe", ...(type.namespaced ? { namespace: "default" } : {}) };
  try {
    await client.apply(type, { metadata }, { dryRun: true, attempts: 1 });
    return true;
  } catch (error) {
    return isInvalid(error);
  }
}

function specOf(definition: KubeObject): DefinitionSpec {
  const { spec } = definition as KubeObject & { readonly spec?: DefinitionSpec };
  if (!spec) throw new Error(`${definition.kind} ${definition.metadata.name} has no spec`);
  return spec;
}
