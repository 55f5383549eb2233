import { expect } from "chai";
import { podDemand } from "../../../src/domain/pod-demand.ts";
import {
  exactBytes,
  maxAmount,
  parseBytes,
  parseCount,
  parseCpuMillis,
} from "../../../src/domain/quantity.ts";
import { durationSeconds } from "../../../src/domain/duration.ts";

const gpu = "nvidia.com/gpu";

describe("quantities", () => {
  for (const [text, millis] of [
    ["1", 1000],
    ["100m", 100],
    ["0.1", 100],
    ["1.0001", 1001],
    ["1u", 1],
    ["2k", 2_000_000],
    ["1e3", 1_000_000],
  ] as const) {
    it(`reads ${text} as ${millis} millicores`, () => {
      expect(parseCpuMillis(text)).to.equal(millis);
    });
  }
  for (const [text, bytes] of [
    ["1Gi", 1_073_741_824],
    ["1G", 1e9],
    ["1.5Ki", 1536],
    ["128974848", 128_974_848],
    ["1500m", 2],
  ] as const) {
    it(`reads ${text} as ${bytes} bytes`, () => {
      expect(parseBytes(text)).to.equal(bytes);
    });
  }
  for (const text of [
    "512Ti",
    "8Ei",
    "9999999999999999999999",
    "1e999999",
    `${"9".repeat(200)}Ei`,
  ]) {
    it(`saturates at ${text.slice(0, 25)}`, () => {
      for (const parse of [parseBytes, parseCpuMillis, parseCount]) {
        expect(parse(text)).to.equal(maxAmount);
        expect(parse(`-${text}`)).to.equal(0);
      }
    });
  }
  it("rounds what is tiny up, as Kubernetes does", () => {
    expect(parseBytes("1e-999999")).to.equal(1);
  });
  it("has exact sizes of storages up to Kubernetes' cap", () => {
    expect(exactBytes("10Pi") - exactBytes("11258999068426239")).to.equal(1n);
    expect(exactBytes("100E")).to.equal(2n ** 63n - 1n);
  });
  for (const text of ["", "Gi", "1Xi", "one", "1 Gi", "."]) {
    it(`refuses the quantity "${text}"`, () => {
      expect(() => parseBytes(text)).to.throw(RangeError);
    });
  }
});

describe("a pod's demand", () => {
  it("saturates the sum of containers", () => {
    const containers = Array.from({ length: 2_000 }, () => ({
      resources: { requests: { memory: "8Ei", cpu: "400G", [gpu]: "9E" } },
    }));
    expect(podDemand({ containers, overhead: { memory: "1Ei" } }, gpu)).to.deep.equal({
      gpus: maxAmount,
      cpuMillis: maxAmount,
      memoryBytes: maxAmount,
    });
  });

  it("adds containers, and takes a limit as the request", () => {
    const spec = {
      containers: [
        { resources: { limits: { [gpu]: "2", cpu: "500m" } } },
        { resources: { requests: { cpu: "1", memory: "1Ki" } } },
      ],
    };
    expect(podDemand(spec, gpu)).to.deep.equal({ gpus: 2, cpuMillis: 1500, memoryBytes: 1024 });
  });

  it("takes the largest init container when that is more", () => {
    const spec = {
      containers: [{ resources: { requests: { cpu: "1" } } }],
      initContainers: [
        { resources: { requests: { cpu: "3" } } },
        { resources: { requests: { cpu: "2" } } },
      ],
    };
    expect(podDemand(spec, gpu).cpuMillis).to.equal(3000);
  });

  it("counts sidecars beside containers and later init containers", () => {
    const sidecar = { restartPolicy: "Always", resources: { requests: { cpu: "1" } } };
    const spec = {
      containers: [{ resources: { requests: { cpu: "2" } } }],
      initContainers: [sidecar, { resources: { requests: { cpu: "3" } } }],
    };
    expect(podDemand(spec, gpu).cpuMillis).to.equal(4000);
  });

  it("prefers pod-level requests to the containers', and adds overhead", () => {
    const spec = {
      resources: { requests: { cpu: "5" } },
      overhead: { cpu: "250m" },
      containers: [{ resources: { requests: { cpu: "1" } } }],
    };
    expect(podDemand(spec, gpu).cpuMillis).to.equal(5250);
  });

  it("counts the larger of two values during a resize", () => {
    const container = (granted: Readonly<Record<string, string>>[]) => ({
      resources: { requests: { cpu: "2", memory: "1Gi" } },
      granted,
    });
    const demand = podDemand(
      {
        containers: [
          container([{ cpu: "4" }, { cpu: "3", memory: "2Gi" }]),
          container([{ cpu: "1" }]),
        ],
      },
      gpu,
    );
    expect(demand).to.deep.equal({ gpus: 0, cpuMillis: 6000, memoryBytes: 3 * 2 ** 30 });
  });
});

describe("durations", () => {
  it("reads hours, minutes and seconds", () => {
    expect(durationSeconds("2h30m5s")).to.equal(9005);
  });
  for (const text of ["", "0s", "5", "1d", "m"]) {
    it(`refuses the duration "${text}"`, () => {
      expect(() => durationSeconds(text)).to.throw(RangeError);
    });
  }
});
