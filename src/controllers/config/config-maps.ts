/**
 * The ConfigMaps that provide configurations to jobs. Each is named after the hash of its bytes, contains exactly those
 * bytes, and exists while an unfinished job needs it.
 */
import { configMapName } from "../../api/names.ts";
import { readConfigUses } from "../../db/configs/uses.ts";
import type { ConfigUse } from "../../db/configs/uses.ts";
import { readCommitContent } from "../../db/configs/commits.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../../kube/errors.ts";
import { splitKey } from "../../kube/resource.ts";
import { configMapManifest } from "../../resources/tenancy.ts";
import { projectConfigMaps } from "../../resources/tenant-types.ts";
import type { ProjectConfigMap } from "../../resources/tenant-types.ts";
import type { ReconcileBatch } from "../../runtime/batch-controller.ts";
import { failed } from "../../runtime/result.ts";
import type { ReconcileResult } from "../../runtime/result.ts";
import { each } from "../../runtime/parallel.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { projectOfNamespace } from "../references.ts";

const writesAtOnce = 16;

export interface ConfigMapOrder {
  readonly namespace: string;
  /** Name of the project. */
  readonly project: string;
  readonly hash: string;
}

const keyFor = ({ namespace, hash }: Pick<ConfigMapOrder, "namespace" | "hash">): string =>
  `${namespace}/${configMapName(hash)}`;

/** A user who may delete a ConfigMap could have replaced it. */
const isRight = (configMap: ProjectConfigMap, { project, hash }: ConfigMapOrder): boolean =>
  configMap.contentHash === hash &&
  configMap.isImmutable &&
  configMap.project === project &&
  !configMap.deleting;

async function remove(
  { kube, owned }: Context,
  key: string,
  { uid }: ProjectConfigMap,
  signal: AbortSignal,
): Promise<void> {
  owned.configMaps.removed(key);
  await kube.delete(projectConfigMaps, key, { uid, signal }).catch((error: unknown) => {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  });
}

/** False if another ConfigMap has the name; without Rota's labels it is not in the cache. */
async function create(
  { db, kube, owned }: Context,
  order: ConfigMapOrder,
  signal: AbortSignal,
): Promise<boolean> {
  const content = await readCommitContent(db, order);
  try {
    const raw = await kube.create(projectConfigMaps, configMapManifest(order, content), { signal });
    owned.configMaps.wrote(raw);
    return true;
  } catch (error) {
    if (isAlreadyExists(error)) return false;
    throw error;
  }
}

/** Ensures that the namespace has the configuration, byte for byte. Throws RotaError ReferenceNotFound. */
export async function ensureConfigMap(
  context: Context,
  order: ConfigMapOrder,
  signal: AbortSignal,
): Promise<void> {
  const key = keyFor(order);
  const known = context.owned.configMaps.get(key);
  if (known && isRight(known, order)) return;
  if (await create(context, order, signal)) return;
  const raw = await context.kube.get(projectConfigMaps, key, { signal });
  const found = context.owned.configMaps.wrote(raw);
  if (isRight(found, order)) return;
  context.logger.warn("replacing a ConfigMap with unexpected content", {
    key,
  });
  await remove(context, key, found, signal);
  await create(context, order, signal);
}

class Batch {
  readonly #context: Context;
  readonly #signal: AbortSignal;
  readonly #results = new Map<string, ReconcileResult>();

  constructor(context: Context, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
  }

  async run(keys: readonly string[]): Promise<ReadonlyMap<string, ReconcileResult>> {
    const uses = await this.#uses(keys);
    const unused = keys.filter((key) => !uses.has(key) && this.#isDroppable(key));
    await this.#each(unused, (key) => this.#drop(key));
    // A job admitted between the check and the deletion needs the ConfigMap that was just deleted.
    const now = unused.length > 0 ? await this.#uses(keys) : uses;
    await this.#each(
      keys.filter((key) => now.get(key)?.isLive === true),
      (key) => this.#keep(now.get(key)),
    );
    return this.#results;
  }

  #cached(key: string): ProjectConfigMap | undefined {
    return this.#context.owned.configMaps.get(key);
  }

  /** A database that lost its content does not know yet all jobs in the cluster. */
  #isDroppable(key: string): boolean {
    const { namespace = "" } = splitKey(key);
    const { store } = this.#context.informers.jobs;
    const isNeeded = store.byIndex(indices.jobsByNamespace, namespace).some(({ status }) => {
      const { configHash: hash, finishedAt } = status;
      return hash !== undefined && finishedAt === undefined && keyFor({ namespace, hash }) === key;
    });
    return !isNeeded && this.#cached(key) !== undefined;
  }

  async #uses(keys: readonly string[]): Promise<Map<string, ConfigUse>> {
    const namespaces = new Set(keys.map((key) => splitKey(key).namespace ?? ""));
    const uses = await readConfigUses(this.#context.db, [...namespaces]);
    return new Map(uses.map((use) => [keyFor(use), use]));
  }

  async #drop(key: string): Promise<void> {
    const found = this.#cached(key);
    if (found && !found.deleting) await remove(this.#context, key, found, this.#signal);
  }

  async #keep(use: ConfigUse | undefined): Promise<void> {
    const project = use && projectOfNamespace(this.#context, use.namespace);
    if (!use || !project) return;
    const order = { namespace: use.namespace, project: project.name, hash: use.hash };
    await ensureConfigMap(this.#context, order, this.#signal);
  }

  async #each(keys: readonly string[], work: (key: string) => Promise<void>): Promise<void> {
    await each(keys, writesAtOnce, async (key) => {
      try {
        await work(key);
      } catch (error) {
        this.#results.set(key, failed(error));
      }
    });
  }
}

/** Keys are of ConfigMaps that exist, are needed, or both. */
export const reconcileConfigMaps =
  (context: Context): ReconcileBatch =>
  (keys, signal) =>
    new Batch(context, signal).run(keys);
