/**
 * The JSON of the HTTP API. Each schema validates requests, strips unknown fields from answers, and is part of the
 * OpenAPI document. Clients import the types only.
 */
import { z } from "zod";

/** Schemas with their own name in the OpenAPI document. */
export const components = z.registry<{ id: string }>();

function named<Schema extends z.ZodType>(id: string, schema: Schema): Schema {
  components.add(schema, { id });
  return schema;
}

/** Maximum and default page size. */
export const maxPerPage = 500;
export const usualPerPage = 100;

const instant = z.iso.datetime({ offset: true });

const [firstYear, lastYear] = [1, 9999];
/** Undefined for what the calendar does not have: later checks see refused texts, too. */
function utcOf(text: string): string | undefined {
  try {
    const time = Temporal.Instant.from(text);
    const { year } = time.toZonedDateTimeISO("UTC");
    return year >= firstYear && year <= lastYear ? time.toString() : undefined;
  } catch {
    return undefined;
  }
}
/** A time in a request, in UTC: PostgreSQL has no year 0, and its offsets are below 16 hours. */
export const requestedTime = instant
  .refine((text) => utcOf(text) !== undefined, `must be in the years ${firstYear} to ${lastYear}`)
  .overwrite((text) => utcOf(text) ?? text);

const count = z.int().min(0);

export const dnsLabel = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "must be a DNS label");
/** Names of custom resources are DNS subdomains. */
export const objectName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, "must be an object name");
export const poolName = z.string().min(1).max(63);
export const subjectName = z.string().min(1).max(253);

export const page = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(maxPerPage)
    .default(usualPerPage)
    .describe("Maximum number of items on a page"),
  cursor: z
    .string()
    .max(2000)
    .optional()
    .describe("`next` of the previous page; absent for the first page"),
});

const next = z.string().nullable().describe("Cursor of the next page; null on the last page");

const owner = named(
  "Owner",
  z.object({ kind: z.enum(["User", "Group"]), name: z.string() }).describe("A user or a group"),
);

const amounts = named(
  "Amounts",
  z
    .object({
      gpus: z.number(),
      cpuMillis: z.number(),
      memoryBytes: z.number(),
      pods: z.number(),
      byName: z
        .record(z.string(), z.number())
        .optional()
        .describe("Other resources by their Kubernetes names, if any"),
    })
    .describe("An amount of each resource"),
);

const placement = named(
  "Placement",
  z.object({ node: z.string(), pods: count }).describe("Pods of a gang on a node"),
);

const jobState = z.enum([
  "Pending",
  "Reserved",
  "Starting",
  "Running",
  "Evicting",
  "Evicted",
  "Succeeded",
  "Failed",
  "Cancelled",
]);

export const whoAmI = named(
  "WhoAmI",
  z
    .object({
      user: z.string(),
      groups: z.array(z.string()),
      by: z.enum(["token", "certificate"]).describe("The kind of credential"),
    })
    .describe("The caller's identity in the cluster"),
);

export const queuedJob = named(
  "QueuedJob",
  z
    .object({
      pool: z.string(),
      position: count.describe("Position in the pool's queue, from 1"),
      namespace: z.string(),
      name: z.string(),
      priority: z.int(),
      priorityClass: z.string(),
      state: z.enum(["Pending", "Evicted"]),
      reason: z.string().nullable(),
      message: z.string().nullable(),
      gpus: count,
      pods: count,
      attempt: count,
      queuedAt: instant.describe("Unchanged by evictions and retries"),
      notBefore: instant.nullable().describe("End of the back-off after a failure"),
    })
    .describe("A waiting job"),
);
export const queuePage = named("QueuePage", z.object({ items: z.array(queuedJob), next }));

const resourceType = z.string().describe("GPU, CPU, memory, or the name of an extended resource");

