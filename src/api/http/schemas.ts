/**
 * The JSON of the HTTP API: one schema each, which validates what is asked, strips what is answered, and is printed
 * in the OpenAPI document. Clients import the types alone.
 */
import { z } from "zod";

/** Schemas with a name of their own in the OpenAPI document. */
export const components = z.registry<{ id: string }>();

function named<Schema extends z.ZodType>(id: string, schema: Schema): Schema {
  components.add(schema, { id });
  return schema;
}

/** The longest page, and what a page has when nobody says. */
export const maxPerPage = 500;
export const usualPerPage = 100;

const instant = z.iso.datetime({ offset: true });
const count = z.int().min(0);

export const dnsLabel = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "a DNS label is wanted");
/** Names of custom resources are DNS subdomains. */
export const objectName = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, "the name of an object is wanted");
export const poolName = z.string().min(1).max(63);
export const subjectName = z.string().min(1).max(253);

export const page = z.object({
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(maxPerPage)
    .default(usualPerPage)
    .describe("Most items on a page"),
  cursor: z
    .string()
    .max(2000)
    .optional()
    .describe("The former page's `next`; absent for the first page"),
});

const next = z.string().nullable().describe("Cursor of the next page; null on the last one");

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
      by: z.enum(["token", "certificate"]).describe("How the caller proved who it is"),
    })
    .describe("The caller, as the cluster knows it"),
);

export const queuedJob = named(
  "QueuedJob",
  z
    .object({
      pool: z.string(),
      position: count.describe("Place in the pool's queue, from 1"),
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
      queuedAt: instant.describe("Kept through evictions and retries"),
      notBefore: instant.nullable().describe("Back-off after a failure: not looked at before"),
    })
    .describe("A job that waits"),
);
export const queuePage = named("QueuePage", z.object({ items: z.array(queuedJob), next }));

const quota = named(
  "Quota",
  z
    .object({
      owner,
      resourceType: z.enum(["GPU", "CPU"]),
      quantity: z.number().describe("GPUs or cores that the plans grant now"),
      usage: z.number().describe("GPUs or cores of live jobs under it that are inside their plans"),
      borrowed: z.number().describe("GPUs or cores of live jobs under it that borrow"),
      demand: z.number().describe("GPUs or cores that this job asks for"),
      exceeded: z.boolean().describe("Whether the job would go past it"),
      plans: z.array(z.string()),
      opens: z.string().nullable().describe("When a closed window opens, in words"),
      evictsInSeconds: z.number().nullable().describe("Until an open window closes and evicts"),
    })
    .describe("What an owner's plans grant, and what is used of it"),
);

const nodeAnswer = named(
  "NodeAnswer",
  z
    .object({
      node: z.string(),
      fits: count.describe("Pods of the job that fit now"),
      free: amounts.describe("Free for a job that starts now"),
      rejection: z
        .enum(["Unschedulable", "Avoided", "NodeSelector", "Taint", "Affinity", "Storage", "Full"])
        .nullable()
        .describe("Why no pod of the job can start there; null when one can"),
      message: z.string().nullable(),
    })
    .describe("What a node has for the job"),
);

const candidate = named(
  "Candidate",
  z
    .object({
      job: z.string().nullable().describe("namespace/name; null when the caller may not see it"),
      priority: z.int(),
      borrowing: z.boolean(),
      gpus: count,
      pods: count,
      nodes: z.array(z.string()),
      rule: z
        .enum(["BorrowerReclaimed", "LowerPriority", "OwnQuota"])
        .describe("Why it may be evicted for this job"),
      chosen: z.boolean().describe("Whether the decision would evict it"),
    })
    .describe("A job that could be evicted"),
);

