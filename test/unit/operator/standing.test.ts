import { expect } from "chai";
import { standingOf } from "../../../src/operator/ownership/standing.ts";
import type { Marker } from "../../../src/operator/ownership/standing.ts";

const gpuResource = "nvidia.com/gpu";
const own = { clusterUid: "here", lease: "rota-system/rota-operator", gpuResource };
const ours = {
  id: "one",
  formerId: undefined,
  clusterUid: "here",
  isCopy: false,
  gpuResource: gpuResource as string | undefined,
  hasJobs: true,
};
const empty = { ...ours, clusterUid: undefined };
const unmarked: Marker = { databaseId: undefined, lease: "", accepted: undefined };
const marked: Marker = { databaseId: "one", lease: own.lease, accepted: undefined };
const ofAnother: Marker = { ...marked, databaseId: "two" };

describe("the standing of an operator", () => {
  const cases = [
    ["its own database", ours, marked, "ours"],
    ["a new database in a new cluster", empty, unmarked, "mark"],
    ["a new database that is marked", empty, marked, "claim"],
    ["its own database after the marker is lost", ours, unmarked, "mark"],
    ["an empty database", empty, ofAnother, "awaits"],
    ["an empty database, without a Lease", empty, { ...ofAnother, lease: "" }, "DatabaseEmpty"],
    ["another database", ours, ofAnother, "AnotherDatabase"],
    ["another Lease", ours, { ...marked, lease: "two/rota" }, "AnotherInstallation"],
    ["no Lease in the marker", ours, { ...marked, lease: "" }, "ours"],
    ["another cluster", { ...ours, clusterUid: "x" }, marked, "DatabaseOfAnotherCluster"],
    [
      "another cluster, unmarked",
      { ...ours, clusterUid: "x" },
      unmarked,
      "DatabaseOfAnotherCluster",
    ],
    ["a copy", { ...ours, isCopy: true }, marked, "DatabaseRestored"],
    ["an accepted copy", { ...ours, isCopy: true }, { ...marked, accepted: "one" }, "take"],
    [
      "an accepted foreign one",
      { ...ours, clusterUid: "x" },
      { ...unmarked, accepted: "one" },
      "take",
    ],
    [
      "one that was taken",
      { ...ours, id: "new", formerId: "one" },
      { ...marked, accepted: "one" },
      "mark",
    ],
    ["one that has counted no GPUs yet", { ...ours, gpuResource: undefined }, marked, "count"],
    [
      "jobs with GPUs of another vendor",
      { ...ours, gpuResource: "amd.com/gpu" },
      marked,
      "GpuResourceChanged",
    ],
    [
      "another vendor, and no jobs",
      { ...ours, gpuResource: "amd.com/gpu", hasJobs: false },
      marked,
      "count",
    ],
    ["another that is accepted", ours, { ...marked, accepted: "two" }, "ours"],
  ] as const;
  for (const [what, database, marker, expected] of cases) {
    it(`with ${what}: ${expected}`, () => {
      const standing = standingOf(database, marker, own);
      const found =
        standing.is === "refused"
          ? standing.refusal.obstacle
          : standing.is === "step"
            ? standing.step
            : standing.is;
      expect(found).to.equal(expected);
    });
  }
});