const quota = named(
  "Quota",
  z
    .object({
      owner,
      resourceType,
      quantity: z.number().describe("What the plans grant now, in GPUs, cores, GiB or devices"),
      usage: z.number().describe("Used by running jobs within quota, in the same unit"),
      borrowed: z.number().describe("Used by borrowing jobs"),
      leaving: z.number().describe("Used by evicted jobs whose pods are not gone yet"),
      demand: z.number().describe("What this job requests"),
      exceeded: z.boolean().describe("Whether the job would exceed it"),
      plans: z.array(z.string()),
      opens: z.string().nullable().describe("When a closed window opens, as text"),
      evictsInSeconds: z
        .number()
        .nullable()
        .describe("Seconds until an open window closes and evicts"),
    })
    .describe("The quota of an owner's plans and its usage"),
);

const nodeAnswer = named(
  "NodeAnswer",
  z
    .object({
      node: z.string(),
      fits: count.describe("Number of the job's pods that fit now"),
      free: amounts.describe("Free capacity for a job that starts now"),
      rejection: z
        .enum(["Unschedulable", "Avoided", "NodeSelector", "Taint", "Affinity", "Storage", "Full"])
        .nullable()
        .describe("Why no pod of the job can start there; null if one can"),
      message: z.string().nullable(),
    })
    .describe("A node's capacity for the job"),
);

const nodesOfHidden = "Empty if the caller may see neither the job nor nodes";

const candidate = named(
  "Candidate",
  z
    .object({
      job: z.string().nullable().describe("namespace/name; null if the caller may not see it"),
      priority: z.int(),
      borrowing: z.boolean(),
      gpus: count,
      pods: count,
      nodes: z.array(z.string()).describe(nodesOfHidden),
      rule: z
        .enum(["BorrowerReclaimed", "LowerPriority", "OwnQuota"])
        .describe("The rule that allows its eviction for this job"),
      chosen: z.boolean().describe("Whether the next decision evicts it"),
    })
    .describe("A job that may be evicted"),
);

const verdict = named(
  "Verdict",
  z
    .object({
      kind: z.enum(["admit", "activate", "release", "preempt", "wait"]),
      reason: z.string().nullable(),
      message: z.string().nullable(),
      borrowing: z.boolean().nullable(),
      placements: z.array(placement).describe("Nodes chosen for its pods"),
    })
    .describe("The next decision for the job, if nothing changes"),
);

export const whyAnswer = named(
  "Why",
  z
    .object({
      namespace: z.string(),
      name: z.string(),
      pool: z.string(),
      state: jobState,
      reason: z.string().nullable(),
      message: z.string().nullable(),
      priority: z.int(),
      priorityClass: z.string(),
      attempt: count,
      borrowing: z.boolean(),
      suspended: z.boolean(),
      parallelism: count,
      perPod: amounts,
      queuedAt: instant,
      startedAt: instant.nullable(),
      placements: z.array(placement).describe("Nodes of its pods, or of its reservation"),
      position: count.nullable().describe("Position in the pool's queue; null if it does not wait"),
      isBeyondClaim: z
        .boolean()
        .describe("Whether too many jobs are ahead of it for a cycle to consider it"),
      verdict: verdict.nullable().describe("Null if the job does not wait"),
      quotas: z.array(quota),
      nodes: z.object({
        total: count,
        accepting: count.describe(
          "Nodes that match the job's node selector, affinity and tolerations",
        ),
        items: z
          .array(nodeAnswer)
          .describe("Closest to a fit first; bounded; empty if the caller may not list nodes"),
      }),
      candidates: z.object({
        total: count,
        items: z.array(candidate).describe("In order of preference; bounded"),
      }),
      decidedAt: instant.describe("Time of the snapshot"),
    })
    .describe("Why a job waits, computed from the scheduler's snapshot"),
);

export const treeItem = named(
  "TreeItem",
  z
    .object({
      name: z.string(),
      parent: z.string().nullable(),
      path: z.string().describe("Labels from the root down, as in ltree"),
      depth: count.describe("0 for a root"),
      namespace: z.string(),
      owner: owner.nullable().describe("Owner of the nearest ancestor that has one"),
      gpusPlanned: z
        .number()
        .nullable()
        .describe("GPUs that the owner's plans grant now in all pools; null without a plan"),
      gpusRunning: count.describe("Of the project and its descendants"),
      gpusPending: count,
      gpusBorrowed: count,
      jobsRunning: count,
      jobsPending: count,
    })
    .describe("A project with the usage of its subtree"),
);
export const treePage = named("TreePage", z.object({ items: z.array(treeItem), next }));

