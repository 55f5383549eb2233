/** The pods of one attempt: made, stopped, evicted, counted. */
import type { Context } from "../context.ts";
import { indices } from "../context.ts";
import { labels, podName } from "../../api/names.ts";
import type { JobView } from "../../db/jobs/read.ts";
import {
  disruptionBudgetOf,
  isAlreadyExists,
  isConflict,
  isDisruptionBudget,
  isNotFound,
} from "../../kube/errors.ts";
import { keyOf, splitKey } from "../../kube/resource.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { budgetUses, disruptionBudgets } from "../../resources/disruption-budgets.ts";
import type { DisruptionBudget } from "../../resources/disruption-budgets.ts";
import { buildPod } from "../../resources/pod-builder.ts";
import { hasEnded, podsOf } from "../../resources/types.ts";
import type { Job, Pod, Project } from "../../resources/types.ts";
import { each } from "../../runtime/parallel.ts";
import type { BudgetUse, GangAnswer, ProbeGang } from "../../scheduler/eviction-probe.ts";
import { ensureGangService, podEnvironmentOf } from "./pod-environment.ts";
import { templateOf } from "./template-of.ts";
import { rejectionOfPod } from "./template-errors.ts";

/** Pods that the API server has and the cache has not yet, or that leave without a word: looked at again after this. */
export const expectationSeconds = 1;

/** Calls at once for one gang: many pods start quickly, and the API server is not flooded. */
const callsAtOnce = 16;

export const podsOfJob = (context: Context, key: string, jobUid: string): Pod[] =>
  context.informers.pods.store
    .byIndex(indices.podsByJob, key)
    .filter((pod) => pod.jobUid === jobUid);

export const podKey = (pod: Pod): string => `${pod.namespace}/${pod.name}`;

/** Its node left the cluster. */
export const isOnLostNode = ({ informers }: Context, pod: Pod): boolean =>
  pod.nodeName !== "" && informers.nodes.store.get(pod.nodeName) === undefined;

/** The node of each pod of the gang, by its index. */
export function nodesByIndex(view: JobView): string[] {
  return view.placements.flatMap(({ node, pods }) => Array.from({ length: pods }, () => node));
}

/**
 * Makes the pods of the attempt that are not there yet. Names are deterministic, so what was made before a crash is
 * found again: a pod that exists is ours when it carries the job's uid. Returns how many it asked for, and how many
 * of those asked for the cache has yet to show.
 */
export async function createMissingPods(
  context: Context,
  job: Job,
  project: Project,
  view: JobView,
  existing: readonly Pod[],
  signal: AbortSignal,
): Promise<{ readonly asked: number; readonly unseen: number }> {
  const { podExpectations } = context;
  const names = new Set(existing.map((pod) => pod.name));
  const absent = nodesByIndex(view)
    .map((node, index) => ({ node, index, name: podName(job.name, view.attempt, index) }))
    .filter(({ name }) => !names.has(name))
    .filter(({ index }) => !view.completed.includes(index));
  const missing = absent.filter(({ name }) => !podExpectations.has(job.uid, name));
  const counts = { asked: missing.length, unseen: absent.length };
  if (missing.length === 0) return counts;
  const template = await templateOf(context, job, signal);
  const type = podsOf(context.settings.gpuResource);
  const podEnvironment = podEnvironmentOf(job, project, view.configHash);
  await ensureGangService(context, job, project, signal);
  const made: KubeObject[] = [];
  try {
    await each(missing, callsAtOnce, async ({ node, index, name }) => {
      const pod = buildPod(template, { ...podEnvironment, attempt: view.attempt, index, node });
      podExpectations.asked(job.uid, name);
      try {
        made.push(await context.kube.create(type, pod, { signal }));
        context.checkpoint("pod-created");
      } catch (error) {
        podExpectations.forget(job.uid, name);
        if (!isAlreadyExists(error)) throw error;
      }
    });
  } catch (error) {
    if (rejectionOfPod(error) !== undefined) await unmakePods(context, made, signal);
    throw error;
  }
  return counts;
}

