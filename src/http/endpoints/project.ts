/** One project: its settings in effect and its place in the tree. */
import { ancestors, descendants, settingsInEffect } from "../../db/tenants/project-tree.ts";
import { readProject } from "../../db/tenants/projects.ts";
import { HttpProblem } from "../problem.ts";
import type { ApiContext, Handler } from "./types.ts";

/** Bounds the answer. */
const maxDescendants = 1000;

/** Ancestors and descendants are limited to those that the caller may see. */
export const project =
  ({ db, access }: ApiContext): Handler<"project"> =>
  async ({ caller, parameters }) => {
    const { id, name, namespace } = await readProject(db, parameters.project);
    const visible = await access.visibleNamespaces(caller);
    const mayBeSeen = (one: { readonly namespace: string }): boolean =>
      visible === null || visible.includes(one.namespace);
    if (!mayBeSeen({ namespace })) throw new HttpProblem("NotFound", `no project ${name}`);
    const settings = await settingsInEffect(db, id);
    const above = (await ancestors(db, id)).filter(mayBeSeen);
    const below = (await descendants(db, id)).filter(mayBeSeen);
    return {
      name,
      namespace,
      owner: settings?.owner ?? null,
      borrowing: settings?.borrowing ?? "Allow",
      priorityClasses: settings?.priorityClasses ? [...settings.priorityClasses] : null,
      ancestors: above.map((one) => one.name),
      descendants: {
        total: below.length,
        items: below.slice(0, maxDescendants).map((one) => one.name),
      },
    };
  };
