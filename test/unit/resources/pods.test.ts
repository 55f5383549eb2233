import { expect } from "chai";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { podsOf } from "../../../src/resources/types.ts";

const project = (raw: KubeObject) => podsOf("nvidia.com/gpu").project(raw);
const ours: KubeObject = {
  metadata: {
    name: "train-2-0",
    namespace: "team",
    labels: {
      "rota.dev/job": "train",
      "rota.dev/job-uid": "u",
      "rota.dev/attempt": "2",
      "rota.dev/index": "0",
    },
    ownerReferences: [
      { apiVersion: "rota.dev/v1alpha1", kind: "Job", name: "train", uid: "u", controller: true },
    ],
  },
};
const changed = (metadata: Partial<KubeObject["metadata"]>): KubeObject => ({
  metadata: { ...ours.metadata, ...metadata },
});

describe("a pod", () => {
  it("is a job's when labels, controller and name agree", () => {
    expect(project(ours)).to.include({ jobKey: "team/train", jobUid: "u", attempt: 2 });
  });

  const otherUsage: readonly (readonly [string, KubeObject])[] = [
    ["without a controller", changed({ ownerReferences: [] })],
    [
      "with another controller",
      changed({
        ownerReferences: [
          { apiVersion: "batch/v1", kind: "Job", name: "train", uid: "u", controller: true },
        ],
      }),
    ],
    ["with another name", changed({ name: "mine" })],
    [
      "with another job's uid",
      changed({ labels: { ...ours.metadata.labels, "rota.dev/job-uid": "v" } }),
    ],
    ["without labels", changed({ labels: {} })],
  ];
  for (const [what, raw] of otherUsage) {
    it(`${what} is not a job's, and counts on its node`, () => {
      expect(project(raw).jobKey).to.equal("");
    });
  }

  it("says why the cluster ended it", () => {
    const conditions = [
      {
        type: "DisruptionTarget",
        status: "True",
        reason: "DeletionByPodGC",
        message: "node is gone",
      },
    ];
    expect(project({ ...ours, status: { phase: "Failed", conditions } }).disruption).to.equal(
      "node is gone",
    );
    expect(project({ ...ours, status: { phase: "Failed" } }).disruption).to.equal("");
  });
});