export const projectDetail = named(
  "ProjectDetail",
  z
    .object({
      name: z.string(),
      namespace: z.string(),
      owner: owner.nullable().describe("Own or inherited"),
      borrowing: z.enum(["Allow", "Deny"]).describe("Own or inherited"),
      priorityClasses: z.array(z.string()).nullable().describe("Own or inherited; null: all"),
      ancestors: z.array(z.string()).describe("Visible ancestors, the root first"),
      descendants: z
        .object({ total: count, items: z.array(z.string()) })
        .describe("Visible descendants, parents before their children; at most 1000 items"),
    })
    .describe("A project with its settings in effect and its place in the tree"),
);
export type ProjectDetail = z.infer<typeof projectDetail>;

export const planWindow = named(
  "PlanWindow",
  z
    .object({
      owner,
      plan: z.string(),
      resourceType,
      pool: z.string(),
      quantity: count.describe("GPUs, cores, GiB of memory, or devices"),
      startSecond: count.describe("Second of the week, 0 is Monday 00:00"),
      endSecond: count.describe("Exclusive"),
      text: z.string().describe("The window as text"),
      onWindowClose: z.enum(["Finish", "Evict"]),
    })
    .describe("A window of a plan"),
);
export const planPage = named(
  "PlanPage",
  z.object({
    timeZone: z.string().describe("IANA time zone of the windows"),
    items: z.array(planWindow),
    next,
  }),
);

const gauge = named(
  "Gauge",
  z
    .object({
      allocatable: amounts,
      committed: amounts.describe("Used by Rota's pods, including terminating ones"),
      otherUsage: amounts.describe("Used by other pods"),
      reserved: amounts.describe("Reserved for jobs that wait for preemption"),
    })
    .describe("Capacity and usage"),
);
export const poolUsage = named(
  "PoolUsage",
  z.object({
    pool: z.string(),
    nodes: count,
    schedulable: count,
    jobsRunning: count,
    jobsPending: count,
    gpusBorrowed: count,
    gpusPending: count,
    usage: gauge,
  }),
);
export const poolPage = named("PoolPage", z.object({ items: z.array(poolUsage), next }));
export const nodeUsage = named(
  "NodeUsage",
  z.object({
    node: z.string(),
    pool: z.string(),
    schedulable: z.boolean(),
    jobs: count,
    usage: gauge,
  }),
);
export const nodePage = named("NodePage", z.object({ items: z.array(nodeUsage), next }));

const victim = named(
  "Victim",
  z
    .object({
      job: z.string().nullable().describe("namespace/name; null when the caller may not see it"),
      attempt: count,
      pods: count,
      gpus: count,
      nodes: z.array(z.string()).describe(nodesOfHidden),
      rule: z.string(),
      outcome: z.enum(["Evicted", "Finished", "Cancelled", "EvictionCancelled"]).nullable(),
      evictedAt: instant.nullable(),
    })
    .describe("An evicted or evicting job"),
);
export const preemption = named(
  "Preemption",
  z
    .object({
      id: z.uuid(),
      decidedAt: instant,
      pool: z.string(),
      preemptor: z
        .string()
        .nullable()
        .describe("namespace/name; null if a window closed or the caller may not see it"),
      rule: z.string(),
      reason: z.string().describe("Names only jobs that the caller may see"),
      outcome: z.enum(["Started", "Released", "Ended"]).nullable(),
      settledAt: instant.nullable(),
      victims: z.array(victim),
      alternatives: z
        .array(z.object({ description: z.string().nullable(), pods: count }))
        .describe("Victim sets that were considered and not chosen"),
    })
    .describe("A preemption decision"),
);
export const preemptionPage = named(
  "PreemptionPage",
  z.object({ items: z.array(preemption), next }),
);

