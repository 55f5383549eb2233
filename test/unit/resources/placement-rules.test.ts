/** Which pods may share a node: what is honoured, and what is rejected with its field. */
import { expect } from "chai";
import { maxPodsPerNodeOf, placementProblems } from "../../../src/resources/placement-rules.ts";

const hostname = "kubernetes.io/hostname";
const zone = "topology.kubernetes.io/zone";
const labels = { app: "train", "rota.dev/job": "j", "rota.dev/index": "0" };
const own = { matchLabels: { app: "train" } };
const others = { matchLabels: { app: "serve" } };

const problemsOf = (spec: object): readonly string[] =>
  placementProblems({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "j-1-0", namespace: "team", labels },
    spec,
  });

const apart = (term: object) => ({
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: hostname, labelSelector: own, ...term },
      ],
    },
  },
});

const spread = (constraint: object) => ({
  topologySpreadConstraints: [
    {
      maxSkew: 1,
      topologyKey: hostname,
      whenUnsatisfiable: "DoNotSchedule",
      labelSelector: own,
      ...constraint,
    },
  ],
});

const term = (weight: number) => ({
  weight,
  podAffinityTerm: { topologyKey: zone, labelSelector: others },
});

describe("the pods that may share a node", () => {
  for (const [what, spec] of Object.entries({
    "nothing said": {},
    "empty lists": { resourceClaims: [], topologySpreadConstraints: [], affinity: {} },
    "anti-affinity among its own pods": apart({}),
    "anti-affinity by the job's name": apart({
      labelSelector: { matchLabels: { "rota.dev/job": "j" } },
    }),
    "anti-affinity with its namespace": apart({ namespaces: ["other", "team"] }),
    "anti-affinity in all namespaces": apart({ namespaceSelector: {} }),
    "anti-affinity to all pods": apart({ labelSelector: {} }),
    "a spread over nodes": spread({ nodeAffinityPolicy: "Honor", minDomains: 1 }),
    "a spread that is a wish": spread({ topologyKey: zone, whenUnsatisfiable: "ScheduleAnyway" }),
    "preferred terms": {
      affinity: {
        podAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [term(1)] },
        podAntiAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [term(2)] },
      },
    },
  })) {
    it(`are understood: ${what}`, () => {
      expect(problemsOf(spec)).to.deep.equal([]);
    });
  }

  const anti =
    /^spec\.template\.spec\.affinity\.podAntiAffinity\.requiredDuringSchedulingIgnoredDuringExecution\[0\]/;
  const constraint = /^spec\.template\.spec\.topologySpreadConstraints\[0\]/;
  for (const [what, spec, field, words] of [
    [
      "a resource claim",
      { resourceClaims: [{ name: "gpu", resourceClaimTemplateName: "one" }] },
      /^spec\.template\.spec\.resourceClaims/,
      /extended resources/,
    ],
    [
      "affinity to pods",
      {
        affinity: {
          podAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: [
              { topologyKey: hostname, labelSelector: own },
            ],
          },
        },
      },
      /^spec\.template\.spec\.affinity\.podAffinity\.required/,
      /nodeAffinity/,
    ],
    [
      "more host ports than can be compared",
      { containers: [{ ports: Array.from({ length: 65 }, (_, at) => ({ hostPort: at + 1 })) }] },
      /^spec\.template\.spec has 65 host ports/,
      /at most 64/,
    ],
    ["anti-affinity by zone", apart({ topologyKey: zone }), anti, /topologyKey ".*zone".*hostname/],
    ["anti-affinity to others", apart({ labelSelector: others }), anti, /the job's own pods/],
    ["anti-affinity to nobody", apart({ labelSelector: null }), anti, /the job's own pods/],
    ["anti-affinity elsewhere", apart({ namespaces: ["other"] }), anti, /own namespace, team/],
    [
      "anti-affinity in selected namespaces",
      apart({ namespaceSelector: { matchLabels: { a: "b" } } }),
      anti,
      /own namespace, team/,
    ],
    [
      "anti-affinity to one pod of the gang",
      apart({ labelSelector: { matchLabels: { "rota.dev/index": "0" } } }),
      anti,
      /rota\.dev\/index, which differs/,
    ],
    ["keys to match", apart({ matchLabelKeys: ["app"] }), anti, /matchLabelKeys.*labelSelector/],
    ["keys to differ in", apart({ mismatchLabelKeys: ["app"] }), anti, /mismatchLabelKeys/],
    ["a spread over zones", spread({ topologyKey: zone }), constraint, /ScheduleAnyway/],
    ["a spread of others", spread({ labelSelector: others }), constraint, /the job's own pods/],
    ["a spread with keys", spread({ matchLabelKeys: ["app"] }), constraint, /matchLabelKeys/],
    ["a least number of nodes", spread({ minDomains: 2 }), constraint, /minDomains 2.*maxSkew/],
    ["nodes that do not match", spread({ nodeAffinityPolicy: "Ignore" }), constraint, /Honor/],
  ] as const) {
    it(`are rejected with the field: ${what}`, () => {
      const [problem = "", ...more] = problemsOf(spec);
      expect(problem).to.match(field);
      expect(problem).to.match(words);
      expect(more).to.deep.equal([]);
    });
  }

  it("are limited by the strictest spread, wishes aside", () => {
    const constraints = [3, 2].flatMap((maxSkew) => spread({ maxSkew }).topologySpreadConstraints);
    const wish = spread({ whenUnsatisfiable: "ScheduleAnyway" }).topologySpreadConstraints;
    expect(maxPodsPerNodeOf({ topologySpreadConstraints: [...wish, ...constraints] })).to.equal(2);
    expect(maxPodsPerNodeOf({ topologySpreadConstraints: wish })).to.equal(undefined);
    expect(maxPodsPerNodeOf({})).to.equal(undefined);
  });
});
