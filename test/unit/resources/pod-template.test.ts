import { expect } from "chai";
import { templateProblems } from "../../../src/resources/pod-template.ts";
import type { TemplateUse } from "../../../src/resources/pod-template.ts";

const use = (input: Partial<TemplateUse> = {}): TemplateUse => ({
  parallelism: 1,
  storages: [],
  hasConfig: false,
  ...input,
});
const containers = [{ name: "main", image: "i" }];
const withContainer = (fields: object) => ({
  spec: { containers: [{ ...containers[0], ...fields }] },
});

describe("a pod template", () => {
  const cases: readonly (readonly [string, object, RegExp, Partial<TemplateUse>?])[] = [
    [
      "a node",
      { spec: { containers, nodeName: "n1" } },
      /spec\.template\.spec\.nodeName.*nodeSelector/,
    ],
    [
      "a restart policy",
      { spec: { containers, restartPolicy: "OnFailure" } },
      /spec\.template\.spec\.restartPolicy "OnFailure".*spec\.backoffLimit/,
    ],
    [
      "scheduling gates",
      { spec: { containers, schedulingGates: [{ name: "wait" }] } },
      /spec\.template\.spec\.schedulingGates.*spec\.suspend/,
    ],
    [
      "a priority class",
      { spec: { containers, priorityClassName: "system-node-critical" } },
      /spec\.template\.spec\.priorityClassName.*spec\.priorityClassName/,
    ],
    [
      "the host name of a gang's pod",
      { spec: { containers, hostname: "me" } },
      /spec\.template\.spec\.hostname/,
      { parallelism: 2 },
    ],
    [
      "a label of Rota's",
      { metadata: { labels: { "rota.dev/job": "other" } }, spec: { containers } },
      /spec\.template\.metadata\.labels\["rota\.dev\/job"\]/,
    ],
    [
      "an owner",
      { metadata: { ownerReferences: [{}] }, spec: { containers } },
      /spec\.template\.metadata\.ownerReferences/,
    ],
    [
      "a finalizer",
      { metadata: { finalizers: ["a/b"] }, spec: { containers } },
      /spec\.template\.metadata\.finalizers/,
    ],
    [
      "a misspelt field beside spec",
      { metadata: { lables: {} }, sepc: {}, spec: { containers } },
      /spec\.template\.sepc.*|spec\.template\.metadata\.lables/,
    ],
    [
      "a variable of Rota's",
      withContainer({ env: [{ name: "RANK" }, { name: "ROTA_JOB_INDEX", value: "7" }] }),
      /spec\.template\.spec\.containers\[0\]\.env\[1\]: ROTA_JOB_INDEX/,
    ],
    [
      "a volume of Rota's",
      { spec: { containers, volumes: [{ name: "rota-config" }] } },
      /spec\.template\.spec\.volumes\[0\]\.name "rota-config"/,
    ],
    [
      "a mount where a storage goes",
      withContainer({ volumeMounts: [{ name: "x", mountPath: "/data" }] }),
      /spec\.template\.spec\.containers\[0\]\.volumeMounts\[0\]\.mountPath "\/data".*storage data/,
      { storages: [{ name: "data", mountPath: "/data" }] },
    ],
    [
      "two storages in one place",
      { spec: { containers } },
      /spec\.storages\[1\]\.mountPath "\/data" is already used for storage data/,
      {
        storages: [
          { name: "data", mountPath: "/data" },
          { name: "more", mountPath: "/data" },
        ],
      },
    ],
    [
      "a storage where the configuration goes",
      { spec: { containers } },
      /spec\.storages\[0\]\.mountPath "\/etc\/rota" is already used for the configuration/,
      { hasConfig: true, storages: [{ name: "data", mountPath: "/etc/rota" }] },
    ],
  ];
  for (const [what, template, words, input] of cases) {
    it(`is rejected with ${what}`, () => {
      expect(templateProblems(template, use(input)).join("; ")).to.match(words);
    });
  }

  it("is accepted with all that belongs to the user", () => {
    const template = {
      metadata: {
        name: "ignored",
        labels: { app: "x" },
        annotations: { "rota.dev/simulate-run-seconds": "1" },
      },
      spec: {
        containers,
        restartPolicy: "Never",
        hostname: "mine",
        schedulerName: "other",
        activeDeadlineSeconds: 60,
        nodeSelector: { a: "b" },
        tolerations: [],
        schedulingGates: [],
      },
    };
    expect(templateProblems(template, use())).to.deep.equal([]);
  });
});