const verdict = named(
  "Verdict",
  z
    .object({
      kind: z.enum(["admit", "activate", "release", "preempt", "wait"]),
      reason: z.string().nullable(),
      message: z.string().nullable(),
      borrowing: z.boolean().nullable(),
      placements: z.array(placement).describe("Where its pods would go"),
    })
    .describe("What the next decision would do with the job, were nothing to change"),
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
      placements: z.array(placement).describe("Where its pods are, or will be while it is held"),
      position: count.nullable().describe("Place in the pool's queue; null when it does not wait"),
      isBeyondClaim: z
        .boolean()
        .describe("So many jobs are ahead of it that the cycle does not look at it yet"),
      verdict: verdict.nullable().describe("Null when the job does not wait"),
      quotas: z.array(quota),
      nodes: z.object({
        total: count,
        accepting: count.describe("Nodes whose labels and taints accept the job's pods"),
        items: z.array(nodeAnswer).describe("The nodes nearest to having room first; bounded"),
      }),
      candidates: z.object({
        total: count,
        items: z.array(candidate).describe("In order of preference; bounded"),
      }),
      decidedAt: instant.describe("The instant of the snapshot"),
    })
    .describe("Why a job is where it is: computed from the snapshot that the scheduler would use"),
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
      owner: owner.nullable().describe("The nearest one on the way up"),
      gpusPlanned: z
        .number()
        .nullable()
        .describe("GPUs that the owner's plans grant now, over all pools; null without any plan"),
      gpusRunning: count.describe("Of the project and all below it"),
      gpusPending: count,
      gpusBorrowed: count,
      jobsRunning: count,
      jobsPending: count,
    })
    .describe("A project with what its subtree uses"),
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
      resourceType: z.enum(["GPU", "CPU"]),
      pool: z.string(),
      quantity: count,
      startSecond: count.describe("Second of the week, 0 is Monday 00:00"),
      endSecond: count.describe("Exclusive"),
      text: z.string().describe("The window in words"),
      onWindowClose: z.enum(["Finish", "Evict"]),
    })
    .describe("A window of a plan"),
);
export const planPage = named(
  "PlanPage",
  z.object({
    timeZone: z.string().describe("IANA time zone in which windows are meant"),
    items: z.array(planWindow),
    next,
  }),
);

const gauge = named(
  "Gauge",
  z
    .object({
      allocatable: amounts,
      committed: amounts.describe("Of Rota's pods, those that leave included"),
      otherUsage: amounts.describe("Of other pods"),
      reserved: amounts.describe("Kept for jobs whose victims are leaving"),
    })
    .describe("What there is and what is used"),
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
      nodes: z.array(z.string()),
      rule: z.string(),
      outcome: z.enum(["Evicted", "Finished", "Cancelled", "EvictionCancelled"]).nullable(),
      evictedAt: instant.nullable(),
    })
    .describe("A job that was evicted, or is being evicted"),
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
        .describe("namespace/name; null when a window closed, or when the caller may not see it"),
      rule: z.string(),
      reason: z.string().describe("Names the jobs that the caller may see"),
      outcome: z.enum(["Started", "Released", "Ended"]).nullable(),
      settledAt: instant.nullable(),
      victims: z.array(victim),
      alternatives: z
        .array(z.object({ description: z.string().nullable(), pods: count }))
        .describe("Sets that were considered and not taken"),
    })
    .describe("A decision to evict"),
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
      subtree: z.string().optional().describe("A project with all below it"),
      owner: owner.nullable().optional().describe("Null where no project on the way up had one"),
      pool: z.string().optional(),
      day: z.iso.date().optional(),
      attempts: count.describe("Attempts of jobs that used anything"),
      gpuSeconds: z.number(),
      borrowedGpuSeconds: z.number().describe("Of these, outside the plans"),
      cpuSeconds: z.number(),
      borrowedCpuSeconds: z.number(),
    })
    .describe("A sum; of the keys those that were asked for are there"),
);
export const usageReport = named(
  "UsageReport",
  z.object({
    since: instant,
    until: instant.describe("The same on all pages"),
    timeZone: z.string().describe("IANA time zone whose calendar days are meant"),
    items: z.array(usageRow).describe("What used nothing has no row"),
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
      may: z.object({
        view: z.boolean(),
        submit: z.boolean(),
        administer: z.boolean(),
      }),
    })
    .describe("A subject's role in a project, given there or above"),
);

export const problem = named(
  "Problem",
  z
    .object({
      type: z.string().describe("URI reference that identifies the kind of problem"),
      title: z.string(),
      status: z.int(),
      code: z.string().describe("Stable; for programs"),
      detail: z.string().describe("What was wrong and what to do about it"),
      instance: z.string().optional(),
    })
    .describe("What went wrong (RFC 9457)"),
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
