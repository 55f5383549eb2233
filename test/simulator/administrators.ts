/** Administrators: they make the tree and its plans, and change both while jobs run. */
import { moveSubtree } from "../../src/db/tenants/projects.ts";
import type { Queryable } from "../../src/db/client/types.ts";
import {
  firstPlans,
  owners,
  type SimulatedPlan,
  tree,
  writePlan,
  writeProject,
} from "./topology.ts";
import type { Stage } from "./context.ts";

export class Administrators {
  readonly #stage: Stage;
  readonly #projects = new Map<string, string>();
  readonly #plans = new Map<string, SimulatedPlan & { uid: string; generation: number }>();

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Ids by name. */
  get projects(): ReadonlyMap<string, string> {
    return this.#projects;
  }

  get plans(): readonly SimulatedPlan[] {
    return [...this.#plans.values()];
  }

  async begin(): Promise<void> {
    const { db, random, timeline } = this.#stage;
    for (const project of tree) {
      const id = random.uuid();
      this.#projects.set(project.name, id);
      await writeProject(db, id, project);
    }
    for (const plan of firstPlans) {
      const uid = random.uuid();
      this.#plans.set(plan.name, { ...plan, uid, generation: 1 });
      await writePlan(db, uid, plan, 1);
    }
    timeline.often("a plan changes", 14_400, () => this.changePlan());
    timeline.often("the tree changes", 28_800, () => this.changeTree());
  }

  async changePlan(): Promise<void> {
    const { db, random } = this.#stage;
    const plan = random.some([...this.#plans.values()]);
    if (!plan) return;
    const quantity = Math.max(0, plan.quantity + random.whole(-6, 6));
    const next = { ...plan, quantity, generation: plan.generation + 1 };
    await writePlan(db, plan.uid, next, next.generation);
    this.#plans.set(plan.name, next);
  }

  async changeTree(db: Queryable = this.#stage.db): Promise<void> {
    const { random } = this.#stage;
    if (random.chance(0.5)) {
      const parent = random.of(["research", "product", "company"]);
      await moveSubtree(db, this.#projects.get("vision") ?? "", parent);
      return;
    }
    const owner = random.of(owners);
    const project = this.#projects.get(random.of(["vision-video", "product"]));
    await db.query("UPDATE projects SET owner_id = ensure_owner('Group', $2) WHERE id = $1", [
      project,
      owner,
    ]);
  }
}
