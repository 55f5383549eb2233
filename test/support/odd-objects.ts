/**
 * Unusual objects of every watched kind that the API server would accept: valid seeds with mutated amounts, texts,
 * maps, times and missing parts.
 */
import type { KubeObject } from "../../src/kube/resource.ts";

/** Returns 0 inclusive to 1 exclusive, repeatably. */
export type Draw = () => number;

/** A generator of draws from a seed (mulberry32). */
export function drawsOf(seed: number): Draw {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const gpu = "nvidia.com/gpu";
const suffixes = [
  "",
  "n",
  "u",
  "m",
  "k",
  "M",
  "G",
  "T",
  "P",
  "E",
  "Ki",
  "Mi",
  "Gi",
  "Ti",
  "Pi",
  "Ei",
];
const digits = [
  "0",
  "1",
  "7",
  "8",
  "10",
  "999",
  "8191",
  "300000",
  "9007199254740993",
  "9223372036854775807",
];
const exponents = ["e3", "E3", "e18", "e-9", "e300", "e-300", "E0"];
/** Unusual label values; at most 63 characters. */
const labelValues = [
  "",
  "0",
  "-0",
  "x",
  "1e3",
  "0x10",
  "A".repeat(63),
  "9".repeat(20),
  "00",
  "null",
  "__proto__",
].filter((value) => /^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$/.test(value));
const labelKeys = [
  "rota.dev/pool",
  "rota.dev/job",
  "rota.dev/job-uid",
  "rota.dev/attempt",
  "rota.dev/index",
  "rota.dev/project",
  "constructor",
  "toString",
  "example.com/a.b_c",
  "app.kubernetes.io/managed-by",
];
const texts = [
  "",
  "x",
  "ü",
  "𝒳".repeat(200),
  "\u202e",
  "\n",
  "'; DROP TABLE jobs; --",
  "a".repeat(5_000),
  "\ud83d\ude00",
  "null",
];
const times = [
  "1970-01-01T00:00:00Z",
  "0001-01-01T00:00:00Z",
  "9999-12-31T23:59:59Z",
  "2026-02-28T23:59:59Z",
];

/** Creates objects of one kind; `serial` makes their names unique. */
export class OddObjects {
  readonly #draw: Draw;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  pick<Value>(values: readonly Value[]): Value {
    // Within the array, because a draw is below 1.
    return values[Math.floor(this.#draw() * values.length)] as Value;
  }

  chance(share: number): boolean {
    return this.#draw() < share;
  }

  count(below: number): number {
    return Math.floor(this.#draw() * below);
  }

  /** A quantity; an integer where the API server requires one. */
  quantity(isWhole = false): string {
    if (isWhole) return this.pick(digits) + this.pick(["", "k", "M", "Ki", "Gi", "Pi"]);
    const fraction = this.chance(0.2) ? `.${this.pick(digits)}` : "";
    const tail = this.chance(0.2) ? this.pick(exponents) : this.pick(suffixes);
    return `${this.chance(0.05) ? "+" : ""}${this.pick(digits)}${fraction}${tail}`;
  }

  amounts(...more: string[]): Record<string, string> {
    const names = [gpu, "cpu", "memory", "ephemeral-storage", "example.com/fpga", ...more];
    const chosen = names.filter(() => this.chance(0.5));
    return Object.fromEntries(
      chosen.map((name) => [name, this.quantity(name.includes(".") || name === "pods")]),
    );
  }

  labels(): Record<string, string> | undefined {
    if (this.chance(0.3)) return undefined;
    const entries = Array.from({ length: this.chance(0.02) ? 200 : this.count(4) }, (_, at) => [
      this.chance(0.8) ? this.pick(labelKeys) : `example.com/label-${at}`,
      this.pick(labelValues),
    ]);
    return Object.fromEntries(entries) as Record<string, string>;
  }

  text(): string {
    return this.pick(texts);
  }

  maybe<Value>(value: () => Value): Value | undefined {
    return this.chance(0.6) ? value() : undefined;
  }

  /** As in JSON: without undefined fields. */
  object(name: string, namespaced: boolean, version: number, fields: object): KubeObject {
    const labels = this.labels();
    const meta = {
      name,
      ...(namespaced ? { namespace: this.pick(["default", "team", "a".repeat(63)]) } : {}),
      uid: this.pick(["6e2f1c7e-7c2c-4a7e-9d7e-0a5a7f1f6a01", "not-a-uuid"]),
      resourceVersion: String(version),
      generation: this.maybe(() => this.pick([0, 1, 2 ** 40])),
      creationTimestamp: this.pick(times),
      deletionTimestamp: this.chance(0.2) ? this.pick(times) : undefined,
      labels,
      annotations: this.maybe(() => ({ "rota.dev/made": this.text(), note: this.text() })),
      finalizers: this.maybe(() => ["example.com/hold"]),
      ownerReferences: this.maybe(() => [
        {
          apiVersion: this.pick(["rota.dev/v1alpha1", "batch/v1"]),
          kind: "Job",
          name: "x",
          uid: labels?.["rota.dev/job-uid"] || "u",
          controller: this.maybe(() => this.chance(0.8)),
        },
      ]),
    };
    return JSON.parse(JSON.stringify({ metadata: meta, ...fields })) as KubeObject;
  }

  #container(at: number): object {
    return {
      name: `c${at}`,
      image: "a",
      restartPolicy: this.chance(0.2) ? "Always" : undefined,
      resources: this.maybe(() => ({
        requests: this.maybe(() => this.amounts()),
        limits: this.maybe(() => this.amounts()),
      })),
    };
  }

  #containerStatus(at: number): object {
    return {
      name: `c${at}`,
      allocatedResources: this.maybe(() => this.amounts()),
      resources: this.maybe(() => ({ requests: this.maybe(() => this.amounts()) })),
      state: this.pick([
        undefined,
        {},
        { waiting: {} },
        { waiting: { reason: this.text(), message: this.text() } },
        { terminated: { exitCode: this.pick([-1, 0, 137, 2 ** 31 - 1]) } },
      ]),
    };
  }

  #list<Item>(max: number, item: (at: number) => Item): Item[] {
    const length = this.chance(0.01) ? 100 : this.count(max);
    return Array.from({ length }, (_, at) => item(at));
  }

  #conditions(...types: string[]): object[] {
    return types
      .filter(() => this.chance(0.6))
      .map((type) => ({
        type,
        status: this.pick(["True", "False", "Unknown"]),
        reason: this.maybe(() => this.text()),
        message: this.maybe(() => this.text()),
      }));
  }

  podSpec(): Record<string, unknown> {
    return {
      nodeName: this.maybe(() => this.pick(["node-1", "node-2"])),
      containers: [this.#container(0), ...this.#list(3, (at) => this.#container(at + 1))],
      initContainers: this.maybe(() => this.#list(3, (at) => this.#container(at))),
      resources: this.chance(0.2) ? { requests: this.amounts() } : undefined,
      overhead: this.chance(0.2) ? this.amounts() : undefined,
    };
  }

  pod(name: string, version: number): KubeObject {
    return this.object(name, true, version, {
      spec: this.podSpec(),
      status: this.maybe(() => ({
        phase: this.maybe(() =>
          this.pick(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
        ),
        reason: this.maybe(() => this.text()),
        message: this.maybe(() => this.text()),
        conditions: this.maybe(() =>
          this.#conditions("PodScheduled", "Ready", "DisruptionTarget", "Odd"),
        ),
        containerStatuses: this.maybe(() => this.#list(3, (at) => this.#containerStatus(at))),
        initContainerStatuses: this.maybe(() => this.#list(3, (at) => this.#containerStatus(at))),
      })),
    });
  }

  node(name: string, version: number): KubeObject {
    return this.object(name, false, version, {
      spec: {
        unschedulable: this.maybe(() => this.chance(0.5)),
        taints: this.maybe(() =>
          this.#list(3, (at) => ({
            key: `example.com/t${at}`,
            value: this.maybe(() => this.pick(labelValues)),
            effect: this.pick(["NoSchedule", "NoExecute", "PreferNoSchedule"]),
          })),
        ),
      },
      status: this.maybe(() => ({
        allocatable: this.maybe(() => this.amounts("pods")),
        capacity: this.maybe(() => this.amounts("pods")),
        conditions: this.maybe(() => this.#conditions("Ready", "DiskPressure")),
      })),
    });
  }

  priorityClass(name: string, version: number): KubeObject {
    return this.object(name, false, version, {
      value: this.pick([0, -1, -(2 ** 31), 1_000_000_000, 2_000_001_000]),
      preemptionPolicy: this.maybe(() => this.pick(["Never", "PreemptLowerPriority"])),
      globalDefault: this.maybe(() => this.chance(0.5)),
      description: this.maybe(() => this.text()),
    });
  }

  claim(name: string, version: number): KubeObject {
    return this.object(name, true, version, {
      spec: {
        accessModes: this.pick([["ReadWriteOnce"], ["ReadWriteMany", "ReadOnlyMany"]]),
        storageClassName: this.maybe(() => "lustre"),
        resources: { requests: { storage: this.quantity() } },
      },
    });
  }

  resourceQuota(name: string, version: number): KubeObject {
    const amounts = () => ({ pods: this.quantity(), "requests.cpu": this.quantity() });
    const status = { hard: this.maybe(amounts), used: this.maybe(amounts) };
    const expression = () => ({
      scopeName: this.pick(["PriorityClass", "BestEffort", this.text()]),
      operator: this.pick(["In", "Exists", this.text()]),
      values: this.maybe(() => [this.text()]),
    });
    const spec = {
      scopes: this.maybe(() => this.pick([null, ["Terminating", this.text()]])),
      scopeSelector: this.maybe(() => ({
        matchExpressions: this.maybe(() => this.pick([null, [expression()]])),
      })),
    };
    return this.object(name, true, version, {
      spec: this.maybe(() => spec),
      status: this.maybe(() => status),
    });
  }

  configMap(name: string, version: number): KubeObject {
    return this.object(name, true, version, {
      data: this.maybe(() => ({ "config.json": this.text(), [`k${this.count(9)}`]: this.text() })),
      binaryData: this.maybe(() => ({ b: "AAEC" })),
      immutable: this.maybe(() => this.chance(0.5)),
    });
  }

  namespace(name: string, version: number): KubeObject {
    return this.object(name, false, version, { spec: { finalizers: ["kubernetes"] } });
  }

  roleBinding(name: string, version: number): KubeObject {
    return this.object(name, true, version, {
      roleRef: {
        apiGroup: "rbac.authorization.k8s.io",
        kind: "ClusterRole",
        name: this.text() || "r",
      },
      subjects: this.maybe(() =>
        this.#list(5, () => ({ kind: this.pick(["User", "Group"]), name: this.text() || "u" })),
      ),
    });
  }

  project(name: string, version: number): KubeObject {
    return this.object(name, false, version, {
      spec: {
        namespace: this.maybe(() => "team"),
        parent: this.maybe(() => "parent"),
        podSecurity: "baseline",
        owner: this.maybe(() => ({ kind: "Group", name: this.text() || "g" })),
        storages: this.maybe(() => [
          { name: "data", size: this.quantity(), accessMode: "ReadWriteMany" },
        ]),
      },
      status: this.maybe(() => ({ conditions: this.#conditions("Ready") })),
    });
  }

  plan(name: string, version: number): KubeObject {
    return this.object(name, false, version, {
      spec: {
        owner: { kind: this.pick(["User", "Group"]), name: this.text() || "g" },
        resourceType: this.pick(["GPU", "CPU"]),
        quantity: this.pick([0, 1, 2 ** 31 - 1]),
        pool: "default",
      },
    });
  }

  job(name: string, version: number): KubeObject {
    return this.object(name, true, version, {
      spec: {
        pool: this.pick(["default", "a".repeat(63)]),
        parallelism: this.pick([1, 10_000]),
        maxRuntime: this.maybe(() => this.pick(["1s", "90m", "500000h"])),
        backoffLimit: this.pick([0, 1_000]),
        borrowing: "Allow",
        suspend: this.chance(0.5),
        template: { spec: this.podSpec(), odd: this.pick([null, [], {}]) },
      },
      status: this.maybe(() => ({ conditions: this.#conditions("Ready", "Complete") })),
    });
  }

  commit(name: string, version: number): KubeObject {
    return this.object(name, true, version, {
      spec: {
        content: this.pick<unknown>([null, {}, [], "x", 1e308, { a: { b: [null, this.text()] } }]),
        message: this.maybe(() => this.text()),
      },
    });
  }
}
