/** The project tree in the cache: which projects a change affects. */
import type { Project } from "../../resources/types.ts";
import type { Store } from "../../runtime/store.ts";
import { indices } from "../context.ts";

type Projects = Store<Project>;

/** Names of the descendants; their roles and paths depend on the project. */
export function descendantsOf(projects: Projects, name: string): string[] {
  const found = new Set<string>();
  const walk = (parent: string): void => {
    for (const child of projects.byIndex(indices.projectsByParent, parent)) {
      if (found.has(child.name)) continue;
      found.add(child.name);
      walk(child.name);
    }
  };
  walk(name);
  return [...found];
}

/** The project and its ancestors, nearest first; a cycle ends the walk. */
export function lineOf(projects: Projects, project: Project): Project[] {
  const line = new Map<string, Project>();
  let current: Project | undefined = project;
  while (current !== undefined && !line.has(current.name)) {
    line.set(current.name, current);
    const parent: string | undefined = current.spec.parent;
    current = parent === undefined ? undefined : projects.get(parent);
  }
  return [...line.values()];
}
