/**
 * Random sequences of operations on tenants against a small model, with SIGKILL of the operator in between. Afterwards
 * the cluster (namespaces, roles, claims, statuses) and the database agree with the model.
 * ROTA_MODEL_SEED repeats or varies a run, ROTA_MODEL_STEPS and ROTA_MODEL_RUNS make it longer.
 */
import * as fc from "fast-check";
import type { Operator } from "../../../dev/local/operator.ts";
import { readyOf } from "../../../dev/quickstart/cluster-view.ts";
import { isNotFound, KubeError } from "../../../src/kube/errors.ts";
import type { KubeObject, ResourceName } from "../../../src/kube/resource.ts";
import { configCommits, jobs, resourcePlans } from "../../../src/resources/types.ts";
import {
  job,
  plan,
  project,
  startInstallation,
  type Installation,
  usualLease,
} from "../../support/installation.ts";
import {
  find,
  namespaces,
  persistentVolumeClaims,
  projects,
  rolesIn,
  untilGone,
} from "../../support/tenants.ts";

const seed = Number(process.env["ROTA_MODEL_SEED"] ?? 20_261_124);
const steps = Number(process.env["ROTA_MODEL_STEPS"] ?? 40);
const runs = Number(process.env["ROTA_MODEL_RUNS"] ?? 1);
const longMs = 60 * 60_000;

const names = ["p0", "p1", "p2", "p3", "p4"] as const;
const users = ["ann", "bob", "cat"] as const;
const roles = ["viewer", "submitter", "admin"] as const;
const owner = { kind: "User", name: "olga" };

type Name = (typeof names)[number];
interface Member {
  readonly kind: "User";
  readonly name: (typeof users)[number];
  readonly role: (typeof roles)[number];
}

/** What was asked for last; what of it can be is for the model's questions to say. */
interface ProjectModel {
  parent: Name | undefined;
  members: readonly Member[];
  hasStorage: boolean;
  deleting: boolean;
}

class Model {
  readonly projects = new Map<Name, ProjectModel>();
  /** Hours of Monday, [start, end), of plans that exist. */
  readonly plans = new Map<string, readonly [number, number]>();
  /** "namespace/name". */
  readonly commits = new Set<string>();
  /** "namespace/name" of suspended jobs. */
  readonly jobs = new Set<string>();
  /** Namespaces with a claim: they stay when their project goes. */
  readonly claims = new Set<Name>();
  /** Projects that were deleted, and may not be gone yet. */
  readonly leaving = new Set<Name>();
  isUp = true;

  line(name: Name): Name[] {
    const parent = this.projects.get(name)?.parent;
    return parent === undefined ? [name] : [...this.line(parent), name];
  }

  children(name: Name): Name[] {
    return names.filter((other) => this.projects.get(other)?.parent === name);
  }

  rolesIn(name: Name): string[] {
    const greatest = new Map<string, number>();
    for (const above of this.line(name)) {
      for (const member of this.projects.get(above)?.members ?? []) {
        const rank = roles.indexOf(member.role);
        greatest.set(member.name, Math.max(rank, greatest.get(member.name) ?? -1));
      }
    }
    return [...greatest].map(([user, rank]) => `${roles[rank] ?? ""}: User ${user}`).toSorted();
  }

  jobsOf(name: Name): string[] {
    return [...this.jobs].filter((key) => key.startsWith(`${name}/`));
  }

  isBlocked(name: Name): boolean {
    return this.children(name).length > 0 || this.jobsOf(name).length > 0;
  }

  delete(name: Name): void {
    const found = this.projects.get(name);
    if (found) found.deleting = true;
    this.settle();
  }

  /** Projects whose deletion nothing blocks leave, children first, and what is in a namespace without data with it. */
  settle(): void {
    const free = [...this.projects].find(
      ([name, { deleting }]) => deleting && !this.isBlocked(name),
    );
    if (!free) return;
    const [name] = free;
    this.projects.delete(name);
    this.leaving.add(name);
    for (const key of this.commits) {
      if (key.startsWith(`${name}/`) && !this.claims.has(name)) this.commits.delete(key);
    }
    this.settle();
  }
}