/** A gang that cannot be made whole is not left in parts; the caches have not seen these pods yet. */
async function unmakePods(
  context: Context,
  made: readonly KubeObject[],
  signal: AbortSignal,
): Promise<void> {
  const type = podsOf(context.settings.gpuResource);
  await each(made, callsAtOnce, async (pod) => {
    const { uid = "" } = pod.metadata;
    await context.kube.delete(type, keyOf(pod), { uid, signal }).catch(ignoreGone);
  });
}

/** The pods of a job, of any attempt, as the API server has them now; whole. */
async function listPods(
  { kube, settings }: Context,
  key: string,
  jobUid: string,
  signal: AbortSignal,
): Promise<KubeObject[]> {
  const { namespace = "" } = splitKey(key);
  const labelSelector = `${labels.jobUid}=${jobUid}`;
  return kube.list(podsOf(settings.gpuResource), { namespace, labelSelector, signal });
}

/** The same, with what the caches keep of them. */
export async function podsNow(...asked: Parameters<typeof listPods>): Promise<Pod[]> {
  const [{ settings }] = asked;
  const type = podsOf(settings.gpuResource);
  return (await listPods(...asked)).map((raw) => type.project(raw));
}

/**
 * Those of them that hold their nodes. Space is given away only on the API server's word: the cache of an operator that
 * has just taken over, or works beside another one, may not know them yet.
 */
export async function podsOccupyingNow(...asked: Parameters<typeof podsNow>): Promise<Pod[]> {
  return (await podsNow(...asked)).filter((pod) => !hasEnded(pod));
}

/** Asks for the deletion of those that run; returns how many pods still hold their node. */
export async function stopPods(
  context: Context,
  pods: readonly Pod[],
  signal: AbortSignal,
): Promise<number> {
  const holding = pods.filter((pod) => !hasEnded(pod));
  const type = podsOf(context.settings.gpuResource);
  await each(
    holding.filter((pod) => !pod.deleting),
    callsAtOnce,
    async (pod) => {
      // Nobody is left on a node that is gone to end a pod in grace.
      const force = isOnLostNode(context, pod) ? { gracePeriodSeconds: 0 } : {};
      const options = { uid: pod.uid, signal, ...force };
      await context.kube.delete(type, podKey(pod), options).catch(ignoreGone);
    },
  );
  return holding.length;
}

/** Asks for the deletion of pods that have ended. */
export async function deleteEnded(
  context: Context,
  pods: readonly Pod[],
  signal: AbortSignal,
): Promise<void> {
  const type = podsOf(context.settings.gpuResource);
  await each(
    pods.filter((pod) => hasEnded(pod) && !pod.deleting),
    callsAtOnce,
    async (pod) => {
      const options = { uid: pod.uid, signal };
      await context.kube.delete(type, podKey(pod), options).catch(ignoreGone);
    },
  );
}

function ignoreGone(error: unknown): void {
  if (!isNotFound(error) && !isConflict(error)) throw error;
}

/** namespace/name of the budget that refused the pod's eviction, or of the several that do. */
async function refusingBudget(
  context: Context,
  error: unknown,
  pod: Pod,
  signal: AbortSignal,
): Promise<string> {
  const { namespace } = pod;
  const name = disruptionBudgetOf(error);
  if (name !== undefined) return `${namespace}/${name}`;
  const type = podsOf(context.settings.gpuResource);
  const { metadata } = await context.kube.get(type, podKey(pod), { signal });
  const budgets = await budgetsOf(context, namespace, signal);
  const uses = budgetUses(budgets, [metadata.labels ?? {}]);
  if (uses.length === 0) return `${namespace}/(without a name)`;
  const names = uses.map(({ budget }) => budget).toSorted();
  return `${names.join(", ")} (Kubernetes evicts no pod under several)`;
}