export const usageRow = named(
  "UsageRow",
  z
    .object({
      project: z.string().optional(),
      subtree: z.string().optional().describe("A project with its descendants"),
      owner: owner.nullable().optional().describe("Null if no ancestor had one"),
      pool: z.string().optional(),
      day: z.iso.date().optional(),
      attempts: count.describe("Attempts with any usage"),
      gpuSeconds: z.number(),
      borrowedGpuSeconds: z.number().describe("Of these, over quota"),
      cpuSeconds: z.number(),
      borrowedCpuSeconds: z.number(),
    })
    .describe("A sum with the requested grouping keys"),
);
export const usageReport = named(
  "UsageReport",
  z.object({
    since: instant,
    until: instant.describe("The same on all pages"),
    timeZone: z.string().describe("IANA time zone of the calendar days"),
    items: z.array(usageRow).describe("Only rows with usage"),
    next,
  }),
);

const commitFields = {
  name: z.string(),
  hash: z.string(),
  parent: z.string().nullable(),
  author: z.string(),
  message: z.string(),
  tag: z.string().nullable(),
  createdAt: instant,
};
export const commit = named("Commit", z.object(commitFields));
export const commitLog = named("CommitLog", z.object({ items: z.array(commit), next }));
export const commitContent = named(
  "CommitContent",
  z.object({ ...commitFields, content: z.unknown().describe("Any JSON value") }),
);
export const commitDiff = named(
  "CommitDiff",
  z.object({
    from: z.string(),
    to: z.string(),
    patch: z
      .array(
        z.object({
          op: z.string(),
          path: z.string(),
          from: z.string().optional(),
          value: z.unknown().optional(),
        }),
      )
      .describe("JSON Patch (RFC 6902)"),
  }),
);

export const roleAnswer = named(
  "RoleAnswer",
  z
    .object({
      project: z.string(),
      user: z.string(),
      groups: z.array(z.string()),
      role: z.enum(["viewer", "submitter", "admin"]).nullable(),
      owner: z
        .boolean()
        .describe("Whether the project uses the subject's plans; ownership grants no role"),
      may: z
        .object({
          view: z.boolean(),
          submit: z.boolean(),
          administer: z.boolean(),
        })
        .describe("By the role or the cluster's RBAC"),
    })
    .describe("A subject's role in a project, direct or inherited, and its rights there"),
);

export const problem = named(
  "Problem",
  z
    .object({
      type: z.string().describe("URI reference of the problem type"),
      title: z.string(),
      status: z.int(),
      code: z.string().describe("Stable, for programs"),
      detail: z.string().describe("The cause and the remedy"),
      instance: z.string().optional(),
    })
    .describe("An error (RFC 9457)"),
);

export type WhoAmI = z.infer<typeof whoAmI>;
export type QueuePage = z.infer<typeof queuePage>;
export type Why = z.infer<typeof whyAnswer>;
export type TreeItem = z.infer<typeof treeItem>;
export type TreePage = z.infer<typeof treePage>;
export type PlanWindowAnswer = z.infer<typeof planWindow>;
export type PlanPage = z.infer<typeof planPage>;
export type PoolUsage = z.infer<typeof poolUsage>;
export type PoolPage = z.infer<typeof poolPage>;
export type NodeUsage = z.infer<typeof nodeUsage>;
export type NodePage = z.infer<typeof nodePage>;
export type Preemption = z.infer<typeof preemption>;
export type PreemptionPage = z.infer<typeof preemptionPage>;
export type UsageRow = z.infer<typeof usageRow>;
export type UsageReport = z.infer<typeof usageReport>;
export type CommitLog = z.infer<typeof commitLog>;
export type CommitContent = z.infer<typeof commitContent>;
export type CommitDiff = z.infer<typeof commitDiff>;
export type RoleAnswer = z.infer<typeof roleAnswer>;
export type Problem = z.infer<typeof problem>;