/** What the commands work on. */
interface Real {
  readonly installation: Installation;
  operator: Operator | undefined;
}

const isRejectedOrGone = (error: unknown): boolean =>
  isNotFound(error) ||
  (error instanceof KubeError && (error.status === 403 || error.status === 409));

/** True when it was made; a namespace that is not there yet, or is leaving, takes nothing. */
async function made(
  { installation }: Real,
  type: ResourceName,
  object: KubeObject,
): Promise<boolean> {
  try {
    await installation.view.client.create(type, object);
    return true;
  } catch (error) {
    if (isRejectedOrGone(error)) return false;
    throw error;
  }
}

const ignoreGone = (error: unknown): void => {
  if (!isNotFound(error)) throw error;
};

const pathOf = (model: Model, name: Name): string => model.line(name).join(".");

function untilStored({ installation }: Real, model: Model, name: Name): Promise<unknown> {
  const { view } = installation;
  return view.until(`${name} to be stored`, async () => {
    const { rows } = await installation.database.pool.query(
      "SELECT FROM projects WHERE name = $1 AND path::text = $2",
      [name, pathOf(model, name)],
    );
    return rows.length === 1;
  });
}

function untilQueued({ installation }: Real, key: string): Promise<unknown> {
  return installation.view.until(`job ${key} to be queued`, async () => {
    const { rows } = await installation.database.pool.query(
      "SELECT FROM jobs WHERE active_project_id IS NOT NULL AND namespace || '/' || name = $1",
      [key],
    );
    return rows.length === 1;
  });
}

type Command = fc.AsyncCommand<Model, Real>;

class PutProject implements Command {
  readonly #name: Name;
  readonly #model: Omit<ProjectModel, "deleting">;

  constructor(name: Name, wanted: Omit<ProjectModel, "deleting">) {
    this.#name = name;
    this.#model = wanted;
  }

