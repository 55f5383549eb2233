/** The chart: what it makes is what manifests/ say, and Helm installs, upgrades and uninstalls it on a real API server. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { loadAll } from "js-yaml";
import { type Cluster, startCluster } from "../../../dev/local/cluster.ts";
import { ensureGoTool, helm as helmTool } from "../../../dev/local/go-tool.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { createEmptyDatabase, type TestDatabase } from "../../support/database.ts";
import {
  createDatabaseSecret,
  deployment,
  namespace,
  runsJob,
} from "../../support/installed-operator.ts";
import { rejection } from "../../support/fixtures.ts";
import { kubectl, type Output, runInProject } from "../../support/kubectl.ts";

const chart = "charts/rota";
const production = [
  "--set=database.caKey=ca.crt",
  "--set-json=resources=" +
    JSON.stringify({
      requests: { cpu: "500m", memory: "512Mi" },
      limits: { memory: "1Gi" },
    }),
];

type Tree = { [name: string]: unknown };

/** The order of variables and the mark that keeps definitions are all that may differ. */
function comparable(object: KubeObject): Tree {
  const copy = structuredClone(object) as Tree & { metadata: { annotations?: Tree } };
  const annotations = copy.metadata.annotations;
  if (annotations) {
    delete annotations["helm.sh/resource-policy"];
    if (Object.keys(annotations).length === 0) delete copy.metadata.annotations;
  }
  if (object.kind !== "Deployment") return copy;
  const { spec } = copy as unknown as {
    spec: { template: { spec: { containers: { env: { name: string }[] }[] } } };
  };
  for (const { env } of spec.template.spec.containers) {
    env.sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  return copy;
}

function byName(yaml: string): Record<string, Tree> {
  const objects = loadAll(yaml).filter(Boolean) as KubeObject[];
  return Object.fromEntries(
    objects.map((object) => [`${object.kind} ${object.metadata.name}`, comparable(object)]),
  );
}

describe("the Helm chart", () => {
  let helm: string;
  let cluster: Cluster;
  let database: TestDatabase;
  let folder: string;

  const render = async (...args: string[]): Promise<string> =>
    (await runInProject(helm, ["template", "rota", chart, `--namespace=${namespace}`, ...args]))
      .stdout;

  const rejectionOf = (...args: string[]): Promise<string> =>
    render(...args).then(
      () => "no refusal",
      (error: unknown) => String(error),
    );

  /** Helm's own limit is the shorter one: it says what it waits for. */
  const release = (...args: string[]): Promise<Output> =>
    runInProject(helm, [
      ...args,
      `--kubeconfig=${cluster.kubeconfig}`,
      `--namespace=${namespace}`,
      "--timeout=60s",
    ]);

  const kustomized = async (path: string): Promise<string> =>
    (await kubectl(cluster, "kustomize", path)).stdout;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-helm-"));
    helm = await ensureGoTool(helmTool);
    cluster = await startCluster({ directory: join(folder, "cluster"), nodes: 2 });
    database = await createEmptyDatabase();
  });

  after(async () => {
    await cluster?.stop();
    await database?.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("passes Helm's own checks", async () => {
    await runInProject(helm, ["lint", "--strict", chart]);
  });

  it("renders exactly the objects of manifests/", async () => {
    const rendered = byName(await render("--set=namespace.create=true"));
    const expected = byName(await kustomized("manifests/"));
    expect(Object.keys(rendered).toSorted()).to.deep.equal(Object.keys(expected).toSorted());
    for (const [name, object] of Object.entries(expected)) {
      expect(rendered[name], name).to.deep.equal(object);
    }
  });

  it("renders the production overlay from the documented values", async () => {
    const rendered = byName(await render(...production));
    const expected = byName(await kustomized("manifests/overlays/production"));
    const name = "Deployment rota-operator";
    expect(rendered[name]).to.deep.equal(expected[name]);
  });

  it("renders the monitoring overlay", async () => {
    const rendered = byName(await render("--set=monitoring.enabled=true"));
    const expected = byName(await kustomized("manifests/overlays/monitoring"));
    for (const [name, object] of Object.entries(expected)) {
      expect(rendered[name], name).to.deep.equal(object);
    }
  });

  it("renders the stamping policies where their kind is served", async () => {
    const kind = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
    const expected = byName(await kustomized("manifests/stamping"));
    const rendered = byName(await render(`--api-versions=${kind}`));
    for (const [name, object] of Object.entries(expected)) {
      expect(rendered[name], name).to.deep.equal(object);
    }
    expect(byName(await render())).not.to.include.any.keys(...Object.keys(expected));
  });

  it("marks every definition to outlive the release", async () => {
    const objects = loadAll(await render()).filter(Boolean) as KubeObject[];
    const definitions = objects.filter(({ kind }) => kind === "CustomResourceDefinition");
    expect(definitions).to.have.lengthOf(4);
    for (const { metadata } of definitions) {
      expect(metadata.annotations?.["helm.sh/resource-policy"]).to.equal("keep");
    }
  });

  it("refuses unknown values, and values out of range", async () => {
    expect(await rejectionOf("--set=settings.timezone=UTC")).to.match(/timezone/);
    expect(await rejectionOf("--set=settings.claimLimit=many")).to.match(/claimLimit/);
    expect(await rejectionOf("--set=settings.claimLimit=0")).to.match(/claimLimit/);
    expect(await rejectionOf("--set=settings.logLevel=loud")).to.match(/logLevel/);
    expect(await rejectionOf("--set=settings.leaderElection=no")).to.match(/leaderElection/);
    expect(await rejectionOf("--set=settings.meteredTypes=TPU")).to.match(/meteredTypes/);
    expect(await rejectionOf("--set=replica=3")).to.match(/replica/);
    expect(await rejectionOf("--set=replicas=0")).to.match(/replicas/);
    expect(await rejectionOf("--set=image.digest=latest")).to.match(/digest/);
  });

  it("is refused with a misspelt setting before anything is made", async () => {
    const misspelt = "--set=settings.holdSecond=5";
    for (const attempt of [
      runInProject(helm, ["lint", "--strict", chart, misspelt]),
      release("install", "rota", chart, "--create-namespace", misspelt),
    ]) {
      const { message } = await rejection(attempt);
      expect(message).to.contain("holdSecond");
    }
    const { stdout } = await kubectl(cluster, "get", "namespaces", "--output=name");
    expect(stdout).not.to.contain(namespace);
  });

  it("restricts who reaches the operator's ports", async () => {
    const peer = { ipBlock: { cidr: "192.0.2.0/28" } };
    const ingressOf = async (...args: string[]) => {
      const policy = byName(await render(...args))["NetworkPolicy rota-operator"];
      const spec = policy?.["spec"] as { readonly ingress: readonly unknown[] } | undefined;
      return spec?.ingress;
    };
    const ports = (port: string) => [{ protocol: "TCP", port }];
    const monitoring = { matchLabels: { "kubernetes.io/metadata.name": "monitoring" } };
    expect(await ingressOf()).to.deep.equal([
      { ports: ports("http"), from: [{ namespaceSelector: monitoring }] },
      { ports: ports("api") },
    ]);
    const values = JSON.stringify([peer]);
    expect(
      await ingressOf(
        `--set-json=networkPolicy.metricsFrom=[]`,
        `--set-json=networkPolicy.apiFrom=${values}`,
      ),
    ).to.deep.equal([{ ports: ports("http") }, { ports: ports("api"), from: [peer] }]);
  });

  it("mounts the API's certificate", async () => {
    const rendered = byName(await render("--set=api.certificateSecret=rota-api-tls"));
    const text = JSON.stringify(rendered["Deployment rota-operator"]);
    expect(text).to.include('{"name":"ROTA_API_CERT_FILE","value":"/etc/rota/api/tls.crt"}');
    expect(text).to.include('{"name":"api-certificate","secret":{"secretName":"rota-api-tls"}}');
    expect(text).to.include(
      '{"name":"api-certificate","mountPath":"/etc/rota/api","readOnly":true}',
    );
  });

  it("passes settings on", async () => {
    const values = join(folder, "values.yaml");
    writeFileSync(
      values,
      "settings: { timeZone: Europe/Berlin, claimLimit: 100000, leaderElection: false }\n",
    );
    const rendered = byName(await render(`--values=${values}`));
    const text = JSON.stringify(rendered["Deployment rota-operator"]);
    expect(text).to.include('{"name":"ROTA_TIME_ZONE","value":"Europe/Berlin"}');
    expect(text).to.include('{"name":"ROTA_CLAIM_LIMIT","value":"100000"}');
    expect(text).to.include('{"name":"ROTA_LEADER_ELECTION","value":"false"}');
  });

  it("is installed by Helm, and runs a job", async () => {
    await release("install", "rota", chart, "--create-namespace");
    await createDatabaseSecret(cluster, database.url);
    await runsJob(cluster, folder, "first");
  });

  it("is upgraded by Helm", async () => {
    await release("upgrade", "rota", chart, "--set=settings.timeZone=Europe/Berlin");
    const { spec } = await deployment(cluster);
    const zone = spec.template.spec.containers[0]?.env.find(
      ({ name }) => name === "ROTA_TIME_ZONE",
    );
    expect(zone?.value).to.equal("Europe/Berlin");
  });

  it("leaves every object of users when it is uninstalled", async () => {
    await release("uninstall", "rota", "--wait");
    const { stdout: gone } = await kubectl(
      cluster,
      "get",
      "deployments,clusterroles",
      "--all-namespaces",
    );
    expect(gone).not.to.include("rota-");
    const { stdout } = await kubectl(
      cluster,
      "get",
      "projects,resourceplans,rj",
      "--all-namespaces",
      "--output=name",
    );
    expect(stdout.trim().split("\n")).to.deep.equal([
      "project.rota.dev/team",
      "resourceplan.rota.dev/all",
      "job.rota.dev/first",
    ]);
    const pods = await kubectl(
      cluster,
      "get",
      "pods",
      "--namespace=team",
      "--output=jsonpath={.items[*].status.phase}",
    );
    expect(pods.stdout).to.equal("Running");
  });

  it("is applied by kubectl, and continues where it was", async () => {
    const file = join(folder, "rendered.yaml");
    writeFileSync(file, await render("--set=namespace.create=true"));
    const args = ["apply", "--server-side", "--validate=strict", `--filename=${file}`];
    const { stderr } = await kubectl(cluster, ...args);
    expect(stderr).to.equal("");
    await runsJob(cluster, folder, "second");
    const { rows } = await database.pool.query("SELECT name, status FROM jobs ORDER BY name");
    expect(rows).to.deep.equal([
      { name: "first", status: "running" },
      { name: "second", status: "running" },
    ]);
  });
});
