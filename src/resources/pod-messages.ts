/** Why a pod does not run yet, and why it failed, in the cluster's words. Pure. */
import { textOf } from "./meta.ts";

type Fields = Readonly<Record<string, unknown>>;

interface Terminated {
  readonly exitCode?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly finishedAt?: string | null;
}

interface RawContainerStatus {
  readonly name?: string;
  readonly started?: boolean;
  readonly state?: {
    readonly running?: object | null;
    readonly waiting?: {
      readonly reason?: string;
      readonly message?: string;
    } | null;
    readonly terminated?: Terminated | null;
  };
}

interface RawCondition {
  readonly type?: string;
  readonly status?: string;
  readonly reason?: string;
  readonly message?: string;
}

/** A container with what its status says of it, and how messages call it. */
interface Named {
  readonly called: string;
  readonly status: RawContainerStatus;
}

/** Characters of a message: they go into statuses. */
const maxMessage = 200;

/** On one line; of a long message its end, where the cause is. */
export function shortened(message: string): string {
  const line = message.trim().replaceAll(/\s+/g, " ");
  const characters = Array.from(line);
  return characters.length <= maxMessage ? line : `…${characters.slice(1 - maxMessage).join("")}`;
}

const told = (...words: readonly (string | undefined)[]): string =>
  words
    .map((word) => shortened(word ?? ""))
    .filter((word) => word !== "")
    .join(": ");

const containersOf = (status: Fields, field: string, called: string): Named[] =>
  ((status[field] ?? []) as RawContainerStatus[]).map((entry) => ({
    called: `${called} ${entry.name ?? "?"}`,
    status: entry,
  }));

const initContainersOf = (status: Fields): Named[] =>
  containersOf(status, "initContainerStatuses", "init container");

const mainContainersOf = (status: Fields): Named[] =>
  containersOf(status, "containerStatuses", "container");

/**
 * Why a pod without a node, or whose containers are not up, does not run yet; empty for others.
 * @param spec tells sidecars from other init containers: the kubelet calls both started while they run
 */
export function obstacleOf(status: Fields, spec: Fields = {}): string {
  if (status["phase"] !== undefined && status["phase"] !== "Pending") return "";
  const conditions = (status["conditions"] ?? []) as RawCondition[];
  const unscheduled = conditions.find(
    (entry) => entry.type === "PodScheduled" && entry.status === "False",
  );
  if (unscheduled) return told(unscheduled.reason, unscheduled.message);
  // Init containers run one after the other: the first that is not done is the obstacle.
  const sidecars = sidecarsOf(spec);
  const next = initContainersOf(status).find(({ status: entry }) => !isDone(entry, sidecars));
  if (next !== undefined && !isWaitingForOthers(next.status)) return obstacleText(next);
  const waiting = mainContainersOf(status).find(({ status: entry }) => entry.state?.waiting);
  return waiting === undefined ? "" : obstacleText(waiting);
}

const sidecarsOf = (spec: Fields): ReadonlySet<unknown> =>
  new Set(
    ((spec["initContainers"] ?? []) as Fields[])
      .filter((container) => container["restartPolicy"] === "Always")
      .map((container) => container["name"]),
  );

/** A sidecar is done when it has started, another init container when it has ended well. */
const isDone = (
  { name, started, state }: RawContainerStatus,
  sidecars: ReadonlySet<unknown>,
): boolean => state?.terminated?.exitCode === 0 || (sidecars.has(name) && started === true);

/** So says the kubelet of init containers, too, before it has looked at the pod. */
const isWaitingForOthers = ({ state }: RawContainerStatus): boolean =>
  state?.waiting?.reason === "PodInitializing" && !state.waiting.message;

function obstacleText({ called, status: { state } }: Named): string {
  if (state?.running) return `${called} is running`;
  if (state?.terminated) return terminatedText(called, state.terminated);
  const { reason, message } = state?.waiting ?? {};
  // Volumes that cannot be mounted and networks that fail are told in events only.
  const hint = reason === "ContainerCreating" && !message ? "see the pod's events" : message;
  return told(called, reason, hint);
}

/**
 * Why a failed pod failed; empty for others. The pod's own words first, then those of the container that failed first,
 * init containers included.
 */
export function failureOf(status: Fields): string {
  if (status["phase"] !== "Failed") return "";
  const own = told(textOf(status["reason"]), textOf(status["message"]));
  const container = firstFailed(status);
  if (own === "") return container ?? "the pod failed";
  return container === undefined ? own : `${own} (${container})`;
}

function firstFailed(status: Fields): string | undefined {
  const failed = [...mainContainersOf(status), ...initContainersOf(status)].flatMap((one) => {
    const terminated = one.status.state?.terminated;
    return terminated && (terminated.exitCode ?? 0) !== 0 ? [{ ...one, terminated }] : [];
  });
  const [first] = failed.sort((a, b) => finishedMs(a.terminated) - finishedMs(b.terminated));
  return first && terminatedText(first.called, first.terminated);
}

/** By its node's clock. Absent where the runtime has lost the container. */
const finishedMs = ({ finishedAt }: Terminated): number =>
  finishedAt ? Date.parse(finishedAt) : Number.MAX_SAFE_INTEGER;

function terminatedText(called: string, { exitCode, reason, message }: Terminated): string {
  // "Error" is what every exit code other than 0 is called.
  const why = told(reason === "Error" ? "" : reason, message);
  const exited = `${called} exited with code ${exitCode ?? "?"}`;
  return why === "" ? exited : `${exited}: ${why}`;
}

/** Why the cluster ended the pod: taints, drains, the kubelet under pressure, the pod collector. Empty when it did not. */
export function disruptionOf(status: Fields): string {
  const conditions = (status["conditions"] ?? []) as RawCondition[];
  const found = conditions.find(
    ({ type, status: value }) => type === "DisruptionTarget" && value === "True",
  );
  if (found === undefined) return "";
  return shortened(found.message ?? found.reason ?? "disrupted");
}
