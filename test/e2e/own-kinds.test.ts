/**
 * Random Projects, ResourcePlans, Jobs and ConfigCommits: each that the API server accepts has a status of its generation
 * within bounded time, also after a change and while it is being deleted, and work beside them goes on.
 */
import { expect } from "chai";
import type { Condition } from "../../src/api/conditions.ts";
import { isNotFound, KubeError } from "../../src/kube/errors.ts";
import { keyOf } from "../../src/kube/resource.ts";
import type { KubeObject, ResourceName } from "../../src/kube/resource.ts";
import { configCommits, jobs, projects, resourcePlans } from "../../src/resources/types.ts";
import { commit, job, owner, plan, project, usualLease } from "../support/installation.ts";
import { drawsOf } from "../support/odd-objects.ts";
import { propertyRuns } from "../support/property.ts";
import { SchemaMutations } from "../support/schema-mutations.ts";
import { useTeam } from "../support/team.ts";

interface Seen extends KubeObject {
  readonly status?: {
    readonly observedGeneration?: number;
    readonly conditions?: readonly Condition[];
  };
}

interface Made {
  readonly type: ResourceName;
  readonly key: string;
}

const keep = "test.rota.dev/keep";
const leastAccepted = 0.3;
const batchSize = 40;

/** Valid objects, each with its number in the name. */
const seeds: readonly (readonly [ResourceName, (name: string) => KubeObject])[] = [
  [projects, (name) => project(name, { owner, storages: [{ name: "home", size: "1Gi" }] })],
  [
    resourcePlans,
    (name) =>
      plan(name, {
        owner: { kind: "Group", name },
        pool: "odd",
        timeWindows: [{ days: ["Mon"], start: "08:00", end: "18:00" }],
      }),
  ],
  [
    jobs,
    (name) =>
      job("team", name, {
        pool: "odd",
        gpus: 1,
        priorityClassName: "low",
        spec: { maxRuntime: "90m", configRef: { commit: "seed" } },
      }),
  ],
  [configCommits, (name) => commit(name, { content: { name }, message: "why", parent: "seed" })],
];

/** Why the object has no status as it should; undefined when it has. */
function lackOf({ metadata, status }: Seen): string | undefined {
  const { generation = 0 } = metadata;
  if (status?.observedGeneration !== generation)
    return `generation ${generation}, observed ${status?.observedGeneration}`;
  const ready = status.conditions?.find(({ type }) => type === "Ready");
  if (ready === undefined) return "no condition Ready";
  if (ready.observedGeneration !== generation) return "a condition Ready of another generation";
  return ready.message === "" ? "a condition Ready without a message" : undefined;
}

describe("objects of our own kinds", function () {
  this.timeout(0);
  const team = useTeam({ mayBeRejected: true, operator: usualLease });

  before(async () => {
    for (const pool of ["sane", "odd"]) await team.pool(pool);
    await team.view.apply(commit("seed", { content: {} }));
  });

  const read = async ({ type, key }: Made): Promise<Seen | undefined> => {
    try {
      return await team.view.client.get(type, key);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };

  /** The objects that lack a status, told by what they lack. */
  async function untilTold(made: readonly Made[], when: string): Promise<void> {
    let lacking = made;
    let reasons: string[] = [];
    const all = async (): Promise<boolean> => {
      const still: Made[] = [];
      reasons = [];
      for (const one of lacking) {
        const found = await read(one);
        const lack = found && lackOf(found);
        if (lack === undefined) continue;
        still.push(one);
        reasons.push(`${one.type.kind} ${one.key}: ${lack}: ${JSON.stringify(found?.["spec"])}`);
      }
      lacking = still;
      return still.length === 0;
    };
    await team.view.until(`a status ${when}`, all).catch((error: unknown) => {
      throw new Error(`without a status ${when}:\n${reasons.join("\n")}`, { cause: error });
    });
  }

  async function tryTo(work: () => Promise<unknown>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      // A refusal is an answer; what the API server itself cannot do is none.
      if (error instanceof KubeError && error.status >= 400 && error.status < 500) return false;
      throw error;
    }
  }

  const withKeep = (object: KubeObject): KubeObject => ({
    ...object,
    metadata: { ...object.metadata, finalizers: [keep] },
  });

  async function release(one: Made): Promise<void> {
    const found = await read(one);
    if (found === undefined) return;
    const finalizers = (found.metadata.finalizers ?? []).filter((name) => name !== keep);
    const { resourceVersion } = found.metadata;
    const patch = { metadata: { resourceVersion, finalizers } };
    await tryTo(() => team.view.client.patch(one.type, one.key, patch)).then((done) =>
      done ? undefined : release(one),
    );
  }

  it("have a status, whatever the API server accepts", async () => {
    const { numRuns = 0, seed = 0 } = propertyRuns<[]>(200);
    const mutations = new SchemaMutations(drawsOf(seed));
    const { client } = team.view;
    const accepted = new Map<string, number>();
    let changed = 0;
    for (let at = 0; at < numRuns; at += batchSize) {
      const made: (Made & { readonly object: KubeObject })[] = [];
      for (let one = at; one < Math.min(at + batchSize, numRuns); one += 1) {
        const [type, make] = seeds[one % seeds.length] ?? [
          jobs,
          () => job("team", "x", { pool: "odd", gpus: 1 }),
        ];
        const object = withKeep(mutations.mutated(make(`own-${seed % 1000}-${one}`)));
        if (!(await tryTo(() => client.create(type, object)))) continue;
        made.push({ type, key: keyOf(object), object });
        accepted.set(type.kind, (accepted.get(type.kind) ?? 0) + 1);
      }
      await untilTold(made, "after creation");
      for (const { type, key, object } of made) {
        const { spec } = mutations.mutated(object) as { spec?: unknown };
        if (await tryTo(() => client.patch(type, key, { spec }))) changed += 1;
      }
      await untilTold(made, "after a change");
      for (const { type, key } of made) await tryTo(() => client.delete(type, key));
      await untilTold(made, "while being deleted");
      await Promise.all(made.map(release));
    }
    const total = [...accepted.values()].reduce((sum, one) => sum + one, 0);
    const kinds = [...accepted].map(([kind, of]) => `${kind} ${of}`).join(", ");
    console.log(`      accepted ${total} of ${numRuns} (${kinds}), and ${changed} changes`);
    expect(total / numRuns).to.be.at.least(leastAccepted);
  });

  it("are no obstacle to an ordinary job", async () => {
    const { status } = await team.run("ordinary", { pool: "sane" });
    expect(status.attempt).to.equal(1);
  });
});
