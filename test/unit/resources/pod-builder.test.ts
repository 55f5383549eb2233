import { expect } from "chai";
import { buildPod } from "../../../src/resources/pod-builder.ts";
import type { PodOrder } from "../../../src/resources/pod-builder.ts";
import { fieldsOf } from "../../../src/resources/meta.ts";
import { listOf } from "../../../src/resources/pod-template.ts";

const order = (input: Partial<PodOrder> = {}): PodOrder => ({
  job: { name: "train", namespace: "team", uid: "u" },
  project: "vision",
  podSecurity: "baseline",
  attempt: 2,
  index: 1,
  parallelism: 4,
  node: "n7",
  storages: [],
  ...input,
});
const template = (spec: object = {}, metadata: object = {}) => ({
  metadata,
  spec: { containers: [{ name: "main", image: "i" }], ...spec },
});
const specOf = (given: unknown, input: Partial<PodOrder> = {}) =>
  fieldsOf(buildPod(given, order(input))["spec"]);
const termsOf = (spec: Readonly<Record<string, unknown>>) => {
  const { nodeAffinity } = fieldsOf(spec["affinity"]);
  const { requiredDuringSchedulingIgnoredDuringExecution: required } = fieldsOf(nodeAffinity);
  return fieldsOf(required)["nodeSelectorTerms"];
};
const environmentOf = (spec: Readonly<Record<string, unknown>>) =>
  Object.fromEntries(
    listOf(listOf(spec["containers"])[0]?.["env"]).map(({ name, value }) => [name, value]),
  );
const inZones = (...values: string[]) => ({
  matchExpressions: [{ key: "zone", operator: "In", values }],
});
const onNode = { matchFields: [{ key: "metadata.name", operator: "In", values: ["n7"] }] };

describe("the manifests of a job's pods", () => {
  it("have stable host names under the gang's Service", () => {
    const first = specOf(template(), { attempt: 1 });
    const second = specOf(template(), { attempt: 2 });
    expect(first["hostname"]).to.equal("train-1");
    expect(second["hostname"]).to.equal("train-1");
    expect(second["subdomain"]).to.equal("rota-gang");
    expect(environmentOf(second)).to.deep.equal({
      ROTA_JOB_NAME: "train",
      ROTA_JOB_INDEX: "1",
      ROTA_JOB_SIZE: "4",
      ROTA_JOB_ATTEMPT: "2",
      ROTA_JOB_LEADER_ADDRESS: "train-0.rota-gang.team.svc",
    });
  });

  it("name the Node that they were made for", () => {
    const given = template({}, { annotations: { mine: "1" } });
    const { annotations } = buildPod(given, order({ nodeUid: "of-n7" })).metadata;
    expect(annotations).to.deep.equal({ mine: "1", "rota.dev/node-uid": "of-n7" });
  });

  it("keep the 63-character limit of host names", () => {
    const { hostname } = specOf(template(), {
      job: { name: "j".repeat(52), namespace: "team", uid: "u" },
      index: 9999,
      parallelism: 10_000,
    });
    expect(hostname).to.have.length.at.most(63);
  });

  it("of a single-pod job join no Service", () => {
    const pod = buildPod(template({ hostname: "mine" }), order({ parallelism: 1, index: 0 }));
    const spec = fieldsOf(pod["spec"]);
    expect(spec["hostname"]).to.equal("mine");
    expect(spec).not.to.have.property("subdomain");
    expect(pod.metadata.labels).not.to.have.property("rota.dev/gang");
    expect(environmentOf(spec)["ROTA_JOB_LEADER_ADDRESS"]).to.equal("localhost");
  });

  it("define Rota's variables first, for others to refer to", () => {
    const own = { name: "RANK", value: "$(ROTA_JOB_INDEX)" };
    const spec = specOf(template({ containers: [{ name: "main", image: "i", env: [own] }] }));
    expect(listOf(listOf(spec["containers"])[0]?.["env"]).at(-1)).to.deep.equal(own);
  });

  it("are pinned in every alternative of the template's affinity", () => {
    const affinity = (...nodeSelectorTerms: object[]) => ({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms },
        },
      },
    });
    expect(termsOf(specOf(template(affinity(inZones("a"), {}, inZones("b")))))).to.deep.equal([
      { ...inZones("a"), ...onNode },
      { ...inZones("b"), ...onNode },
    ]);
    expect(termsOf(specOf(template(affinity({}))))).to.deep.equal([{}]);
    expect(termsOf(specOf(template()))).to.deep.equal([onNode]);
  });

  it("combine the terms of the template and its storages", () => {
    const spec = specOf(
      template({
        affinity: {
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [inZones("a"), inZones("b")],
            },
          },
        },
      }),
      {
        storages: [
          { name: "data", mountPath: "/data", nodeTerms: [inZones("a"), inZones("c")] },
          { name: "home", mountPath: "/home" },
        ],
      },
    );
    const expressions = (...zones: string[]) => ({
      matchExpressions: zones.map((zone) => ({ key: "zone", operator: "In", values: [zone] })),
      ...onNode,
    });
    expect(termsOf(spec)).to.deep.equal([
      expressions("a"),
      expressions("a", "c"),
      expressions("b", "a"),
      expressions("b", "c"),
    ]);
    expect(
      listOf(spec["volumes"]).map(({ persistentVolumeClaim }) => persistentVolumeClaim),
    ).to.deep.equal([
      { claimName: "data", readOnly: false },
      { claimName: "home", readOnly: false },
    ]);
  });

  it("mount storages whose names are too long for a volume's", () => {
    const name = "s".repeat(63);
    const [volume] = listOf(
      specOf(template(), { storages: [{ name, mountPath: "/data" }] })["volumes"],
    );
    expect(volume?.["name"]).to.have.length.at.most(63);
  });
});

