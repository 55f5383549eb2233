/** What pods say of themselves: statuses as a kubelet 1.36 writes them. */
import { expect } from "chai";
import {
  failureOf,
  isRejected,
  obstacleOf,
  shortened,
  startPhaseOf,
} from "../../../src/resources/pod-messages.ts";

const terminated = (
  name: string,
  exitCode: number,
  finishedAt: string | null = "2026-06-01T08:00:10Z",
  more: object = {},
) => ({
  name,
  state: {
    terminated: {
      exitCode,
      reason: exitCode === 0 ? "Completed" : "Error",
      finishedAt,
      ...more,
    },
  },
});
const waiting = (name: string, reason: string, message?: string) => ({
  name,
  state: { waiting: { reason, ...(message === undefined ? {} : { message }) } },
});
const initializing = waiting("main", "PodInitializing");
const startError =
  'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: exec: "/bin/absent": stat /bin/absent: no such file or directory';

describe("why a pod failed", () => {
  const cases: readonly (readonly [string, object, string])[] = [
    [
      "its container exits",
      { containerStatuses: [terminated("main", 3)] },
      "container main exited with code 3",
    ],
    [
      "its container exceeds its memory limit",
      {
        containerStatuses: [terminated("main", 137, undefined, { reason: "OOMKilled" })],
      },
      "container main exited with code 137: OOMKilled",
    ],
    [
      "it exceeds activeDeadlineSeconds",
      {
        reason: "DeadlineExceeded",
        message: "Pod was active on the node longer than the specified deadline",
        containerStatuses: [terminated("main", 143)],
      },
      "DeadlineExceeded: Pod was active on the node longer than the specified deadline (container main exited with code 143)",
    ],
    [
      "it fills an emptyDir",
      {
        reason: "Evicted",
        message: 'Usage of EmptyDir volume "s" exceeds the limit "1Mi". ',
        containerStatuses: [terminated("main", 143)],
      },
      'Evicted: Usage of EmptyDir volume "s" exceeds the limit "1Mi". (container main exited with code 143)',
    ],
    [
      "its command is not found",
      {
        containerStatuses: [
          terminated("main", 128, undefined, {
            reason: "StartError",
            message: startError,
          }),
        ],
      },
      `container main exited with code 128: StartError: …${startError.slice(-199)}`,
    ],
    [
      "its init container exits",
      {
        initContainerStatuses: [terminated("init-0", 7)],
        containerStatuses: [initializing],
      },
      "init container init-0 exited with code 7",
    ],
    [
      "the kubelet rejects it",
      {
        reason: "UnexpectedAdmissionError",
        message:
          "Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = the driver does not answer, which is unexpected",
      },
      "UnexpectedAdmissionError: Pod was rejected: Allocate failed due to rpc error: code = Unknown desc = the driver does not answer, which is unexpected",
    ],
    [
      "the kubelet rejects it while it runs",
      {
        reason: "NodeAffinity",
        message: "Pod was rejected: Predicate NodeAffinity failed",
        containerStatuses: [terminated("main", 143)],
      },
      "NodeAffinity: Pod was rejected: Predicate NodeAffinity failed (container main exited with code 143)",
    ],
    [
      "a liveness probe kills its container, which only an event tells",
      { containerStatuses: [terminated("main", 137)] },
      "container main exited with code 137",
    ],
    [
      "several containers fail: the first of them in time",
      {
        containerStatuses: [
          terminated("late", 143, "2026-06-01T08:00:12Z"),
          terminated("first", 5, "2026-06-01T08:00:11Z"),
          terminated("well", 0, "2026-06-01T08:00:01Z"),
        ],
      },
      "container first exited with code 5",
    ],
    [
      "a sidecar is ended after its container",
      {
        initContainerStatuses: [terminated("sidecar", 137, "2026-06-01T08:00:11Z")],
        containerStatuses: [terminated("main", 5, "2026-06-01T08:00:11Z")],
      },
      "container main exited with code 5",
    ],
    [
      "the runtime has lost a container",
      {
        containerStatuses: [
          terminated("lost", 137, null, {
            reason: "ContainerStatusUnknown",
            message: "The container could not be located when the pod was terminated",
          }),
          terminated("main", 1),
        ],
      },
      "container main exited with code 1",
    ],
    [
      "its program leaves a message",
      {
        containerStatuses: [terminated("main", 1, undefined, { message: "no\nlicence\n" })],
      },
      "container main exited with code 1: no licence",
    ],
    ["nobody knows", {}, "the pod failed"],
  ];
  for (const [what, status, text] of cases) {
    it(what, () => {
      expect(failureOf({ phase: "Failed", ...status })).to.equal(text);
    });
  }

  it("is empty while it has not", () => {
    expect(failureOf({ phase: "Running", reason: "Evicted" })).to.equal("");
  });
});

