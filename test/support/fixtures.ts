/** Rows to start tests with; defaults cover everything that a test does not set. */
import { randomUUID } from "node:crypto";
import type { Queryable } from "../../src/db/client/types.ts";
import { type NodeInput, upsertNode } from "../../src/db/mirrors/nodes.ts";
import { upsertProject, type ProjectInput } from "../../src/db/tenants/projects.ts";
import type { PodUsage } from "../../src/domain/pod-usage.ts";
import type { DatabasePool } from "../../src/db/client/connection-pool.ts";
import type { Admission } from "../../src/db/jobs/admit.ts";
import { preempt } from "../../src/db/jobs/preempt.ts";
import { insertJob, type NewJob } from "../../src/db/jobs/queue.ts";

const gibibyte = 2 ** 30;

/** Under ResourceQuotas, except those of the number of pods. */
export const countsForNothing: PodUsage = {
  requests: {},
  limits: {},
  scopes: ["NotTerminating", "BestEffort"],
  priorityClassName: "",
};

export const monday = Temporal.Instant.from("2026-06-01T00:00:00Z");

/** Creates a project; returns its id. */
export async function addProject(
  pool: DatabasePool,
  name: string,
  input: Partial<ProjectInput> = {},
): Promise<string> {
  const id = input.id ?? randomUUID();
  await upsertProject(pool, {
    id,
    name,
    namespace: name,
    podSecurity: "restricted",
    members: [],
    storages: [],
    ...input,
  });
  return id;
}

/** Creates a node of pool "default" with the given GPUs, 64 cores, 256 GiB, 110 pods. */
export async function addNode(
  db: Queryable,
  name: string,
  gpus: number,
  pool = "default",
  input: Partial<NodeInput> = {},
): Promise<void> {
  await upsertNode(db, {
    name,
    uid: randomUUID(),
    pool,
    schedulable: true,
    labels: {},
    taints: [],
    allocatable: { gpus, cpuMillis: 64_000, memoryBytes: 256 * gibibyte, pods: 110 },
    unhealthyGpus: 0,
    otherUsage: { gpus: 0, cpuMillis: 0, memoryBytes: 0, pods: 0 },
    ...input,
  });
}

export function newJob(projectId: string, input: Partial<NewJob> = {}): NewJob {
  const id = input.id ?? randomUUID();
  return {
    id,
    projectId,
    namespace: "team",
    name: `job-${id.slice(0, 8)}`,
    pool: "default",
    priority: 0,
    priorityClass: "normal",
    preempts: false,
    parallelism: 1,
    perPod: { gpus: 1, cpuMillis: 1000, memoryBytes: gibibyte },
    podUsage: countsForNothing,
    allowsBorrowing: true,
    backoffLimit: 3,
    suspended: false,
    queuedAt: monday,
    nodeSelector: {},
    tolerations: [],
    storages: [],
    ...input,
  };
}

/** Reserves capacity for a waiting job, as after a preemption whose victims are gone; false if it does not wait. */
export function reserve(db: Queryable, job: Admission, reservationSeconds = 60): Promise<boolean> {
  return preempt(db, {
    id: randomUUID(),
    pool: "default",
    preemptor: { ...job, reservationSeconds },
    rule: "LowerPriority",
    reason: "reserved by a test",
    alternatives: [],
    victims: [],
  });
}

/** Queues a job; returns its id. */
export async function addJob(
  db: Queryable,
  projectId: string,
  input: Partial<NewJob> = {},
): Promise<string> {
  const job = newJob(projectId, input);
  await insertJob(db, job);
  return job.id;
}

/** The error that a promise rejects with. Fails if it resolves. */
export async function rejection(
  promise: Promise<unknown>,
): Promise<Error & { readonly code?: string }> {
  const settled = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (settled instanceof Error) return settled;
  throw new Error("expected a rejection");
}