describe("Pod Security defaults", () => {
  const restricted = (spec: object) => specOf(template(spec), { podSecurity: "restricted" });
  const container = (spec: Readonly<Record<string, unknown>>) =>
    fieldsOf(listOf(spec["containers"])[0]?.["securityContext"]);

  it("take away what the restricted level forbids anyway", () => {
    const spec = restricted({});
    expect(container(spec)).to.deep.equal({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ["ALL"] },
    });
    expect(spec["securityContext"]).to.deep.equal({ seccompProfile: { type: "RuntimeDefault" } });
  });

  it("set runAsNonRoot only where the template's user allows it", () => {
    const nonRoot = (spec: object) => fieldsOf(restricted(spec)["securityContext"])["runAsNonRoot"];
    const as = (runAsUser: number) => ({ name: "m", image: "i", securityContext: { runAsUser } });
    expect(nonRoot({})).to.equal(undefined);
    expect(nonRoot({ securityContext: { runAsUser: 0 } })).to.equal(undefined);
    expect(nonRoot({ securityContext: { runAsUser: 1000 } })).to.equal(true);
    expect(nonRoot({ containers: [as(1000)] })).to.equal(true);
    expect(nonRoot({ securityContext: { runAsUser: 1000 }, containers: [as(0)] })).to.equal(
      undefined,
    );
    expect(nonRoot({ securityContext: { runAsUser: 1000, runAsNonRoot: false } })).to.equal(false);
  });

  it("never change what a template says", () => {
    const securityContext = { allowPrivilegeEscalation: true, capabilities: { drop: ["CHOWN"] } };
    const spec = restricted({ containers: [{ name: "main", image: "i", securityContext }] });
    expect(container(spec)).to.deep.equal(securityContext);
  });

  it("leave other levels and Windows alone", () => {
    expect(specOf(template())).not.to.have.property("securityContext");
    expect(restricted({ os: { name: "windows" } })).not.to.have.property("securityContext");
  });
});
