/** What kube-scheduler filters on beside resources: Rota places by it, or rejects the job with the field. */
import { expect } from "chai";
import type { KubeObject } from "../../src/kube/resource.ts";
import type { Job } from "../../src/resources/types.ts";
import { podType, useTeam } from "../support/team.ts";

type Fields = Readonly<Record<string, unknown>>;

const hostname = "kubernetes.io/hostname";
const zone = "topology.kubernetes.io/zone";
const required = "requiredDuringSchedulingIgnoredDuringExecution";

interface Asked {
  readonly gpus?: number;
  readonly ports?: readonly object[];
  readonly pod?: Fields;
  /** The label that selectors select by. */
  readonly app?: string;
}

const spec = ({ gpus = 1, ports = [], pod = {}, app = "train" }: Asked): Fields => ({
  template: {
    metadata: { labels: { app, kind: "test" } },
    spec: {
      containers: [
        {
          name: "main",
          image: "none.example/none:1",
          resources: { limits: { "nvidia.com/gpu": gpus } },
          ports,
        },
      ],
      ...pod,
    },
  },
});

const port = (hostPort: number): Asked => ({ ports: [{ containerPort: 80, hostPort }] });
const ownPods = { matchLabels: { app: "train" } };
const antiAffinity = (term: Fields = {}): Asked => ({
  pod: {
    affinity: {
      podAntiAffinity: {
        [required]: [{ topologyKey: hostname, labelSelector: ownPods, ...term }],
      },
    },
  },
});
const spread = (constraint: Fields = {}): Asked => ({
  pod: {
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: hostname,
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: ownPods,
        ...constraint,
      },
    ],
  },
});

