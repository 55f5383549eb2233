/** Creates, stops, evicts and counts the pods of an attempt. */
import { indices } from "../context.ts";
import { errorText } from "../../runtime/logger.ts";
import type { Context } from "../context.ts";
import { labels, podName } from "../../api/names.ts";
import { isStarting } from "../../db/jobs/read.ts";
import type { JobView } from "../../db/jobs/read.ts";
import {
  disruptionBudgetOf,
  isAlreadyExists,
  isConflict,
  isDisruptionBudget,
  isEvictionRefused,
  isNotFound,
} from "../../kube/errors.ts";
import { admissionTimeoutSeconds } from "../../kube/client.ts";
import { keyOf, splitKey } from "../../kube/resource.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { budgetUses, disruptionBudgets } from "../../resources/disruption-budgets.ts";
import type { DisruptionBudget } from "../../resources/disruption-budgets.ts";
import { buildPod } from "../../resources/pod-builder.ts";
import { hasEnded, podsOf } from "../../resources/types.ts";
import type { Pod, Project } from "../../resources/types.ts";
import { each } from "../../runtime/parallel.ts";
import type { BudgetUse, GangAnswer, ProbeGang } from "../../scheduler/eviction-probe.ts";
import type { JobCall, JobReconcile } from "./context.ts";
import { ofAttempt } from "./gang.ts";
import { isGraceTooLong, loweredGrace } from "./grace.ts";
import { podEnvironmentOf } from "./pod-environment.ts";
import { templateOf } from "./template-of.ts";
import { rejectionOfPod } from "./template-errors.ts";

/** When to check again for pods that the cache does not show yet, or whose end sends no event. */
export const expectationSeconds = 1;

/** Concurrent calls per gang: many pods start quickly without flooding the API server. */
const callsAtOnce = 16;

/** The part of a JobCall that dry runs of a decision have, too. */
interface PodCall extends Pick<JobCall, "key" | "uid" | "signal"> {
  readonly context: Pick<Context, "kube" | "informers" | "settings">;
}

const podType = ({ context }: Pick<PodCall, "context">) => podsOf(context.settings.gpuResource);

/** All pods of the job in the cache, of any attempt. */
export const podsOfJob = ({ context, key, uid }: Omit<PodCall, "signal">): Pod[] =>
  context.informers.pods.store.byIndex(indices.podsByJob, key).filter((pod) => pod.jobUid === uid);

/** Calls the API server for several pods at a time; ignores pods that are gone. */
const forEachPod = <T>(pods: readonly T[], call: (pod: T) => Promise<unknown>): Promise<void> =>
  each(pods, callsAtOnce, async (pod) => {
    await call(pod).catch(ignoreGone);
  });

function ignoreGone(error: unknown): void {
  if (!isNotFound(error) && !isConflict(error)) throw error;
}

/** namespace/name */
export const podKey = (pod: Pod): string => `${pod.namespace}/${pod.name}`;

/** Whether the pod's node has left the cluster. */
export const isOnLostNode = ({ informers }: Pick<Context, "informers">, pod: Pod): boolean =>
  pod.nodeName !== "" && informers.nodes.store.get(pod.nodeName) === undefined;

/** Whether the pod was made for a former node of that name. */
export function isOfFormerNode({ informers }: Pick<Context, "informers">, pod: Pod): boolean {
  if (pod.nodeName === "" || pod.nodeUid === "") return false;
  const node = informers.nodes.store.get(pod.nodeName);
  return node !== undefined && node.uid !== pod.nodeUid;
}

/** The nodes of unended pods that are not ready, or whose kubelet does not respond; sorted. */
export const unreadyNodesOf = ({ informers }: Context, pods: readonly Pod[]): string[] => {
  const names = new Set(pods.flatMap((pod) => (hasEnded(pod) ? [] : [pod.nodeName])));
  return [...names].filter((name) => informers.nodes.store.get(name)?.ready === false).toSorted();
};

/** The node of each pod of the gang, by its index. */
export function nodesByIndex(view: JobView): string[] {
  return view.placements.flatMap(({ node, pods }) => Array.from({ length: pods }, () => node));
}

/**
 * Creates the missing pods of the attempt. Names are deterministic, so pods created before a crash are found again: an
 * existing pod belongs to the job if it carries the job's uid. Returns how many it requested, and how many missing pods
 * the cache does not show yet.
 */