  check(model: Readonly<Model>): boolean {
    const { parent } = this.#model;
    if (model.projects.get(this.#name)?.deleting === true) return false;
    if (!model.isUp && model.leaving.has(this.#name)) return false;
    if (parent === undefined) return true;
    const above = model.projects.get(parent);
    return above?.deleting === false && !model.line(parent).includes(this.#name);
  }

  async run(model: Model, real: Real): Promise<void> {
    const { view } = real.installation;
    const { parent, members, hasStorage } = this.#model;
    if (model.leaving.delete(this.#name)) await untilGone(view, projects, this.#name);
    const storages = [{ name: "data", size: "1Gi", accessMode: "ReadWriteOnce" }];
    await view.apply(
      project(this.#name, {
        owner,
        members,
        ...(parent === undefined ? {} : { parent }),
        ...(hasStorage ? { storages } : {}),
      }),
    );
    if (hasStorage) model.claims.add(this.#name);
    model.projects.set(this.#name, { ...this.#model, deleting: false });
  }

  toString(): string {
    return `put ${this.#name} ${JSON.stringify(this.#model)}`;
  }
}

class DeleteProject implements Command {
  readonly #name: Name;

  constructor(name: Name) {
    this.#name = name;
  }

  /** While the operator is down it is open whether children or jobs are stored before the project is taken down. */
  check(model: Readonly<Model>): boolean {
    if (model.projects.get(this.#name)?.deleting !== false) return false;
    return model.isUp || !model.isBlocked(this.#name);
  }

  async run(model: Model, real: Real): Promise<void> {
    for (const child of model.children(this.#name)) await untilStored(real, model, child);
    for (const key of model.jobsOf(this.#name)) await untilQueued(real, key);
    await real.installation.view.client.delete(projects, this.#name).catch(ignoreGone);
    model.delete(this.#name);
  }

  toString(): string {
    return `delete ${this.#name}`;
  }
}

class PutPlan implements Command {
  readonly #name: string;
  readonly #hours: readonly [number, number];

  constructor(name: string, start: number, length: number) {
    this.#name = name;
    this.#hours = [start, start + length];
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { installation }: Real): Promise<void> {
    const [start, end] = this.#hours.map((hour) => `0${hour}:00`);
    const timeWindows = [{ days: ["Mon"], start, end }];
    await installation.view.apply(plan(this.#name, { owner, timeWindows }));
    model.plans.set(this.#name, this.#hours);
  }

  toString(): string {
    return `plan ${this.#name} ${this.#hours.join("-")}`;
  }
}

class DeletePlan implements Command {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  check(model: Readonly<Model>): boolean {
    return model.plans.has(this.#name);
  }

  async run(model: Model, { installation }: Real): Promise<void> {
    await installation.view.client.delete(resourcePlans, this.#name);
    model.plans.delete(this.#name);
  }

  toString(): string {
    return `delete plan ${this.#name}`;
  }
}

/** A commit, or a suspended job, in a project's namespace. */
class Put implements Command {
  readonly #kind: "commits" | "jobs";
  readonly #namespace: Name;
  readonly #name: string;

  constructor(kind: "commits" | "jobs", namespace: Name, name: string) {
    this.#kind = kind;
    this.#namespace = namespace;
    this.#name = name;
  }

  get #key(): string {
    return `${this.#namespace}/${this.#name}`;
  }

  check(model: Readonly<Model>): boolean {
    return (
      model.projects.get(this.#namespace)?.deleting === false && !model[this.#kind].has(this.#key)
    );
  }

  async run(model: Model, real: Real): Promise<void> {
    const metadata = { namespace: this.#namespace, name: this.#name };
    const isMade =
      this.#kind === "jobs"
        ? await made(
            real,
            jobs,
            job(this.#namespace, this.#name, { gpus: 1, pool: "default", spec: { suspend: true } }),
          )
        : await made(real, configCommits, { metadata, spec: { content: this.#name } });
    if (isMade) model[this.#kind].add(this.#key);
  }

  toString(): string {
    return `put ${this.#kind} ${this.#key}`;
  }
}

class Delete implements Command {
  readonly #kind: "commits" | "jobs";
  readonly #key: string;

  constructor(kind: "commits" | "jobs", namespace: Name, name: string) {
    this.#kind = kind;
    this.#key = `${namespace}/${name}`;
  }

  check(model: Readonly<Model>): boolean {
    return model[this.#kind].has(this.#key);
  }

  async run(model: Model, { installation }: Real): Promise<void> {
    const type = this.#kind === "jobs" ? jobs : configCommits;
    await installation.view.client.delete(type, this.#key).catch(ignoreGone);
    model[this.#kind].delete(this.#key);
    model.settle();
  }

  toString(): string {
    return `delete ${this.#kind} ${this.#key}`;
  }
}

class Kill implements Command {
  check(model: Readonly<Model>): boolean {
    return model.isUp;
  }

  async run(model: Model, real: Real): Promise<void> {
    await real.operator?.kill();
    model.isUp = false;
  }

  toString(): string {
    return "SIGKILL";
  }
}

class Start implements Command {
  check(model: Readonly<Model>): boolean {
    return !model.isUp;
  }

  async run(model: Model, real: Real): Promise<void> {
    real.operator = await real.installation.operate(usualLease);
    model.isUp = true;
  }

  toString(): string {
    return "start";
  }
}

const anyName = fc.constantFrom(...names);
const anyPlan = fc.constantFrom("m0", "m1", "m2");
const anyObject = fc.constantFrom("x", "y");
const anyKind = fc.constantFrom("commits" as const, "jobs" as const);
const anyMembers = fc.uniqueArray(
  fc.record({
    kind: fc.constant("User" as const),
    name: fc.constantFrom(...users),
    role: fc.constantFrom(...roles),
  }),
  { maxLength: 2, selector: ({ name }) => name },
);

const anyPut: fc.Arbitrary<Command> = fc
  .tuple(anyName, fc.option(anyName, { nil: undefined }), anyMembers, fc.boolean())
  .map(
    ([name, parent, members, hasStorage]) => new PutProject(name, { parent, members, hasStorage }),
  );

const commandArbitraries: fc.Arbitrary<Command>[] = [
  anyPut,
  anyPut,
  anyName.map((name) => new DeleteProject(name)),
  fc
    .tuple(anyPlan, fc.nat(5), fc.integer({ min: 1, max: 3 }))
    .map(([name, start, length]) => new PutPlan(name, start, length)),
  anyPlan.map((name) => new DeletePlan(name)),
  fc
    .tuple(anyKind, anyName, anyObject)
    .map(([kind, namespace, name]) => new Put(kind, namespace, name)),
  fc
    .tuple(anyKind, anyName, anyObject)
    .map(([kind, namespace, name]) => new Delete(kind, namespace, name)),
  fc.constant(new Kill()),
  fc.constant(new Start()),
];

/** What the model says of a project that is there, and what cluster and database say, in the same form. */
async function seenProject({ installation }: Real, model: Model, name: Name) {
  const { view, database } = installation;
  const raw = await find(view, projects, name);
  const wanted = model.projects.get(name);
  const rows = await database.pool.query<{ path: string; parent: string | null }>(
    `SELECT project.path::text, parent.name AS parent
     FROM projects AS project LEFT JOIN projects AS parent ON parent.id = project.parent_id
     WHERE project.name = $1`,
    [name],
  );
  if (!wanted) {
    const namespace = await find(view, namespaces, name);
    const isLeaving = namespace === undefined || namespace.metadata.deletionTimestamp !== undefined;
    const isReleased = isLeaving || namespace.metadata.labels?.["rota.dev/project"] === undefined;
    const left = isLeaving ? [] : await rolesIn(view, name);
    return {
      seen: { isThere: raw !== undefined, rows: rows.rows.length, isReleased, left },
      wanted: { isThere: false, rows: 0, isReleased: true, left: [] },
    };
  }
  const found = raw && projects.project(raw);
  const claim = await find(view, persistentVolumeClaims, `${name}/data`);
  const isCurrent = found?.status.observedGeneration === found?.generation;
  return {
    seen: {
      reason: found && readyOf(found)?.reason,
      isCurrent,
      path: rows.rows[0]?.path,
      parent: rows.rows[0]?.parent ?? undefined,
      roles: await rolesIn(view, name),
      status: wanted.deleting
        ? undefined
        : [found?.status.path, found?.status.children, found?.status.members],
      hasClaim: claim !== undefined,
    },
    wanted: {
      reason: wanted.deleting ? "DeletionBlocked" : "Ready",
      isCurrent: true,
      path: pathOf(model, name),
      parent: wanted.parent,
      roles: model.rolesIn(name),
      status: wanted.deleting
        ? undefined
        : [pathOf(model, name), model.children(name).length, model.rolesIn(name).length],
      hasClaim: model.claims.has(name),
    },
  };
}

const overlaps = (one: readonly [number, number], other: readonly [number, number]): boolean =>
  one[0] < other[1] && other[0] < one[1];

/** Each plan is in force as asked for, or collides with one that is; what is in force is the plans' own. */
async function plansAgree({ installation }: Real, model: Model): Promise<boolean> {
  const { view, database } = installation;
  const { rows } = await database.pool.query<{ name: string; start: number; end: number }>(
    `SELECT plan_name AS name, lower(time_window) / 3600 AS start, upper(time_window) / 3600 AS end FROM resource_plans`,
  );
  if (rows.some(({ name }) => !model.plans.has(name))) return false;
  const all = (await view.plans()).filter(({ name }) => model.plans.has(name));
  return all.every((found) => {
    const hours = model.plans.get(found.name);
    const row = rows.find(({ name }) => name === found.name);
    if (!hours || found.status.observedGeneration !== found.generation) return false;
    const isInForce = row?.start === hours[0] && row.end === hours[1];
    const collides = rows.some(
      (other) => other.name !== found.name && overlaps(hours, [other.start, other.end]),
    );
    const reason = readyOf(found)?.reason;
    return isInForce ? reason === "Accepted" : collides && reason === "PlanOverlap";
  });
}

async function keysOf({ installation }: Real, statement: string): Promise<string[]> {
  const { rows } = await installation.database.pool.query<{ key: string }>(statement);
  return rows.map(({ key }) => key).toSorted();
}

const activeJobs =
  "SELECT namespace || '/' || name AS key FROM jobs WHERE active_project_id IS NOT NULL";
const storedCommits = `SELECT project.namespace || '/' || entry.name AS key
  FROM config_commits AS entry JOIN projects AS project ON project.id = entry.project_id
  WHERE entry.removed_at IS NULL`;

async function agree(real: Real, model: Model): Promise<void> {
  const { view } = real.installation;
  const inProjects = (keys: Iterable<string>): string[] =>
    [...keys]
      .filter((key) => [...model.projects.keys()].some((name) => key.startsWith(`${name}/`)))
      .toSorted();
  let difference: unknown;
  const probe = async (): Promise<boolean> => {
    for (const name of names) {
      const { seen, wanted } = await seenProject(real, model, name);
      difference = { name, seen, wanted };
      if (JSON.stringify(seen) !== JSON.stringify(wanted)) return false;
    }
    difference = "plans";
    if (!(await plansAgree(real, model))) return false;
    const sets = {
      jobs: [await keysOf(real, activeJobs), inProjects(model.jobs)],
      commits: [await keysOf(real, storedCommits), inProjects(model.commits)],
    };
    difference = sets;
    return Object.values(sets).every(([seen = [], wanted = []]) => seen.join() === wanted.join());
  };
  await view
    .until("cluster and database to agree with the model", probe)
    .catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(difference, undefined, 2)}`, {
        cause: error,
      });
    });
}

async function clear(real: Real, model: Model): Promise<void> {
  const { view } = real.installation;
  for (const key of model.jobs) await view.client.delete(jobs, key).catch(ignoreGone);
  for (const name of names) await view.client.delete(projects, name).catch(ignoreGone);
  for (const name of model.plans.keys())
    await view.client.delete(resourcePlans, name).catch(ignoreGone);
  for (const name of names) {
    await untilGone(view, projects, name);
    await view.client.delete(namespaces, name).catch(ignoreGone);
    await untilGone(view, namespaces, name);
  }
}

describe("the tenants' cluster state", function () {
  this.timeout(longMs);
  let real: Real;

  before(async () => {
    const installation = await startInstallation();
    await installation.cluster.addNodes({ count: 1, gpus: 8, pool: "default" });
    real = { installation, operator: await installation.operate(usualLease) };
    console.log(
      `      seed ${seed}: set ROTA_MODEL_SEED, ROTA_MODEL_STEPS, ROTA_MODEL_RUNS for others`,
    );
  });
  after(() => real.installation.stop());

  it(`agrees with a model after ${steps} operations and kills`, async () => {
    const commands = fc.commands(commandArbitraries, { maxCommands: steps, size: "max" });
    await fc.assert(
      fc.asyncProperty(commands, async (sequence) => {
        const model = new Model();
        await fc.asyncModelRun(() => ({ model, real }), sequence);
        if (!model.isUp) await new Start().run(model, real);
        await agree(real, model);
        await clear(real, model);
      }),
      // Shrinking would run for hours; the sequence is printed and can be run again by its seed.
      { seed, numRuns: runs, endOnFailure: true },
    );
  });
});