describe("the filters of kube-scheduler", () => {
  // Pod Security level baseline forbids host ports.
  const team = useTeam({ project: { podSecurity: "privileged" } });

  /** In its first attempt: kube-scheduler binds the pods where Rota placed them. */
  async function runsAtOnce(name: string): Promise<Job> {
    const found = await team.stateOf(name, "Running");
    expect(found.status.attempt, name).to.equal(1);
    return found;
  }

  it("wishes: they decide among nodes that are equally good", async () => {
    const taints = [{ key: "spare", effect: "PreferNoSchedule" }] as const;
    await team.pool("wishes", { taints });
    await team.cluster.addNodes({ count: 1, gpus: 8, pool: "wishes", namePrefix: "wishes-plain-" });
    const fast = { disk: "fast" };
    await team.cluster.addNodes({
      count: 1,
      gpus: 8,
      pool: "wishes",
      namePrefix: "wishes-q-",
      labels: fast,
    });
    const nodesOf = async (name: string, pod: Fields) => {
      await team.submit(name, { pool: "wishes", spec: spec({ gpus: 8, pod }) });
      return (await runsAtOnce(name)).status.nodes;
    };
    const expression = { key: "disk", operator: "In", values: ["fast"] };
    const preferred = [{ weight: 7, preference: { matchExpressions: [expression] } }];
    const affinity = {
      nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: preferred },
    };
    expect(await nodesOf("fast", { affinity })).to.deep.equal(["wishes-q-1"]);
    expect(await nodesOf("plain", {})).to.deep.equal(["wishes-plain-1"]);
    expect(await nodesOf("left", {})).to.deep.equal(["wishes-1"]);
  });

  it("anti-affinity within a gang: one pod on each node", async () => {
    await team.pool("apart", { count: 3 });
    await team.submit("apart", { pool: "apart", parallelism: 2, spec: spec(antiAffinity()) });
    const first = (await runsAtOnce("apart")).status.nodes ?? [];
    expect(new Set(first).size).to.equal(2);
    // Another job with the term keeps away from these pods, too, as they do from its own.
    await team.submit("third", { pool: "apart", spec: spec(antiAffinity()) });
    const third = (await runsAtOnce("third")).status.nodes ?? [];
    expect([...first, ...third].toSorted()).to.deep.equal(["apart-1", "apart-2", "apart-3"]);
    await team.submit("fourth", { pool: "apart", spec: spec(antiAffinity()) });
    const { status } = await team.reasonOf("fourth", "InsufficientCapacity");
    expect(status.message).to.include("and a pod that its anti-affinity excludes");
    await team.cancel("third");
    expect((await runsAtOnce("fourth")).status.nodes).to.deep.equal(third);
    // A job that says it of its own pods only is not concerned.
    const named = { labelSelector: { matchLabels: { "rota.dev/job": "named" } } };
    await team.submit("named", {
      pool: "apart",
      parallelism: 3,
      spec: spec({ ...antiAffinity(named), app: "named" }),
    });
    expect((await runsAtOnce("named")).status.nodes).to.have.length(3);
    await team.checkInvariants();
  });

  it("a spread over nodes: at most maxSkew pods on each", async () => {
    await team.pool("spread", { count: 2 });
    for (const [name, maxSkew, parallelism] of [
      ["even", 1, 2],
      ["skewed", 3, 5],
    ] as const) {
      await team.submit(name, { pool: "spread", parallelism, spec: spec(spread({ maxSkew })) });
      await runsAtOnce(name);
      const pods = (await team.pods(name)).map(({ nodeName }) => nodeName);
      for (const node of ["spread-1", "spread-2"])
        expect(pods.filter((one) => one === node).length, `${name} on ${node}`)
          .to.be.at.most(maxSkew)
          .and.at.least(1);
    }
    await team.checkInvariants();
  });

  it("a gang that the limits spread over more nodes than there are evicts nobody", async () => {
    await team.pool("few", { count: 2 });
    await team.run("low", { pool: "few", gpus: 8 });
    for (const [name, asked] of Object.entries({
      "too-apart": antiAffinity(),
      "too-even": spread(),
      "too-many-ports": port(8080),
    })) {
      await team.submit(name, {
        pool: "few",
        parallelism: 4,
        priorityClassName: "high",
        spec: spec(asked),
      });
      const { status } = await team.reasonOf(name, "TooLargeForPool");
      expect(status.message).to.match(
        /needs 4 pods .*at most 1 on a node; 2 nodes match and fit 2 even when empty/,
      );
      expect(status.attempt ?? 0).to.equal(0);
    }
    expect((await team.job("low")).status.attempt).to.equal(1);
    expect((await team.job("low")).status.state).to.equal("Running");
  });

  it("host ports: one pod on each node, the others wait and start when it ends", async () => {
    await team.pool("ports", { count: 2 });
    const nodes: string[] = [];
    for (const name of ["one", "two"]) {
      await team.submit(name, { pool: "ports", spec: spec(port(8080)) });
      nodes.push(...((await runsAtOnce(name)).status.nodes ?? []));
    }
    expect(nodes.toSorted()).to.deep.equal(["ports-1", "ports-2"]);
    await team.submit("three", { pool: "ports", spec: spec(port(8080)) });
    const waiting = await team.reasonOf("three", "InsufficientCapacity");
    expect(waiting.status.message).to.match(
      /host port 8080\/TCP on one node; the closest fit, ports-\d, has 7 GPUs free and host port 8080\/TCP in use/,
    );
    // Another port, and the same one of another protocol, are free.
    await team.submit("udp", {
      pool: "ports",
      spec: spec({ ports: [{ containerPort: 80, hostPort: 8080, protocol: "UDP" }] }),
    });
    await runsAtOnce("udp");
    await team.cancel("one");
    expect((await runsAtOnce("three")).status.nodes).to.deep.equal(nodes.slice(0, 1));
    await team.checkInvariants();
  });

  it("a gang in the host's network: one pod on each node", async () => {
    await team.pool("network", { count: 2 });
    const asked = { ports: [{ containerPort: 29500 }], pod: { hostNetwork: true } };
    await team.submit("mpi", { pool: "network", parallelism: 2, spec: spec(asked) });
    expect((await runsAtOnce("mpi")).status.nodes).to.have.length(2);
  });

  it("a job of high priority evicts the holder of its port, and nobody else", async () => {
    await team.pool("evict", { count: 2 });
    await team.run("holder", { pool: "evict", spec: spec(port(8080)) });
    const [node = ""] = (await team.job("holder")).status.nodes ?? [];
    const other = node === "evict-1" ? "evict-2" : "evict-1";
    await team.run("full", {
      pool: "evict",
      priorityClassName: "high",
      spec: spec({ gpus: 8, pod: { nodeSelector: { [hostname]: other } } }),
    });
    await team.run("beside", { pool: "evict", gpus: 2 });
    await team.submit("urgent", {
      pool: "evict",
      priorityClassName: "high",
      spec: spec(port(8080)),
    });
    expect((await runsAtOnce("urgent")).status.nodes).to.deep.equal([node]);
    await team.reasonOf("holder", "InsufficientCapacity");
    expect((await team.job("beside")).status.state).to.equal("Running");
    await team.checkInvariants();
  });

  it("ports and anti-affinity of pods that are not Rota's", async () => {
    await team.pool("foreign", { count: 2 });
    const foreign = (name: string, node: string, pod: Fields): KubeObject => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "team", labels: { app: name } },
      spec: {
        nodeName: node,
        tolerations: [{ operator: "Exists" }],
        containers: [
          {
            name: "main",
            image: "none.example/none:1",
            ports: [{ hostPort: 9100, containerPort: 1 }],
          },
        ],
        ...pod,
      },
    });
    const uids: string[] = [];
    const pods = [
      foreign("exporter", "foreign-1", {}),
      foreign("keeps-away", "foreign-2", {
        ...antiAffinity().pod,
        containers: [{ name: "main", image: "none.example/none:1" }],
      }),
    ];
    for (const pod of pods) {
      const { metadata } = await team.view.client.create(podType, pod);
      uids.push(metadata.uid ?? "");
    }
    await team.view.until("the port to be counted", async () => {
      const { rows } = await team.database.pool.query(
        "SELECT FROM node_resources WHERE node_name LIKE 'foreign-%' AND other = 1",
      );
      return rows.length === 2;
    });
    await team.submit("keeps-away", { pool: "foreign", spec: spec(antiAffinity()) });
    expect((await runsAtOnce("keeps-away")).status.nodes).to.deep.equal(["foreign-1"]);
    const asked = { ...port(9100), app: "other" };
    await team.submit("needs-port", { pool: "foreign", spec: spec(asked) });
    expect((await runsAtOnce("needs-port")).status.nodes).to.deep.equal(["foreign-2"]);
    const gang = { pool: "foreign", parallelism: 2, spec: spec(asked) };
    await team.submit("needs-two", gang);
    await team.reasonOf("needs-two", "TooLargeForPool");
    for (const [index, pod] of pods.entries())
      await team.view.client.delete(podType, `team/${pod.metadata.name}`, {
        uid: uids[index] ?? "",
      });
    await team.cancel("needs-port");
    await runsAtOnce("needs-two");
  });

  it("rejects what it cannot honour, with the field", async () => {
    await team.pool("strict");
    const anti = `spec.template.spec.affinity.podAntiAffinity.${required}[0]`;
    const constraint = "spec.template.spec.topologySpreadConstraints[0]";
    const cases: Readonly<Record<string, readonly [Asked, string]>> = {
      claims: [
        { pod: { resourceClaims: [{ name: "gpu", resourceClaimTemplateName: "one-gpu" }] } },
        "spec.template.spec.resourceClaims is not supported",
      ],
      together: [
        {
          pod: {
            affinity: {
              podAffinity: { [required]: [{ topologyKey: hostname, labelSelector: ownPods }] },
            },
          },
        },
        `spec.template.spec.affinity.podAffinity.${required} is not supported`,
      ],
      zones: [antiAffinity({ topologyKey: zone }), `${anti}.topologyKey "${zone}"`],
      others: [
        antiAffinity({ labelSelector: { matchLabels: { app: "serve" } } }),
        `${anti}.labelSelector must select the job's own pods`,
      ],
      keys: [antiAffinity({ matchLabelKeys: ["kind"] }), `${anti}.matchLabelKeys is not supported`],
      "spread-zones": [spread({ topologyKey: zone }), `${constraint}.topologyKey "${zone}"`],
      "spread-others": [
        spread({ labelSelector: { matchLabels: { app: "serve" } } }),
        `${constraint}.labelSelector must select`,
      ],
      "spread-domains": [spread({ minDomains: 2 }), `${constraint}.minDomains 2`],
    };
    for (const [name, [asked, field]] of Object.entries(cases)) {
      await team.submit(name, { pool: "strict", spec: spec(asked) });
      const { status } = await team.stateOf(name, "Rejected");
      expect(status.reason, name).to.equal("UnsupportedConstraint");
      expect(status.message, name).to.include(field);
    }
    // Wishes are kept, and do not decide.
    const wish = { weight: 1, podAffinityTerm: { topologyKey: zone, labelSelector: ownPods } };
    await team.submit("wishes", {
      pool: "strict",
      spec: spec({
        pod: {
          ...spread({ topologyKey: zone, whenUnsatisfiable: "ScheduleAnyway" }).pod,
          resourceClaims: [],
          affinity: {
            podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [wish] },
            podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [wish] },
          },
        },
      }),
    });
    await runsAtOnce("wishes");
  });
});

describe("a filter of kube-scheduler that Rota does not model", () => {
  const team = useTeam({ operator: { ROTA_START_DEADLINE_SECONDS: "8" } });

  it("ends the attempt for its node, in kube-scheduler's words", async () => {
    await team.pool("words", { count: 2 });
    // It is selected by the job's term and does not have the term.
    await team.view.client.create(podType, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "plain", namespace: "team", labels: ownPods.matchLabels },
      spec: {
        nodeName: "words-1",
        containers: [{ name: "main", image: "none.example/none:1" }],
      },
    });
    await team.submit("refused", { pool: "words", spec: spec(antiAffinity()) });
    const { status } = await team.until("refused", "wait for its node", ({ status: { message } }) =>
      /didn't match pod anti-affinity rules/.test(message ?? ""),
    );
    expect(status).to.include({ state: "Starting", reason: "PodsPending", attempt: 1 });
    expect(status.nodes).to.deep.equal(["words-1"]);
    expect((await team.runs("refused", 2)).status.nodes).to.deep.equal(["words-2"]);
    await team.checkInvariants();
  });
});
