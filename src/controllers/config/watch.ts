/** Which changes enqueue commits and the ConfigMaps of configurations. */
import { unknownCommits } from "../../db/configs/commits.ts";
import { pruneCommits } from "../../db/history/prune.ts";
import { byAge } from "../../resources/meta.ts";
import { indices } from "../context.ts";
import type { Context } from "../context.ts";
import { showsStored } from "./commit.ts";

/** Registers the handlers; call it once. */
export function watchConfigs({ informers, owned, queues }: Context): void {
  const { store } = informers.commits;
  informers.commits.onChange(({ key, before, after }) => {
    const isNews = before?.uid !== after?.uid || before?.generation !== after?.generation;
    if (isNews) queues.commits.add(key);
  });
  informers.projects.onChange(({ before, after }) => {
    const namespace = after?.status.namespace;
    if (namespace === undefined || namespace === before?.status.namespace) return;
    for (const { name } of store.byIndex(indices.commitsByNamespace, namespace)) {
      queues.commits.add(`${namespace}/${name}`);
    }
  });
  owned.configMaps.onDrift((_project, key) => queues.configMaps.add(key));
}

/** Enqueues every ConfigMap, and every commit except those that are stored and report it, which is most of them. */
export async function enqueueConfigs({ informers, owned, queues, db }: Context): Promise<void> {
  const all = [...informers.commits.store.values()];
  const uids = all.map(({ uid }) => uid);
  await pruneCommits(db, uids);
  const unknown = new Set(await unknownCommits(db, uids));
  const inOrder = all.toSorted(
    (one, other) => Number(showsStored(other)) - Number(showsStored(one)) || byAge(one, other),
  );
  for (const commit of inOrder) {
    if (showsStored(commit) && !unknown.has(commit.uid)) continue;
    queues.commits.add(`${commit.namespace}/${commit.name}`);
  }
  for (const key of owned.configMaps.informer.store.keys()) queues.configMaps.add(key);
}
