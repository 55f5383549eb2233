/** Which changes enqueue nodes and priority classes. */
import { presentNodeNames, prunePriorityClasses } from "../../db/history/prune.ts";
import type { Context } from "../context.ts";

/** Registers the handlers; call it once. */
export function watchMirrored({ informers, queues }: Context): void {
  informers.priorityClasses.onChange(({ key }) => queues.priorityClasses.add(key));
  informers.nodes.onChange(({ key }) => queues.nodes.add(key));
  // Pods that are not Rota's reduce the capacity of their node.
  informers.pods.onChange(({ before, after }) => {
    const pod = after ?? before;
    if (pod?.jobKey === "" && pod.nodeName !== "") queues.nodes.add(pod.nodeName);
  });
}

/** Enqueues every node and class; removes those that left the cluster while no operator watched. */
export async function enqueueMirrored({ informers, queues, db }: Context): Promise<void> {
  await prunePriorityClasses(db, [...informers.priorityClasses.store.keys()]);
  const nodeNames = new Set([...informers.nodes.store.keys(), ...(await presentNodeNames(db))]);
  for (const name of nodeNames) queues.nodes.add(name);
  for (const name of informers.priorityClasses.store.keys()) queues.priorityClasses.add(name);
}