export async function createMissingPods(
  reconcile: JobReconcile,
  project: Project,
): Promise<{ readonly asked: number; readonly unseen: number }> {
  const { context, job, view, signal } = reconcile;
  const { podExpectations } = context;
  const names = new Set(ofAttempt(reconcile).map((pod) => pod.name));
  const absent = nodesByIndex(view)
    .map((node, index) => ({ node, index, name: podName(job.name, view.attempt, index) }))
    .filter(({ name }) => !names.has(name))
    .filter(({ index }) => !view.completed.includes(index));
  const missing = absent.filter(({ name }) => !podExpectations.has(job.uid, name));
  const counts = { asked: missing.length, unseen: absent.length };
  if (missing.length === 0) return counts;
  const template = await templateOf(reconcile);
  const podEnvironment = podEnvironmentOf(job, project, view.configHash);
  await context.gangServices.ensure(job, project, signal);
  // The view may be seconds old by now. No lock is held while the API server is asked, so this narrows the gap only.
  if (!(await isStarting(context.db, view))) return { asked: 0, unseen: absent.length };
  const made: KubeObject[] = [];
  const timeoutSeconds = admissionTimeoutSeconds;
  try {
    await each(missing, callsAtOnce, async ({ node, index, name }) => {
      const nodeUid = context.informers.nodes.store.get(node)?.uid;
      const pod = buildPod(template, {
        ...podEnvironment,
        attempt: view.attempt,
        index,
        node,
        ...(nodeUid !== undefined && { nodeUid }),
      });
      podExpectations.asked(job.uid, name);
      try {
        made.push(await context.kube.create(podType(reconcile), pod, { signal, timeoutSeconds }));
        context.checkpoint("pod-created");
      } catch (error) {
        podExpectations.forget(job.uid, name);
        if (!isAlreadyExists(error)) throw error;
      }
    });
  } catch (error) {
    if (rejectionOfPod(error) !== undefined) await unmakePods(reconcile, made);
    throw error;
  }
  return counts;
}

/** Deletes the created pods of a gang that cannot be completed. The cache does not have these pods yet. */
const unmakePods = (call: PodCall, made: readonly KubeObject[]): Promise<void> =>
  forEachPod(made, (pod) => {
    const { uid = "" } = pod.metadata;
    return call.context.kube.delete(podType(call), keyOf(pod), { uid, signal: call.signal });
  });

/** All pods of the job, of any attempt, from the API server; complete objects. */
async function listPods(call: PodCall): Promise<KubeObject[]> {
  const { context, key, uid, signal } = call;
  const { namespace = "" } = splitKey(key);
  const labelSelector = `${labels.jobUid}=${uid}`;
  return context.kube.list(podType(call), { namespace, labelSelector, signal });
}

/** Like listPods, with the fields that the cache keeps. */
export async function podsNow(call: PodCall): Promise<Pod[]> {
  const type = podType(call);
  return (await listPods(call)).map((raw) => type.project(raw));
}

/** The same reconcile with pods from the API server, because the cache may be behind. */
export const withFreshPods = async (reconcile: JobReconcile): Promise<JobReconcile> => ({
  ...reconcile,
  pods: await podsNow(reconcile),
});

/**
 * The job's pods that hold their nodes, from the API server. Capacity is freed only on its answer: another operator, or
 * the previous leader, may have created pods that this cache does not have yet.
 */
export async function podsOccupyingNow(call: PodCall): Promise<Pod[]> {
  return (await podsNow(call)).filter((pod) => !hasEnded(pod));
}

/** Deletes the unended pods; returns how many pods still hold their node. */
export async function stopPods(call: PodCall, pods: readonly Pod[]): Promise<number> {
  const { context, signal } = call;
  const holding = pods.filter((pod) => !hasEnded(pod));
  await forEachPod(
    holding.filter((pod) => !pod.deleting || isGraceTooLong(context, pod)),
    (pod) => {
      // On a lost node, no kubelet ends the pod after its grace period.
      const isLost = isOnLostNode(context, pod);
      const grace = isLost ? { gracePeriodSeconds: 0 } : loweredGrace(context, pod);
      return context.kube.delete(podType(call), podKey(pod), { uid: pod.uid, signal, ...grace });
    },
  );
  return holding.length;
}

/** Deletes the ended pods. */
export const deleteEnded = (call: PodCall, pods: readonly Pod[]): Promise<void> =>
  forEachPod(
    pods.filter((pod) => hasEnded(pod) && !pod.deleting),
    (pod) => {
      const options = { uid: pod.uid, signal: call.signal };
      return call.context.kube.delete(podType(call), podKey(pod), options);
    },
  );

/** namespace/name of the budget that blocks the pod's eviction; all their names if there are several. */
async function refusingBudget(call: PodCall, error: unknown, pod: Pod): Promise<string> {
  const { namespace } = pod;
  const name = disruptionBudgetOf(error);
  if (name !== undefined) return `${namespace}/${name}`;
  const { kube } = call.context;
  const { metadata } = await kube.get(podType(call), podKey(pod), { signal: call.signal });
  const uses = budgetUses(await budgetsOf(call), [metadata.labels ?? {}]);
  if (uses.length === 0) return `${namespace}/(without a name)`;
  const names = uses.map(({ budget }) => budget).toSorted();
  return `${names.join(", ")} (Kubernetes evicts no pod under several)`;
}