describe("why a pod does not run yet", () => {
  const pullError =
    'failed to pull and unpack image "127.0.0.1:1/typo:1": failed to resolve reference "127.0.0.1:1/typo:1": failed to do request: Head "https://127.0.0.1:1/v2/typo/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused';
  const cases: readonly (readonly [string, object, string])[] = [
    [
      "an unpullable image: the cause at the end of the message",
      {
        containerStatuses: [
          waiting("main", "ImagePullBackOff", `Back-off pulling image "x": ${pullError}`),
        ],
      },
      `container main: ImagePullBackOff: …${pullError.slice(-199)}`,
    ],
    [
      "a volume that cannot be mounted",
      { containerStatuses: [waiting("main", "ContainerCreating")] },
      "container main: ContainerCreating: see the pod's events",
    ],
    [
      "an init container that works",
      {
        initContainerStatuses: [
          terminated("init-0", 0),
          { name: "init-1", state: { running: {} }, started: true },
          waiting("init-2", "PodInitializing"),
        ],
        containerStatuses: [initializing],
      },
      "init container init-1 is running",
    ],
    [
      "an init container whose image cannot be pulled",
      {
        initContainerStatuses: [waiting("init-0", "ErrImageNeverPull", "not present")],
        containerStatuses: [initializing],
      },
      "init container init-0: ErrImageNeverPull: not present",
    ],
    [
      "a container that waits beside a sidecar that has started",
      {
        initContainerStatuses: [{ name: "sidecar", started: true, state: { running: {} } }],
        containerStatuses: [waiting("main", "CreateContainerConfigError", 'secret "s" not found')],
      },
      'container main: CreateContainerConfigError: secret "s" not found',
    ],
    [
      "no node",
      {
        conditions: [
          {
            type: "PodScheduled",
            status: "False",
            reason: "Unschedulable",
            message: "0/3 nodes are available",
          },
        ],
      },
      "Unschedulable: 0/3 nodes are available",
    ],
    [
      "no node, by kube-scheduler's filters",
      {
        conditions: [
          {
            type: "PodScheduled",
            status: "False",
            reason: "Unschedulable",
            message:
              "0/15 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 14 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/15 nodes are available: 1 No preemption victims found for incoming pod, 14 Preemption is not helpful for scheduling.",
          },
        ],
      },
      "Unschedulable: 0/15 nodes are available: 1 node(s) didn't match pod anti-affinity rules, 14 node(s) didn't satisfy plugin(s) [NodeAffinity]",
    ],
    ["a kubelet that has not looked at it", {}, ""],
  ];
  for (const [what, status, text] of cases) {
    it(what, () => {
      const spec = { initContainers: [{ name: "sidecar", restartPolicy: "Always" }] };
      expect(obstacleOf({ phase: "Pending", ...status }, spec)).to.equal(text);
    });
  }
});

describe("a long message", () => {
  it("keeps its end, on one line", () => {
    expect(shortened(`${"x".repeat(300)}\n the cause`))
      .to.match(/^…x+ the cause$/)
      .and.have.length(200);
    expect(shortened(" a \n b ")).to.equal("a b");
  });
});

describe("a pod that the kubelet rejected", () => {
  for (const [what, status, expected] of [
    ["for its devices", { phase: "Failed", reason: "UnexpectedAdmissionError" }, true],
    ["for want of GPUs", { phase: "Failed", reason: "OutOfnvidia.com/gpu" }, true],
    ["in newer words", { phase: "Failed", reason: "New", message: "Pod was rejected: new" }, true],
    ["no: past its deadline", { phase: "Failed", reason: "DeadlineExceeded" }, false],
    ["no: its container failed", { phase: "Failed" }, false],
    ["no: it waits", { phase: "Pending", reason: "OutOfcpu" }, false],
  ] as const) {
    it(what, () => expect(isRejected(status)).to.equal(expected));
  }
});

describe("what a pending pod waits for", () => {
  const waiting = (reason: string) => ({ name: "a", state: { waiting: { reason } } });
  for (const [what, status, expected] of [
    ["a wrong image", { containerStatuses: [waiting("ImagePullBackOff")] }, "WrongTemplate"],
    [
      "an absent Secret",
      { containerStatuses: [waiting("CreateContainerConfigError")] },
      "WrongTemplate",
    ],
    ["its creation", { containerStatuses: [waiting("ContainerCreating")] }, "Other"],
    [
      "an init container that runs",
      {
        initContainerStatuses: [{ name: "i", state: { running: {} } }],
        containerStatuses: [waiting("PodInitializing")],
      },
      "Initializing",
    ],
    [
      "an init container with a wrong image",
      {
        initContainerStatuses: [waiting("ErrImagePull")],
        containerStatuses: [waiting("PodInitializing")],
      },
      "WrongTemplate",
    ],
    ["nothing", { phase: "Running", containerStatuses: [waiting("ErrImagePull")] }, "Other"],
  ] as const) {
    it(what, () => expect(startPhaseOf({ phase: "Pending", ...status }, {})).to.equal(expected));
  }

  it("a sidecar that is not ready", () => {
    const initContainerStatuses = [{ name: "proxy", state: { running: {} }, started: false }];
    const spec = { initContainers: [{ name: "proxy", restartPolicy: "Always" }] };
    expect(startPhaseOf({ phase: "Pending", initContainerStatuses }, spec)).to.equal("Other");
  });
});
