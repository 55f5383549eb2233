/** Mirrors scheduling.k8s.io PriorityClasses into the database and into waiting jobs. */
import {
  deletePriorityClass,
  followPriorityClass,
  upsertPriorityClass,
} from "../../db/mirrors/priority-classes.ts";
import { done } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { Context } from "../context.ts";

/**
 * Jobs keep the priority of a deleted class; if the class is created anew, they follow it at once. Jobs with a changed
 * priority are enqueued to update their status.
 */
export function reconcilePriorityClass({ db, informers, queues, scheduler }: Context): Reconcile {
  return async (name, signal) => {
    const found = informers.priorityClasses.store.get(name);
    if (found === undefined) {
      await deletePriorityClass(db, name);
      return done();
    }
    const { value, preemptionPolicy } = found;
    const priorityClass = { name, value, preemptionPolicy };
    await upsertPriorityClass(db, priorityClass);
    for (;;) {
      signal.throwIfAborted();
      const changed = await followPriorityClass(db, priorityClass);
      if (changed.length === 0) return done();
      for (const key of changed) queues.jobs.add(key);
      scheduler.wake(undefined);
    }
  };
}
