/** Progress of a gang that starts slowly: how many pods run, and what the others wait for. */
import { podName } from "../../api/names.ts";
import type { JobView } from "../../db/jobs/read.ts";
import { listedUpTo } from "../../domain/text.ts";
import { hasEnded } from "../../resources/types.ts";
import type { Pod } from "../../resources/types.ts";
import { nodesByIndex } from "./pods.ts";
import { ofAttempt, sizeOf } from "./gang.ts";

export interface PendingPods {
  readonly message: string | undefined;
  /** Seconds until the gang counts as slow; undefined if it already does or is not starting. */
  readonly nextSeconds: number | undefined;
}

/** Most gangs run by then, which saves a status write. */
const quietSeconds = 10;
const maxNamedPods = 3;

/** "train-1-0 and 2 more on node-1 (container main: ImagePullBackOff)" */
function groupText(node: string, obstacle: string, names: readonly string[]): string {
  return `${listedUpTo(maxNamedPods, names)} on ${node} (${obstacle})`;
}

function obstacleOf(pod: Pod | undefined): string {
  if (pod === undefined) return "yet to be created";
  if (pod.obstacle !== "") return pod.obstacle;
  return pod.nodeName === "" ? "not scheduled yet" : "not started by the kubelet yet";
}

function pendingTexts(view: JobView, jobName: string, pods: readonly Pod[]): string[] {
  const nodes = nodesByIndex(view);
  const found = new Map(pods.map((pod) => [pod.index, pod]));
  const waiting = nodes.flatMap((node, index) => {
    const pod = found.get(index);
    if (view.completed.includes(index) || (pod && pod.phase !== "Pending")) return [];
    return [{ name: podName(jobName, view.attempt, index), node, obstacle: obstacleOf(pod) }];
  });
  const groups = Map.groupBy(waiting, ({ node, obstacle }) => JSON.stringify([node, obstacle]));
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    const names = group.map(({ name }) => name);
    return first ? [groupText(first.node, first.obstacle, names)] : [];
  });
}

/**
 * The message for a slow start, and when to check next. `pods` are all pods of the job, of any attempt. The deadline is
 * undefined while init containers run.
 */
export function pendingPodsOf(
  view: JobView,
  pods: readonly Pod[],
  now: Temporal.Instant,
  deadline: Temporal.Instant | undefined,
  startDeadlineSeconds: number,
): PendingPods {
  if (view.status !== "starting" || view.startedAt === undefined)
    return { message: undefined, nextSeconds: undefined };
  const quiet = Math.min(quietSeconds, startDeadlineSeconds / 2);
  const left = quiet - now.since(view.startedAt).total("seconds");
  if (left > 0) return { message: undefined, nextSeconds: left + 0.05 };
  const upCount = sizeOf({ view, pods }, (pod) => pod.phase === "Running" || hasEnded(pod));
  const texts = pendingTexts(view, view.name, ofAttempt({ view, pods }));
  const more =
    texts.length > maxNamedPods ? [`others on ${texts.length - maxNamedPods} nodes`] : [];
  const waiting = [...texts.slice(0, maxNamedPods), ...more].join("; ");
  const next =
    deadline === undefined
      ? "while init containers run, no start deadline counts"
      : `the gang is placed again at ${deadline.round("second").toString()} unless all are running`;
  return {
    message: `${upCount} of ${view.parallelism} pods running, pending: ${waiting}; ${next}`,
    nextSeconds: undefined,
  };
}
