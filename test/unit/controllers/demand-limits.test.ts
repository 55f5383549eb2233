import { expect } from "chai";
import { excessiveDemand } from "../../../src/controllers/job/demand-limits.ts";

const gpu = "nvidia.com/gpu";
const pod = (...limits: Record<string, string>[]) => ({
  containers: limits.map((amounts) => ({ resources: { limits: amounts, requests: amounts } })),
});

describe("what a job requests at most", () => {
  for (const [what, spec, parallelism, message] of [
    ["memory", pod({}, { memory: "10Pi" }), 1, /containers\[1\]\.resources.*\[memory\]: 10Pi must/],
    ["CPU", pod({ cpu: "10P" }), 1, /\[cpu\]: 10P must be less than 500G/],
    ["GPUs of a pod", pod({ [gpu]: "8Gi" }), 1, /\[nvidia\.com\/gpu\]: 8Gi must be less than/],
    ["GPUs of a gang", pod({ [gpu]: "300000" }), 10_000, /spec\.parallelism: .* 3000000000; must/],
    ["sums", pod({ memory: "300Ti" }, { memory: "300Ti" }), 1, /together they must request less/],
    [
      "init containers",
      { initContainers: pod({ memory: "1E" }).containers },
      1,
      /initContainers\[0/,
    ],
  ] as const) {
    it(`has a limit for ${what}`, () => {
      const rejection = excessiveDemand(spec, parallelism, [gpu]);
      expect(rejection?.reason).to.equal("InvalidValue");
      expect(rejection?.message).to.match(message);
    });
  }

  it("is above what clusters have", () => {
    const spec = pod({ [gpu]: "16", cpu: "512", memory: "32Ti" });
    expect(excessiveDemand(spec, 10_000, [gpu])).to.equal(undefined);
  });
});
