/** Explains a job's state with the scheduler's own snapshot and decision, in a read-only transaction. */
import type { PoolClient } from "pg";
import type { AnswerOf } from "../../api/http/routes.ts";
import { jobStates } from "../../api/job-states.ts";
import { readActiveJobsNamed, type JobView } from "../../db/jobs/read.ts";
import { withTransaction } from "../../db/client/connection-pool.ts";
import { queuePosition } from "../../db/reports/queue-page.ts";
import { findVictims } from "../../db/scheduling/victims.ts";
import type { Candidate } from "../../domain/scheduling/preemption/ordering.ts";
import {
  candidatesFor,
  diagnose,
  requestFor,
  type QuotaView,
  type NodeView,
} from "../../domain/scheduling/diagnosis.ts";
import type { Decision, Verdict } from "../../domain/scheduling/decision.ts";
import { amountOf } from "../../domain/scheduling/quota.ts";
import type { QueuedJob, Resources, Snapshot } from "../../domain/scheduling/snapshot.ts";
import { redactJobs, redactFor, type MaySee } from "../../domain/redaction.ts";
import { decideWithVictims, readSnapshot } from "../../scheduler/snapshot.ts";
import { listJobs, listNodes } from "../authorization.ts";
import { HttpProblem } from "../problem.ts";
import { Paced } from "../paced.ts";
import type { ApiContext, Handler, ApiRequest } from "./types.ts";
import { nodesSeen, seenBy, type Sight } from "./visible.ts";

type Answer = AnswerOf<"why">;

const maxNodes = 50;
const maxCandidates = 50;

const quotaAnswer = ({ quota, demand, exceeded }: QuotaView): Answer["quotas"][number] => ({
  owner: quota.owner,
  resourceType: quota.resourceType,
  quantity: quota.quantity,
  usage: quota.usage,
  borrowed: quota.borrowed,
  leaving: quota.leaving,
  demand,
  exceeded,
  plans: [...quota.plans],
  opens: quota.opensAtText ?? null,
  evictsInSeconds: quota.evictCloses?.[0]?.inSeconds ?? null,
});

/** `byName` has the GPUs of other vendors as well. */
const shown = ({ otherGpus: _counted, ...amounts }: Resources) => amounts;

const nodeAnswer = (view: NodeView): Answer["nodes"]["items"][number] => ({
  node: view.node,
  fits: view.fits,
  free: view.free,
  rejection: view.rejection ?? null,
  message: view.message ?? null,
});

/** The verdict's message, redacted for the caller. */
function messageOf(verdict: Verdict, maySee: MaySee): string | null {
  if (verdict.kind === "preempt") {
    const victims = verdict.victims.map(({ key }) => key);
    return redactJobs(maySee, verdict.reason, victims);
  }
  if (verdict.kind === "wait") return redactFor(maySee, verdict.message, verdict.redactables);
  return "message" in verdict ? verdict.message : null;
}

function verdictAnswer(verdict: Verdict, maySee: MaySee): NonNullable<Answer["verdict"]> {
  const { kind } = verdict;
  return {
    kind,
    reason: "reason" in verdict && kind !== "preempt" ? verdict.reason : null,
    message: messageOf(verdict, maySee),
    borrowing: "borrowing" in verdict ? verdict.borrowing : null,
    placements: "placements" in verdict ? [...verdict.placements] : [],
  };
}

const verdictOf = (decision: Decision, jobId: string): Verdict | undefined =>
  decision.verdicts.find((verdict) => verdict.jobId === jobId);

interface Judged {
  readonly snapshot: Snapshot;
  readonly job: QueuedJob;
  readonly isBeyondClaim: boolean;
  readonly verdict: Verdict | undefined;
  readonly candidates: readonly Candidate[];
}

/** The job may be too far back in the queue for a cycle to consider. */
async function judge(
  { settings, namespaceQuotas }: ApiContext,
  client: PoolClient,
  view: JobView,
  now: Temporal.Instant,
): Promise<Judged | undefined> {
  const asking = { jobId: view.id };
  const snapshot = await readSnapshot(
    { ...settings, namespaceQuotas, asking },
    client,
    view.pool,
    now,
  );
  const job = snapshot.queue.find(({ id }) => id === view.id);
  if (!job) return undefined;
  // Only the leader knows budgets, from dry runs; the job's own message names them.
  const decision = await decideWithVictims(client, snapshot, () => new Map());
  const request = requestFor(snapshot, job);
  const live = request ? await findVictims(client, snapshot.pool, [request]) : [];
  return {
    snapshot,
    job,
    isBeyondClaim: snapshot.queue.length > settings.claimLimit,
    verdict: verdictOf(decision, view.id),
    candidates: candidatesFor(snapshot, job, live),
  };
}

