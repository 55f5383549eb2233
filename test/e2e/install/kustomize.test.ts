/** kubectl apply -k, as the documentation says it, on a real API server with strict validation. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type Cluster, startCluster } from "../../../dev/local/cluster.ts";
import { waitFor } from "../../../dev/local/wait.ts";
import { createEmptyDatabase, type TestDatabase } from "../../support/database.ts";
import {
  createDatabaseSecret,
  deployment,
  namespace,
  runsJob,
} from "../../support/installed-operator.ts";
import { kubectl, read } from "../../support/kubectl.ts";

const apply = ["apply", "--server-side", "--validate=strict"];

describe("installation by kustomize", () => {
  let cluster: Cluster;
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-kustomize-"));
    cluster = await startCluster({ directory: join(folder, "cluster"), nodes: 2 });
    database = await createEmptyDatabase();
  });

  after(async () => {
    await cluster?.stop();
    await database?.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("is accepted without a warning, and again", async () => {
    const first = await kubectl(cluster, ...apply, "-k", "manifests/");
    expect(first.stderr).to.equal("");
    await createDatabaseSecret(cluster, database.url);
    const again = await kubectl(cluster, ...apply, "-k", "manifests/");
    expect(again.stderr).to.equal("");
  });

  it("starts two admitted replicas, on different nodes", async () => {
    const rollout = ["rollout", "status", "deployment/rota-operator", "--timeout=60s"];
    await kubectl(cluster, ...rollout, `--namespace=${namespace}`);
    interface Pods {
      readonly items: readonly {
        readonly spec: { readonly nodeName: string; readonly priority: number };
      }[];
    }
    const { items } = await read<Pods>(cluster, "pods", `--namespace=${namespace}`);
    expect(items.map(({ spec }) => spec.nodeName).toSorted()).to.deep.equal(["node-1", "node-2"]);
    expect(items.map(({ spec }) => spec.priority)).to.deep.equal([2_000_000_000, 2_000_000_000]);
  });

  it("lets the operator drain within the kubelet's grace period", async () => {
    const { spec } = (await deployment(cluster)).spec.template;
    const drain = spec.containers[0]?.env.find(({ name }) => name === "ROTA_DRAIN_SECONDS");
    expect(spec.terminationGracePeriodSeconds).to.be.greaterThan(Number(drain?.value));
  });

  it("runs a job under its own ServiceAccount", async () => {
    await runsJob(cluster, folder, "one");
  });

  for (const overlay of ["development", "production"]) {
    it(`has an overlay for ${overlay} that applies without a warning`, async () => {
      const dryRun = ["--dry-run=server", "-k", `manifests/overlays/${overlay}`];
      const { stdout, stderr } = await kubectl(cluster, ...apply, ...dryRun);
      expect(stderr).to.equal("");
      expect(stdout).to.include("deployment.apps/rota-operator serverside-applied");
    });
  }

  /** What a command prints, whether it succeeds or not. */
  const outcomeOf = (command: Promise<{ stdout: string }>): Promise<string> =>
    command.then(
      ({ stdout }) => stdout,
      (error: unknown) => String(error),
    );

  it("leaves users' objects and running pods when uninstalled", async () => {
    const uninstall = ["delete", "--ignore-not-found", "--timeout=60s", "-k", "manifests/"];
    const outcome = await outcomeOf(kubectl(cluster, ...uninstall));
    expect(outcome).to.match(/deleting this definition deletes every Project in the cluster/);
    expect(outcome).to.match(
      /kubectl annotate crd projects\.rota\.dev rota\.dev\/allow-deletion=true/,
    );
    const left = ["namespaces", "clusterroles", "validatingadmissionpolicies"].join(",");
    // kubectl does not wait for the others when one is refused.
    const rest = async () => (await kubectl(cluster, "get", left, "--output=name")).stdout;
    await waitFor(async () => !(await rest()).includes("rota"), {
      what: "all else of Rota to be gone",
      timeoutMs: 60_000,
    });
    const { stdout: users } = await kubectl(
      cluster,
      "get",
      "projects,resourceplans,rj",
      "-A",
      "--output=name",
    );
    expect(users.trim().split("\n")).to.deep.equal([
      "project.rota.dev/team",
      "resourceplan.rota.dev/all",
      "job.rota.dev/one",
    ]);
    const pods = ["get", "pods", "--namespace=team", "--output=jsonpath={.items[*].status.phase}"];
    expect((await kubectl(cluster, ...pods)).stdout).to.equal("Running");
  });

  it("can be removed without the operator, except users' namespaces", async () => {
    const finalizers = '{"metadata":{"finalizers":null}}';
    const patch = ["patch", "project", "team", "--type=merge", `--patch=${finalizers}`];
    await kubectl(cluster, ...patch);
    await kubectl(cluster, "delete", "--timeout=60s", "-k", "crds/");
    const { stdout } = await kubectl(
      cluster,
      "get",
      "namespace",
      "team",
      "--output=jsonpath={.status.phase}",
    );
    expect(stdout).to.equal("Active");
  });
});
