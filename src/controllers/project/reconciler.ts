/** Reconciles projects: rows, place in the tree, namespace, role bindings, storages, status; in batches. */
import type { ProjectStatus } from "../../api/generated.ts";
import { readProjectViews } from "../../db/tenants/project-views.ts";
import type { ProjectView } from "../../db/tenants/project-views.ts";
import { byAge } from "../../resources/meta.ts";
import { projects as projectType } from "../../resources/types.ts";
import type { Project } from "../../resources/types.ts";
import type { ReconcileBatch } from "../../runtime/batch-controller.ts";
import { requeueAfter, done, failed } from "../../runtime/result.ts";
import type { ReconcileResult } from "../../runtime/result.ts";
import { each } from "../../runtime/parallel.ts";
import type { Context } from "../context.ts";
import { missingPriorityClasses } from "../references.ts";
import { awaitingResponse, tellFailure, whenSlow } from "../failure.ts";
import { removeProject } from "./deletion.ts";
import { addFinalizer, hasFinalizer, hasOtherFinalizers, projectFinalizer } from "./finalizer.ts";
import { reconcileNamespace, namespaceOf } from "./namespace.ts";
import { asSpecified, isStale, outcome as outcomeOf } from "./outcome.ts";
import type { Outcome } from "./outcome.ts";
import { reconcileRoles } from "./roles.ts";
import { storeProject } from "./store.ts";
import { factsOf, writeOutcome } from "./status.ts";
import { reconcileStorages } from "./storages.ts";
import { lineOf } from "../tree.ts";

/** Obstacles usually disappear with an event; this covers those without one. */
const recheckSeconds = 5;
/** Maximum of projects written at once. */
const writesAtOnce = 48;
/** Maximum of rows written at once; parents still come before their children. */
const rowsAtOnce = 4;

interface Kept {
  readonly obstacle: Outcome | undefined;
  readonly facts: Partial<ProjectStatus>;
}

type Results = Map<string, ReconcileResult>;

/** Works on every project; records failures without stopping the others. */
async function forEach(
  projects: readonly Project[],
  atOnce: number,
  results: Results,
  work: (project: Project) => Promise<ReconcileResult | undefined>,
): Promise<void> {
  await each(projects, atOnce, async (project) => {
    if (results.has(project.name)) return;
    try {
      const result = await work(project);
      if (result) results.set(project.name, result);
    } catch (error) {
      results.set(project.name, isStale(error) ? requeueAfter(1) : failed(error));
    }
  });
}

/** If two projects name one namespace, the one that has it keeps it, even after a loss of the database. */
const hasNamespace = ({ status }: Project): boolean => status.namespace !== undefined;

class Batch {
  readonly #context: Context;
  readonly #signal: AbortSignal;
  readonly #results: Results = new Map();
  readonly #rejections = new Map<string, Outcome>();
  #views = new Map<string, ProjectView>();

  constructor(context: Context, signal: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
  }

  async run(names: readonly string[]): Promise<Results> {
    const { store } = this.#context.informers.projects;
    const projects = names.flatMap((name) => store.get(name) ?? []);
    const blocked = await this.#remove(projects.filter(({ deleting }) => deleting));
    // A project whose deletion is blocked is still reconciled: roles removed from ancestors must disappear here, too.
    const living = [...projects.filter(({ deleting }) => !deleting), ...blocked];
    if (living.length === 0) return this.#results;
    await this.#claim(living);
    await this.#read(living);
    await this.#store(living);
    await this.#converge(living);
    return this.#results;
  }