export interface EvictionProgress {
  /** Pods that still hold their node. */
  readonly holding: number;
  /** What blocks the eviction: a PodDisruptionBudget, or the API server's answer. */
  readonly rejected: string | undefined;
  /** The API server refused a pod's eviction for another reason than a budget. */
  readonly isRefused: boolean;
  /** Pods whose eviction was accepted now, or that are gone. */
  readonly left: number;
}

/** "PodDisruptionBudget team/keep" */
export const budgetText = (budget: string): string => `PodDisruptionBudget ${budget}`;

/** Webhooks may answer with pages. */
const maxAnswerLength = 300;

const refusalText = (pod: Pod, error: unknown): string =>
  `the API server's answer about pod ${pod.name} ("${errorText(error).slice(0, maxAnswerLength)}")`;

/** Pods that others asked to leave, or Rota under a longer maximum. */
function shortenGrace(call: PodCall, pods: readonly Pod[]): Promise<void> {
  const isTooLong = (pod: Pod) => pod.deleting && isGraceTooLong(call.context, pod);
  return stopPods(call, pods.filter(isTooLong)).then(() => undefined);
}

/** Evicts the pods that are not terminating yet. The uid protects a new pod of the same name. */
export async function evictPods(call: JobCall, pods: readonly Pod[]): Promise<EvictionProgress> {
  const { context, signal } = call;
  const { counters, kube } = context;
  const holding = pods.filter((pod) => !hasEnded(pod));
  await shortenGrace(call, holding);
  let budget: string | undefined;
  let refusal: string | undefined;
  let left = 0;
  await forEachPod(
    holding.filter((pod) => !pod.deleting),
    async (pod) => {
      try {
        const grace = loweredGrace(context, pod);
        await kube.evict(podKey(pod), { uid: pod.uid, signal, ...grace });
        counters.evictionAsked("accepted");
        left += 1;
      } catch (error) {
        if (!isDisruptionBudget(error) && !isEvictionRefused(error)) {
          ignoreGone(error);
          counters.evictionAsked("gone");
          left += 1;
          return;
        }
        counters.evictionAsked("refused");
        if (isDisruptionBudget(error))
          budget ??= budgetText(await refusingBudget(call, error, pod));
        else refusal ??= refusalText(pod, error);
      }
    },
  );
  const isRefused = refusal !== undefined;
  return { holding: holding.length, rejected: refusal ?? budget, isRefused, left };
}

/** The PodDisruptionBudgets of the job's namespace. */
async function budgetsOf({ context, key, signal }: PodCall): Promise<DisruptionBudget[]> {
  const { namespace = "" } = splitKey(key);
  const found = await context.kube.list(disruptionBudgets, { namespace, signal });
  return found.map((raw) => disruptionBudgets.project(raw));
}

/** The gang's use of the namespace's PodDisruptionBudgets; a dry run checks only one pod at a time. */
async function usesOfGang(call: PodCall): Promise<readonly BudgetUse[]> {
  const budgets = await budgetsOf(call);
  if (budgets.length === 0) return [];
  const type = podType(call);
  const healthy = (await listPods(call)).filter((raw) => {
    const pod = type.project(raw);
    return pod.ready && !hasEnded(pod) && !pod.deleting;
  });
  return budgetUses(
    budgets,
    healthy.map((raw) => raw.metadata.labels ?? {}),
  );
}

/** The first budget (namespace/name) that does not allow the eviction of all of the gang's pods. */
const tooTight = (uses: readonly BudgetUse[]): string | undefined =>
  uses.find(({ pods, allowed }) => pods > allowed)?.budget;

/** The budget (namespace/name) that now blocks the eviction of the whole gang; undefined if none does. */
export async function budgetAgainst(call: PodCall): Promise<string | undefined> {
  return tooTight(await usesOfGang(call));
}

/** Checks the eviction of all pods of a job by dry run. Evicts nothing. */
export function probeGang(context: PodCall["context"] & Pick<Context, "logger">): ProbeGang {
  return async (uid, key, signal): Promise<GangAnswer> => {
    const call = { context, key, uid, signal };
    let rejectedBy: string | undefined;
    let refusal: string | undefined;
    const pods = podsOfJob(call).filter((pod) => !hasEnded(pod) && !pod.deleting);
    await forEachPod(pods, async (pod) => {
      try {
        await context.kube.evict(podKey(pod), { uid: pod.uid, dryRun: true, signal });
      } catch (error) {
        if (isEvictionRefused(error)) refusal ??= refusalText(pod, error);
        else if (isDisruptionBudget(error)) rejectedBy ??= await refusingBudget(call, error, pod);
        else throw error;
      }
    });
    if (refusal !== undefined) context.logger.warn("eviction refused", { job: key, refusal });
    if (refusal !== undefined) return { isRefused: true, rejectedBy: undefined, uses: [] };
    if (rejectedBy !== undefined) return { rejectedBy, uses: [] };
    const uses = await usesOfGang(call);
    return { rejectedBy: tooTight(uses), uses };
  };
}
