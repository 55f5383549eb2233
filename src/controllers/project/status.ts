/** The status of a Project. */
import { conditionsOf, projectTable } from "../../api/conditions.ts";
import type { ProjectStatus } from "../../api/generated.ts";
import type { ProjectView } from "../../db/tenants/project-views.ts";
import { projects } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { Context } from "../context.ts";
import { writeStatus } from "../report.ts";
import type { Outcome } from "./outcome.ts";

/** The status fields that come from the view. Pure. */
export const factsOf = (view: ProjectView): Partial<ProjectStatus> => ({
  path: view.path,
  children: view.children,
  members: view.members.length,
  gpusRunning: view.gpusRunning,
  gpusPending: view.gpusPending,
  gpusPlanned: view.gpusPlanned,
});

/** Writes the conditions of the outcome, the facts and observedGeneration. */
export async function writeOutcome(
  context: Context,
  project: Project,
  outcome: Outcome,
  facts: Partial<ProjectStatus>,
): Promise<void> {
  const health = projectTable[outcome.reason];
  const status = {
    ...project.status,
    ...facts,
    observedGeneration: project.generation,
    conditions: conditionsOf(project, health, outcome, context.clock.now()),
  };
  await writeStatus(context, projects, project, status);
}