export interface EvictionProgress {
  /** Pods that still hold their node. */
  readonly holding: number;
  /** The PodDisruptionBudget (namespace/name) that is in the way. */
  readonly rejected: string | undefined;
  /** Pods that were asked to leave now, or are gone. */
  readonly left: number;
}

/** Evicts those that have not been asked to leave yet. The uid makes a second eviction of a new pod impossible. */
export async function evictPods(
  context: Context,
  pods: readonly Pod[],
  signal: AbortSignal,
): Promise<EvictionProgress> {
  const holding = pods.filter((pod) => !hasEnded(pod));
  let rejected: string | undefined;
  let left = 0;
  await each(
    holding.filter((pod) => !pod.deleting),
    callsAtOnce,
    async (pod) => {
      try {
        await context.kube.evict(podKey(pod), { uid: pod.uid, signal });
        context.counters.evictionAsked("accepted");
        left += 1;
      } catch (error) {
        if (!isDisruptionBudget(error)) {
          ignoreGone(error);
          context.counters.evictionAsked("gone");
          left += 1;
          return;
        }
        context.counters.evictionAsked("refused");
        rejected ??= await refusingBudget(context, error, pod, signal);
      }
    },
  );
  return { holding: holding.length, rejected, left };
}

async function budgetsOf(
  { kube }: Context,
  namespace: string,
  signal: AbortSignal,
): Promise<DisruptionBudget[]> {
  const found = await kube.list(disruptionBudgets, { namespace, signal });
  return found.map((raw) => disruptionBudgets.project(raw));
}

/** What the gang takes of the PodDisruptionBudgets of its namespace: dry runs ask about one pod, as if the others stayed. */
async function usesOfGang(
  context: Context,
  jobUid: string,
  key: string,
  signal: AbortSignal,
): Promise<readonly BudgetUse[]> {
  const { namespace = "" } = splitKey(key);
  const budgets = await budgetsOf(context, namespace, signal);
  if (budgets.length === 0) return [];
  const type = podsOf(context.settings.gpuResource);
  const pods = await listPods(context, key, jobUid, signal);
  const healthy = pods.filter((raw) => {
    const pod = type.project(raw);
    return pod.ready && !hasEnded(pod) && !pod.deleting;
  });
  return budgetUses(
    budgets,
    healthy.map((raw) => raw.metadata.labels ?? {}),
  );
}

/** The PodDisruptionBudget (namespace/name) of those `uses` that does not let all of a gang's pods go. */
const tooTight = (uses: readonly BudgetUse[]): string | undefined =>
  uses.find(({ pods, allowed }) => pods > allowed)?.budget;

/** The same, on the API server's word of now. */
export async function budgetAgainst(
  ...asked: Parameters<typeof usesOfGang>
): Promise<string | undefined> {
  return tooTight(await usesOfGang(...asked));
}

/** What the API server would say now of the eviction of all pods of the job. Evicts nothing. */
export function probeGang(context: Context): ProbeGang {
  return async (jobUid, key, signal): Promise<GangAnswer> => {
    let rejectedBy: string | undefined;
    const pods = podsOfJob(context, key, jobUid).filter((pod) => !hasEnded(pod) && !pod.deleting);
    await each(pods, callsAtOnce, async (pod) => {
      await context.kube
        .evict(podKey(pod), { uid: pod.uid, dryRun: true, signal })
        .catch(async (error: unknown) => {
          if (!isDisruptionBudget(error)) return ignoreGone(error);
          rejectedBy ??= await refusingBudget(context, error, pod, signal);
        });
    });
    if (rejectedBy !== undefined) return { rejectedBy, uses: [] };
    const uses = await usesOfGang(context, jobUid, key, signal);
    return { rejectedBy: tooTight(uses), uses };
  };
}