  /** Returns the projects whose deletion is blocked. */
  async #remove(projects: readonly Project[]): Promise<Project[]> {
    const blocked: Project[] = [];
    await forEach(projects, writesAtOnce, this.#results, async (project) => {
      const obstacle = await removeProject(this.#context, project, this.#signal);
      if (!obstacle) {
        await this.#reportRemoval(project);
        return done();
      }
      this.#rejections.set(project.name, obstacle);
      blocked.push(project);
      return undefined;
    });
    return blocked;
  }

  /** Other finalizers keep the object, so its status is still updated. */
  async #reportRemoval(project: Project): Promise<void> {
    if (!hasOtherFinalizers(project)) return;
    const names = project.finalizers.filter((name) => name !== projectFinalizer).join(", ");
    const left = outcomeOf(
      "Terminating",
      `the project was removed; finalizers keep the object: ${names}`,
    );
    await writeOutcome(this.#context, project, left, {});
  }

  /** Adds the finalizer before anything is created, so that the deletion can clean up. */
  async #claim(projects: readonly Project[]): Promise<void> {
    const unclaimed = projects.filter((project) => !hasFinalizer(project));
    await forEach(unclaimed, writesAtOnce, this.#results, async (project) => {
      await addFinalizer(this.#context, project, this.#signal);
      return undefined;
    });
  }

  async #read(projects: readonly Project[]): Promise<void> {
    const { db, clock, settings } = this.#context;
    const ids = projects.map(({ uid }) => uid);
    const at = { instant: clock.now(), timeZone: settings.timeZone };
    for (const [id, view] of await readProjectViews(db, ids, at)) this.#views.set(id, view);
  }

  /** A child of a project that was made again is a root until it is stored below the new one. */
  #isStored({ uid, generation, spec }: Project): boolean {
    const view = this.#views.get(uid);
    return view?.generation === generation && (view.parent ?? undefined) === spec.parent;
  }

  /** Writes the rows of changed projects, parents first. */
  async #store(projects: readonly Project[]): Promise<void> {
    const { store } = this.#context.informers.projects;
    const stale = projects
      .filter((project) => !this.#isStored(project))
      .toSorted(
        (one, other) =>
          Number(hasNamespace(other)) - Number(hasNamespace(one)) || byAge(one, other),
      );
    if (stale.length === 0) return;
    const byDepth = Map.groupBy(stale, (project) => lineOf(store, project).length);
    for (const depth of [...byDepth.keys()].toSorted((one, other) => one - other)) {
      await forEach(byDepth.get(depth) ?? [], rowsAtOnce, this.#results, async (project) => {
        const rejection = await storeProject(this.#context, project);
        if (rejection) this.#rejections.set(project.name, rejection);
        else this.#tellOthers(project);
        return undefined;
      });
    }
    await this.#read(stale);
  }

  #tellOthers({ name, uid }: Project): void {
    const former = this.#views.get(uid)?.parent;
    this.#context.tenants.changed(name, former ?? undefined);
  }

  async #converge(projects: readonly Project[]): Promise<void> {
    await forEach(projects, writesAtOnce, this.#results, async (project) => {
      const view = this.#views.get(project.uid);
      const rejection = this.#rejections.get(project.name);
      // After a refused change the project stays as it was, and that state is maintained.
      const kept = view && (await this.#keepInTime(project, view));
      const obstacle = rejection ?? kept?.obstacle;
      if (!view && !obstacle) throw new Error(`project ${project.name} was deleted meanwhile`);
      const outcome = obstacle ?? asSpecified(missingPriorityClasses(this.#context, project));
      await writeOutcome(this.#context, project, outcome, kept?.facts ?? {});
      return obstacle ? requeueAfter(recheckSeconds) : done();
    });
  }

  /** A webhook that hangs is told before it has answered. */
  async #keepInTime(project: Project, view: ProjectView): Promise<Kept> {
    const context = this.#context;
    const stop = whenSlow(
      context.clock,
      project,
      () => void tellFailure(context, projectType, project, awaitingResponse),
    );
    try {
      return await this.#keep(project, view);
    } finally {
      stop();
    }
  }

  async #keep(project: Project, view: ProjectView): Promise<Kept> {
    const context = this.#context;
    const signal = this.#signal;
    const facts = factsOf(view);
    const ofNamespace = await reconcileNamespace(context, project, signal);
    if (ofNamespace && !this.#hasNamespace(project, ofNamespace))
      return { obstacle: ofNamespace, facts };
    const ofRoles = await reconcileRoles(context, project, view, signal);
    const ofStorages = await reconcileStorages(context, project, signal);
    return {
      obstacle: ofNamespace ?? ofRoles ?? ofStorages,
      facts: { ...facts, namespace: namespaceOf(project) },
    };
  }

  /** A namespace whose labels cannot be written is the project's all the same: rights in it follow the members. */
  #hasNamespace(project: Project, { reason }: Outcome): boolean {
    if (reason !== "ClusterRejected" && reason !== "ReconcileFailed") return false;
    const namespace = this.#context.owned.namespaces.get(namespaceOf(project));
    return namespace?.project === project.name && !namespace.deleting;
  }
}

/** Reconciles projects by name, many at once; a project's failure does not affect the others. */
export const reconcileProjects =
  (context: Context): ReconcileBatch =>
  (names, signal) =>
    new Batch(context, signal).run(names);