function candidateAnswers(
  { candidates, verdict }: Judged,
  sight: Sight,
): Answer["candidates"]["items"] {
  const chosen = new Set(
    verdict?.kind === "preempt" ? verdict.victims.map(({ jobId }) => jobId) : [],
  );
  return candidates
    .toSorted((a, b) => Number(chosen.has(b.job.id)) - Number(chosen.has(a.job.id)))
    .slice(0, maxCandidates)
    .map(({ job, pods, rule }) => ({
      job: sight.maySee(job.key) ? job.key : null,
      priority: job.priority,
      borrowing: job.borrowing,
      gpus: amountOf(job.perPod, "GPU") * pods,
      pods,
      nodes: nodesSeen(
        sight,
        job.key,
        job.allocations.map(({ node }) => node),
      ),
      rule,
      chosen: chosen.has(job.id),
    }));
}

function detailsOf(judged: Judged | undefined, sight: Sight) {
  if (!judged) {
    const none = { total: 0, items: [] };
    return {
      isBeyondClaim: false,
      verdict: null,
      quotas: [],
      nodes: { ...none, accepting: 0 },
      candidates: none,
    };
  }
  const { quotas, nodesTotal, nodesAccepting, nodes } = diagnose(
    judged.snapshot,
    judged.job,
    maxNodes,
  );
  return {
    isBeyondClaim: judged.isBeyondClaim,
    verdict: judged.verdict ? verdictAnswer(judged.verdict, sight.maySee) : null,
    quotas: quotas.map(quotaAnswer),
    nodes: {
      total: nodesTotal,
      accepting: nodesAccepting,
      items: sight.maySeeNodes ? nodes.map(nodeAnswer) : [],
    },
    candidates: {
      total: judged.candidates.length,
      items: candidateAnswers(judged, sight),
    },
  };
}

const isWaiting = ({ status, suspended }: JobView): boolean =>
  (status === "pending" || status === "evicted") && !suspended;

const evictionText = ({ eviction }: JobView, maySee: MaySee): string | undefined =>
  eviction && redactJobs(maySee, eviction.reason, eviction.jobs);

/** Undefined if no job of this name waits or runs. */
async function answerFrom(
  client: PoolClient,
  context: ApiContext,
  { namespace, name }: ApiRequest<"why">["parameters"],
  sight: Sight,
): Promise<Answer | undefined> {
  const now = context.clock.now();
  const [view] = await readActiveJobsNamed(client, namespace, name);
  if (!view) return undefined;
  const judged = isWaiting(view) ? await judge(context, client, view, now) : undefined;
  return {
    namespace,
    name,
    pool: view.pool,
    state: jobStates[view.status],
    reason: view.reason ?? null,
    message: evictionText(view, sight.maySee) ?? view.message ?? null,
    priority: view.priority,
    priorityClass: view.priorityClass,
    attempt: view.attempt,
    borrowing: view.borrowing,
    suspended: view.suspended,
    parallelism: view.parallelism,
    perPod: shown(view.perPod),
    queuedAt: view.queuedAt.toString(),
    startedAt: view.startedAt?.toString() ?? null,
    placements: [...view.placements],
    position: (await queuePosition(client, view.id)) ?? null,
    ...detailsOf(judged, sight),
    decidedAt: now.toString(),
  };
}

export const why = (context: ApiContext): Handler<"why"> => {
  // A decision is work of the event loop, which renews the lease.
  const decisions = new Paced(context.clock);
  return async ({ caller, parameters }) => {
    const { db, access } = context;
    const { namespace, name } = parameters;
    await access.require(caller, listJobs(namespace));
    const sight = {
      maySee: seenBy(await access.visibleAround(caller, namespace)),
      maySeeNodes: await access.may(caller, listNodes),
    };
    const answer = await decisions.run(() =>
      withTransaction(db, (client) => answerFrom(client, context, parameters, sight), {
        isolation: "REPEATABLE READ",
        readOnly: true,
      }),
    );
    if (answer) return answer;
    throw new HttpProblem(
      "NotFound",
      `no waiting or running job ${namespace}/${name}: it may have finished, been rejected, or not be queued yet; see kubectl describe rj -n ${namespace} ${name}`,
    );
  };
};
