/** Which changes make nodes and priority classes be mirrored. */
import { presentNodeNames, prunePriorityClasses } from "../../db/history/prune.ts";
import type { Context } from "../context.ts";

/** Call it once. */
export function watchMirrored({ informers, queues }: Context): void {
  informers.priorityClasses.onChange(({ key }) => queues.priorityClasses.add(key));
  informers.nodes.onChange(({ key }) => queues.nodes.add(key));
  // Pods that are not Rota's use what its jobs cannot have.
  informers.pods.onChange(({ before, after }) => {
    const pod = after ?? before;
    if (pod?.jobKey === "" && pod.nodeName !== "") queues.nodes.add(pod.nodeName);
  });
}

/** Every node and class; those that left while nobody watched are forgotten. */
export async function enqueueMirrored({ informers, queues, db }: Context): Promise<void> {
  await prunePriorityClasses(db, [...informers.priorityClasses.store.keys()]);
  const nodeNames = new Set([...informers.nodes.store.keys(), ...(await presentNodeNames(db))]);
  for (const name of nodeNames) queues.nodes.add(name);
  for (const name of informers.priorityClasses.store.keys()) queues.priorityClasses.add(name);
}
