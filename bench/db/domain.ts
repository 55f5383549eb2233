/** Tree, plans and configurations at size. */
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import { saveCommit } from "../../src/db/configs/commits.ts";
import { replacePlan } from "../../src/db/tenants/plans.ts";
import { ancestors, descendants, roleOf } from "../../src/db/tenants/project-tree.ts";
import { moveSubtree } from "../../src/db/tenants/projects.ts";
import { canonicalizeValue } from "../../src/domain/canonical-json.ts";
import { measure, type Measurement } from "../engine/measure.ts";

const rounds = 20;

/** A tree of 10 x 10 x ... : every project but the leaves has ten children. */
async function fillTree(pool: Pool, projects: number): Promise<void> {
  await pool.query(
    "INSERT INTO projects (id, name, namespace) VALUES (gen_random_uuid(), 't1', 't1')",
  );
  for (let first = 2; first <= projects; first = first * 10 - 8) {
    const last = Math.min(projects, first * 10 - 9);
    await pool.query(
      `
      INSERT INTO projects (id, name, namespace, parent_id)
      SELECT gen_random_uuid(), 't' || place, 't' || place, parent.id
      FROM generate_series($1::int, $2::int) AS place
      JOIN projects AS parent ON parent.name = 't' || ((place - 2) / 10 + 1)
      `,
      [first, last],
    );
  }
  await pool.query("VACUUM ANALYZE projects");
}

async function idOf(pool: Pool, name: string): Promise<string> {
  const { rows } = await pool.query<{ id: string }>("SELECT id FROM projects WHERE name = $1", [
    name,
  ]);
  return rows[0]?.id ?? "";
}

export async function measureTree(pool: Pool, projects: number): Promise<Measurement[]> {
  await fillTree(pool, projects);
  const leaf = await idOf(pool, `t${projects}`);
  const subtree = await idOf(pool, "t12");
  const large = await idOf(pool, "t2");
  let turn = 0;
  return [
    await measure(`ancestors of a leaf, ${projects} projects`, rounds, () => ancestors(pool, leaf)),
    await measure("role in a leaf", rounds, () => roleOf(pool, leaf, { user: "u", groups: ["g"] })),
    await measure("descendants, a hundredth of the tree", rounds, () => descendants(pool, subtree)),
    await measure("MoveSubtree, a tenth of the tree", 6, () =>
      moveSubtree(pool, large, turn++ % 2 === 0 ? "t3" : "t1"),
    ),
  ];
}

export async function measurePlans(pool: Pool, plans: number): Promise<Measurement[]> {
  await pool.query(
    `
    INSERT INTO resource_plans (
      plan_uid, plan_name, resource_owner_id, resource_type, pool, quantity, time_window, generation
    )
    SELECT gen_random_uuid(), 'plan-' || place, owner.id, 'GPU', 'default', 4,
      int4range(place % 100 * 6000, place % 100 * 6000 + 6000), 1
    FROM generate_series(0, $1::int - 1) AS place
    JOIN (
      SELECT number, ensure_owner('Group', 'owner-' || number) AS id FROM generate_series(0, $1::int / 100) AS number
    ) AS owner ON owner.number = place / 100
    `,
    [plans],
  );
  await pool.query("VACUUM ANALYZE resource_plans");
  let generation = 1;
  const plan = {
    uid: randomUUID(),
    name: "measured",
    owner: { kind: "Group" as const, name: "measured" },
    resourceType: "GPU" as const,
    pool: "default",
    quantity: 8,
    onWindowClose: "Finish" as const,
    windows: [{ days: ["Mon", "Tue", "Wed", "Thu", "Fri"] as const, start: "08:00", end: "18:00" }],
  };
  return [
    await measure(`plan upsert of five windows among ${plans}`, rounds, () => {
      generation += 1;
      return replacePlan(pool, { ...plan, generation });
    }),
  ];
}

export async function measureConfigs(pool: Pool, projectId: string): Promise<Measurement[]> {
  const layers = Array.from({ length: 200 }, (_, layer) => ({
    layer,
    units: 512,
    activation: "relu",
  }));
  const commit = (content: object) =>
    saveCommit(
      pool,
      {
        id: randomUUID(),
        projectId,
        name: randomUUID(),
        content: canonicalizeValue({ layers, ...content }),
        author: "ann",
        message: "",
      },
      { commits: 100_000, bytes: 2 ** 32 },
    );
  let run = 0;
  return [
    await measure("config save, new content of 10 KB", rounds, () => commit({ run: (run += 1) })),
    await measure("config save, known content of 10 KB", rounds, () => commit({ run: 1 })),
  ];
}
