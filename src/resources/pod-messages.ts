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

/** A container's status and its name in messages. */
interface Named {
  readonly called: string;
  readonly status: RawContainerStatus;
}

/** Maximum of characters in a message, since messages are stored in statuses. */
const maxMessage = 200;

/** On one line. A long message keeps its end, which has the cause. */
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
 * Why a pending pod has no node, or its containers are not running; empty for other pods.
 * @param spec distinguishes sidecars from other init containers, which the kubelet both reports as started while they
 * run
 */
export function obstacleOf(status: Fields, spec: Fields = {}): string {
  if (!isPending(status)) return "";
  const conditions = (status["conditions"] ?? []) as RawCondition[];
  const unscheduled = conditions.find(
    (entry) => entry.type === "PodScheduled" && entry.status === "False",
  );
  if (unscheduled) return told(unscheduled.reason, filtersIn(unscheduled.message));
  const next = nextContainer(status, spec);
  return next === undefined ? "" : obstacleText(next);
}

/** What kube-scheduler's filters say, without what it says about preemption, which pods of Rota never cause. */
const filtersIn = (message = ""): string =>
  message.replace(/\.?\s*(no new claims to deallocate,\s*)?preemption: .*$/s, "");

const isPending = ({ phase }: Fields): boolean => phase === undefined || phase === "Pending";

/** The container that the pod waits for. Init containers run in sequence: the first that is not done. */
function nextContainer(status: Fields, spec: Fields): Named | undefined {
  const sidecars = sidecarsOf(spec);
  const next = initContainersOf(status).find(({ status: entry }) => !isDone(entry, sidecars));
  if (next !== undefined && !isWaitingForOthers(next.status)) return next;
  return mainContainersOf(status).find(({ status: entry }) => entry.state?.waiting);
}

/** What a pending pod waits for: its init containers, which run, or something that its template has wrong. */
export type StartPhase = "Initializing" | "WrongTemplate" | "Other";

/** Reasons of waiting containers that another node would not mend. */
const templateReasons = new Set([
  "CreateContainerConfigError",
  "CreateContainerError",
  "ErrImageNeverPull",
  "ErrImagePull",
  "ImageInspectError",
  "ImagePullBackOff",
  "InvalidImageName",
  "SignatureValidationFailed",
]);

export function startPhaseOf(status: Fields, spec: Fields): StartPhase {
  const next = isPending(status) ? nextContainer(status, spec) : undefined;
  // A sidecar that runs and is not ready keeps the others waiting: it does no work of its own.
  const isSidecar = sidecarsOf(spec).has(next?.status.name);
  if (next?.status.state?.running && !isSidecar) return "Initializing";
  const reason = next?.status.state?.waiting?.reason ?? "";
  return templateReasons.has(reason) ? "WrongTemplate" : "Other";
}

const sidecarsOf = (spec: Fields): ReadonlySet<unknown> =>
  new Set(
    ((spec["initContainers"] ?? []) as Fields[])
      .filter((container) => container["restartPolicy"] === "Always")
      .map((container) => container["name"]),
  );

/** A sidecar is done once it has started, any other init container once it has succeeded. */
const isDone = (
  { name, started, state }: RawContainerStatus,
  sidecars: ReadonlySet<unknown>,
): boolean => state?.terminated?.exitCode === 0 || (sidecars.has(name) && started === true);

/** The kubelet also reports this for init containers, before it has processed the pod. */
const isWaitingForOthers = ({ state }: RawContainerStatus): boolean =>
  state?.waiting?.reason === "PodInitializing" && !state.waiting.message;

function obstacleText({ called, status: { state } }: Named): string {
  if (state?.running) return `${called} is running`;
  if (state?.terminated) return terminatedText(called, state.terminated);
  const { reason, message } = state?.waiting ?? {};
  // Failed volume mounts and pod networks are reported only in events.
  const hint = reason === "ContainerCreating" && !message ? "see the pod's events" : message;
  return told(called, reason, hint);
}

/**
 * Why a failed pod failed; empty for other pods. The pod's own message first, then that of the container that failed
 * first, init containers included.
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

/** By the node's clock; last if the runtime lost the container. */
const finishedMs = ({ finishedAt }: Terminated): number =>
  finishedAt ? Date.parse(finishedAt) : Number.MAX_SAFE_INTEGER;

function terminatedText(called: string, { exitCode, reason, message }: Terminated): string {
  // The reason of every exit code other than 0 is "Error".
  const why = told(reason === "Error" ? "" : reason, message);
  const exited = `${called} exited with code ${exitCode ?? "?"}`;
  return why === "" ? exited : `${exited}: ${why}`;
}

/** Reasons that the kubelet gives where it admits a pod, beside those that begin with "OutOf". */
const rejections = new Set([
  "AppArmor",
  "InvalidNodeInfo",
  "NodeAffinity",
  "NodeName",
  "NodePorts",
  "PodFeatureUnsupported",
  "PodLevelResourcesNotSupported",
  "PodOSNotSupported",
  "PodOSSelectorNodeLabelDoesNotMatch",
  "SysctlForbidden",
  "TaintToleration",
  "TopologyAffinityError",
  "UnexpectedAdmissionError",
  "UnknownReason",
]);

/**
 * Whether the kubelet rejected the pod: before it ran, or when the kubelet started again. Its message begins so since
 * Kubernetes 1.28 (pkg/kubelet, rejectPod).
 */
export function isRejected(status: Fields): boolean {
  if (status["phase"] !== "Failed") return false;
  const reason = textOf(status["reason"]);
  const isKnown = rejections.has(reason) || reason.startsWith("OutOf");
  return isKnown || textOf(status["message"]).startsWith("Pod was rejected");
}

/** Why the cluster ended the pod: taint, drain, node pressure, pod garbage collection. Empty if it did not. */
export function disruptionOf(status: Fields): string {
  const conditions = (status["conditions"] ?? []) as RawCondition[];
  const found = conditions.find(
    ({ type, status: value }) => type === "DisruptionTarget" && value === "True",
  );
  if (found === undefined) return "";
  return shortened(found.message ?? found.reason ?? "disrupted");
}
