/** From the oldest release that is supported to this one: definitions, objects, running pods and rows survive. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { type Cluster, startCluster } from "../../../dev/local/cluster.ts";
import { clientFor } from "../../../dev/local/kube-client.ts";
import { ClusterView, readyOf } from "../../../dev/quickstart/cluster-view.ts";
import { jobs } from "../../../src/resources/types.ts";
import { createEmptyDatabase, type TestDatabase } from "../../support/database.ts";
import { createDatabaseSecret, startInstalledOperator } from "../../support/installed-operator.ts";
import { kubectl } from "../../support/kubectl.ts";
import { restoreRelease } from "../../support/recorded-release.ts";
import { lostRows, readTables, type Row, type Tables } from "../../support/table-rows.ts";

const version = "0.1.0";

/** Events named their project's path; from then on project_periods does. */
const withoutPath = ({ project_path: _path, ...row }: Row): Row => row;
const kept = "projects,resourceplans,configcommits,rj,namespaces,configmaps,rolebindings";
const columns =
  "--output=custom-columns=:kind,:metadata.namespace,:metadata.name,:metadata.uid,:subjects[*].name";
const ownOfCluster = /kube-|rota-system|default|^$/;
/** 0.1.0 made a binding for a role that nobody has; they are removed. */
const bindsNobody = /^RoleBinding .*<none>\s*$/;

describe(`an upgrade from ${version}`, () => {
  let cluster: Cluster;
  let database: TestDatabase;
  let folder: string;
  let view: ClusterView;
  let formerTables: Tables;
  let formerObjects: readonly string[];
  let formerPods: readonly string[];

  const objects = async (): Promise<string[]> => {
    const { stdout } = await kubectl(cluster, "get", kept, "--all-namespaces", columns);
    return stdout.split("\n").filter((line) => !ownOfCluster.test(line) && !bindsNobody.test(line));
  };

  const pods = async (): Promise<string[]> =>
    (await view.pods()).map(({ name, uid, nodeName }) => `${name} ${uid} ${nodeName}`).toSorted();

  /** Runs the operator until the action is done. */
  async function operate(name: string, action: () => Promise<void>): Promise<void> {
    const operator = await startInstalledOperator(cluster, join(folder, `${name}.log`));
    try {
      await action();
    } finally {
      await operator.stop();
    }
    expect(await operator.ended).to.equal("status 0");
  }

  const states = async (): Promise<Record<string, string>> =>
    Object.fromEntries(
      (await view.jobs()).map(({ namespace, name, status }) => [
        `${namespace}/${name}`,
        status.state ?? "",
      ]),
    );

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-upgrade-"));
    cluster = await startCluster({ directory: join(folder, "cluster"), nodes: 3 });
    database = await createEmptyDatabase();
    view = new ClusterView(clientFor(cluster.kubeconfig));
    await restoreRelease({ cluster, databaseUrl: database.url, version });
    await view.until("the pods to be as they were", async () => {
      const alive = await view.pods();
      return alive.every(({ name, ready }) => ready && name !== "done-1-0");
    });
    formerTables = await readTables(database.url);
    formerObjects = await objects();
    formerPods = await pods();
  });

  after(async () => {
    await view?.client.close();
    await cluster?.stop();
    await database?.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("starts from running jobs, victims and a preemption log", async () => {
    const found = Object.values(await states());
    expect(found).to.include.members(["Running", "Evicted", "Succeeded"]);
    expect(formerPods).to.have.length.greaterThan(10);
    expect(formerTables.get("preemption_victims")).to.have.lengthOf(2);
  });

  it("brings the definitions and the database to this version", async () => {
    const args = ["--server-side", "--validate=strict", "-k", "manifests/"];
    const { stderr } = await kubectl(cluster, "apply", ...args);
    expect(stderr).to.equal("");
    await createDatabaseSecret(cluster, database.url);
    await operate("first", async () => {
      await view.until("every project to be looked at again", async () =>
        (await view.projects()).every((project) => readyOf(project)?.status === "True"),
      );
    });
  });

  it("keeps every object and every running pod", async () => {
    expect(await objects()).to.include.members([...formerObjects]);
    expect(await pods()).to.deep.equal(formerPods);
  });

  it("keeps the history to the letter", async () => {
    const tables = await readTables(database.url);
    const history = [
      "preemptions",
      "preemption_victims",
      "config_blobs",
      "config_commits",
      "job_events",
      "migrations",
    ];
    for (const name of history) {
      const former = (formerTables.get(name) ?? []).map(withoutPath);
      expect(former, name).not.to.have.lengthOf(0);
      expect(lostRows(former, tables.get(name) ?? []), name).to.deep.equal([]);
    }
  });

  it("keeps each event's place in the tree", async () => {
    const periods = (await readTables(database.url)).get("project_periods") ?? [];
    for (const { project_id: id, project_path: path } of formerTables.get("job_events") ?? []) {
      const paths = periods
        .filter(({ project_id: of }) => of === id)
        .map((period) => period["path"]);
      expect(paths).to.include(path);
    }
  });

  it("keeps every job's position, attempt and priority", async () => {
    const identity = (tables: Tables) =>
      (tables.get("jobs") ?? [])
        .map(({ id, status, attempt, priority, created_at }) => ({
          id,
          status,
          attempt,
          priority,
          created_at,
        }))
        .toSorted((a, b) => String(a.id).localeCompare(String(b.id)));
    expect(identity(await readTables(database.url))).to.deep.equal(identity(formerTables));
  });

  it("continues: the victims run when capacity is free", async () => {
    await operate("second", async () => {
      await view.client.delete(jobs, "production/release");
      await view.until("the victims to run again", async () => {
        const found = await states();
        return found["vision/train-large"] === "Running" && found["vision/notebook"] === "Running";
      });
    });
  });
});
