/** Mirrors scheduling.k8s.io PriorityClasses into priority_classes. */
import { deletePriorityClass, upsertPriorityClass } from "../db/priority-classes.ts";
import { done } from "../runtime/controller.ts";
import type { Reconcile } from "../runtime/controller.ts";
import type { Context } from "./context.ts";

export function reconcilePriorityClass({ db, caches }: Context): Reconcile {
  return async (name) => {
    const found = caches.priorityClasses.store.get(name);
    if (found === undefined) await deletePriorityClass(db, name);
    else {
      await upsertPriorityClass(db, {
        name,
        value: found.value,
        preemptionPolicy: found.preemptionPolicy,
      });
    }
    return done();
  };
}
