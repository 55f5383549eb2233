/** Translates changes into keys of projects and plans to reconcile. */
import type { Owner } from "../../db/tenants/owners.ts";
import type { ResourcePlan } from "../../resources/types.ts";
import { indices, ownerKey } from "../context.ts";
import type { Informers, OwnedInformers, Queues, TenantsPort } from "../context.ts";
import { descendantsOf, lineOf } from "./tree.ts";

/** Delay of updates to totals, which need not be current to the second. */
export const totalsSeconds = 2;

const isRejected = ({ status }: ResourcePlan): boolean =>
  status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "False") ?? false;

/** The port that enqueues the affected projects, plans, commits and ConfigMaps. */
export function tenantsOf(
  { projects, plans, commits }: Informers,
  { configMaps }: OwnedInformers,
  queues: Queues,
): TenantsPort {
  const { store } = projects;
  const plansOf = (owner: Owner | undefined): void => {
    if (owner === undefined) return;
    for (const { name } of plans.store.byIndex(indices.plansByOwner, ownerKey(owner))) {
      queues.plans.addAfter(name, totalsSeconds);
    }
  };
  return {
    changed: (name, formerParent) => {
      const project = store.get(name);
      const parents = new Set([formerParent, project?.spec.parent]);
      for (const parent of parents) if (parent !== undefined) queues.projects.add(parent);
      for (const below of descendantsOf(store, name)) queues.projects.add(below);
      plansOf(project?.spec.owner);
      // If the database lost the project, it lost its commits as well.
      const namespace = project?.status.namespace ?? "";
      for (const commit of commits.store.byIndex(indices.commitsByNamespace, namespace)) {
        queues.commits.add(`${namespace}/${commit.name}`);
      }
    },
    used: (namespace) => {
      const { store: ours } = configMaps.informer;
      for (const { name } of ours.byIndex(indices.configMapsByNamespace, namespace)) {
        queues.configMaps.addAfter(`${namespace}/${name}`, totalsSeconds);
      }
      for (const project of store.byIndex(indices.projectsByNamespace, namespace)) {
        // A deletion may wait for the job that ended.
        if (project.deleting) queues.projects.add(project.name);
        for (const { name, spec } of lineOf(store, project)) {
          queues.projects.addAfter(name, totalsSeconds);
          plansOf(spec.owner);
        }
      }
    },
    granted: ({ kind, name }) => {
      for (const { name: project, spec } of store.values()) {
        if (spec.owner?.kind !== kind || spec.owner.name !== name) continue;
        for (const one of [project, ...descendantsOf(store, project)]) {
          queues.projects.addAfter(one, totalsSeconds);
        }
      }
    },
    plansChanged: (except) => {
      for (const plan of plans.store.values()) {
        if (isRejected(plan) && !except.has(plan.name)) queues.plans.add(plan.name);
      }
    },
  };
}
