/** Projects on a real control plane: made, changed, broken, mended, deleted. */
import { expect } from "chai";
import { isNotFound } from "../../../src/kube/errors.ts";
import type { ResourceName } from "../../../src/kube/resource.ts";
import { configMaps, jobs } from "../../../src/resources/types.ts";
import { job, project, startInstallation, type Installation } from "../../support/installation.ts";
import {
  change,
  find,
  messageOf,
  namespaces,
  persistentVolumeClaims,
  projectNamed,
  projects,
  roleBindings,
  rolesIn,
  untilGone,
  untilProjectSays,
  untilRolesAre,
} from "../../support/tenants.ts";

const storageClasses: ResourceName = {
  group: "storage.k8s.io",
  version: "v1",
  plural: "storageclasses",
  kind: "StorageClass",
  namespaced: false,
};
const persistentVolumes: ResourceName = {
  group: "",
  version: "v1",
  plural: "persistentvolumes",
  kind: "PersistentVolume",
  namespaced: false,
};

const member = (role: string, name: string, kind = "User") => ({ kind, name, role });

describe("Projects", () => {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation();
    await installation.cluster.addNodes({ count: 1, gpus: 8, pool: "default" });
    await installation.operate();
  });
  after(() => installation.stop());

  const view = () => installation.view;
  const apply = async (...objects: ReturnType<typeof project>[]) => {
    for (const object of objects) await view().apply(object);
  };
  const isReady = (name: string) => untilProjectSays(view(), name, "Ready");
  const remove = (name: string) => view().client.delete(projects, name);

  describe("a project's namespace", () => {
    it("has the Pod Security level, and follows its change", async () => {
      await apply(project("levels", { podSecurity: "restricted" }));
      await isReady("levels");
      const made = await view().client.get(namespaces, "levels");
      expect(made.metadata.labels).to.include({
        "rota.dev/project": "levels",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
      });
      await apply(project("levels", { podSecurity: "privileged" }));
      await view().until("the level to follow", async () => {
        const now = await view().client.get(namespaces, "levels");
        return now.metadata.labels?.["pod-security.kubernetes.io/enforce"] === "privileged";
      });
    });

    it("gets its labels back when somebody changes them", async () => {
      await apply(project("labelled"));
      await isReady("labelled");
      for (const labels of [
        { "pod-security.kubernetes.io/enforce": "privileged" },
        { "pod-security.kubernetes.io/enforce": null },
        { "rota.dev/project": null, "app.kubernetes.io/managed-by": null },
        { "rota.dev/project": "another" },
      ]) {
        await change(view(), namespaces, "labelled", { metadata: { labels } });
        await view().until(`the labels to be mended after ${JSON.stringify(labels)}`, async () => {
          const { metadata } = await view().client.get(namespaces, "labelled");
          return (
            metadata.labels?.["rota.dev/project"] === "labelled" &&
            metadata.labels["pod-security.kubernetes.io/enforce"] === "baseline"
          );
        });
      }
    });

    it("is recreated when somebody deletes it", async () => {
      await apply(project("deleted", { members: [member("admin", "ann")] }));
      const before = await isReady("deleted").then(() => view().client.get(namespaces, "deleted"));
      await view().client.delete(namespaces, "deleted");
      await view().until("another namespace", async () => {
        const now = await find(view(), namespaces, "deleted");
        return now !== undefined && now.metadata.uid !== before.metadata.uid;
      });
      await untilRolesAre(view(), "deleted", ["admin: User ann"]);
      await isReady("deleted");
    });

    it("is waited for while it terminates", async () => {
      await view().client.create(namespaces, {
        metadata: { name: "leaving", labels: { "rota.dev/project": "leaving" } },
      });
      const stuck = {
        metadata: { name: "stuck", namespace: "leaving", finalizers: ["test/stuck"] },
      };
      await view().client.create(configMaps, stuck);
      await view().client.delete(namespaces, "leaving");
      await apply(project("leaving"));
      const waiting = await untilProjectSays(view(), "leaving", "NamespaceTerminating");
      expect(messageOf(waiting)).to.include('namespace "leaving" is being deleted');
      await change(view(), configMaps, "leaving/stuck", { metadata: { finalizers: null } });
      await isReady("leaving");
    });

    it("of another owner is refused until it is adopted", async () => {
      await view().client.create(namespaces, { metadata: { name: "elsewhere" } });
      await apply(project("newcomer", { namespace: "elsewhere" }));
      const waiting = await untilProjectSays(view(), "newcomer", "NamespaceNotOwned");
      expect(messageOf(waiting)).to.include("rota.dev/adopt=newcomer");
      expect(waiting.status.namespace).to.equal(undefined);
      await change(view(), namespaces, "elsewhere", {
        metadata: { annotations: { "rota.dev/adopt": "newcomer" } },
      });
      const adopted = await isReady("newcomer");
      expect(adopted.status.namespace).to.equal("elsewhere");
      await remove("newcomer");
      await untilGone(view(), projects, "newcomer");
      const left = await view().client.get(namespaces, "elsewhere");
      expect(left.metadata.deletionTimestamp).to.equal(undefined);
      expect(left.metadata.labels).not.to.have.property("rota.dev/project");
    });

    it("named by two projects belongs to the first", async () => {
      await apply(project("first", { namespace: "wanted" }));
      await isReady("first");
      await apply(project("second", { namespace: "wanted" }));
      const waiting = await untilProjectSays(view(), "second", "AlreadyExists");
      expect(messageOf(waiting)).to.include('namespace "wanted" belongs to project first');
      await remove("first");
      await isReady("second");
      const { metadata } = await view().client.get(namespaces, "wanted");
      expect(metadata.labels).to.include({ "rota.dev/project": "second" });
    });
  });

  describe("a project's roles", () => {
    it("are inherited, and the greatest counts", async () => {
      await apply(
        project("roles-root", {
          members: [
            member("admin", "ann"),
            member("viewer", "staff", "Group"),
            member("viewer", "bob"),
          ],
        }),
        project("roles-team", { parent: "roles-root", members: [member("submitter", "bob")] }),
        project("roles-leaf", { parent: "roles-team", members: [member("viewer", "ann")] }),
      );
      await untilRolesAre(view(), "roles-leaf", [
        "admin: User ann",
        "submitter: User bob",
        "viewer: Group staff",
      ]);
      expect((await isReady("roles-leaf")).status).to.include({
        members: 3,
        path: "roles_root.roles_team.roles_leaf",
      });
      expect((await isReady("roles-root")).status.children).to.equal(1);
    });

    it("follow members and moves above", async () => {
      await apply(
        project("from", { members: [member("admin", "ann"), member("viewer", "bob")] }),
        project("to", { members: [member("submitter", "cat")] }),
        project("moved", { parent: "from" }),
        project("below", { parent: "moved", members: [member("viewer", "dan")] }),
      );
      await untilRolesAre(view(), "below", [
        "admin: User ann",
        "viewer: User bob",
        "viewer: User dan",
      ]);
      await change(view(), projects, "from", { spec: { members: [member("admin", "eve")] } });
      await untilRolesAre(view(), "below", ["admin: User eve", "viewer: User dan"]);
      await change(view(), projects, "moved", { spec: { parent: "to" } });
      await untilRolesAre(view(), "below", ["submitter: User cat", "viewer: User dan"]);
      await untilRolesAre(view(), "moved", ["submitter: User cat"]);
      await view().until("the paths to follow", async () => {
        const { status } = await projectNamed(view(), "below");
        return status.path === "to.moved.below" && status.members === 2;
      });
    });

    it("are restored when somebody changes a RoleBinding", async () => {
      await apply(project("drift", { members: [member("admin", "ann"), member("viewer", "bob")] }));
      const wanted = ["admin: User ann", "viewer: User bob"];
      await untilRolesAre(view(), "drift", wanted);
      await view().client.delete(roleBindings, "drift/rota-admin");
      await untilRolesAre(view(), "drift", wanted);
      const apiGroup = "rbac.authorization.k8s.io";
      const intruder = [{ apiGroup, kind: "User", name: "mallory" }];
      await change(view(), roleBindings, "drift/rota-admin", { subjects: intruder });
      await untilRolesAre(view(), "drift", wanted);
      await change(view(), roleBindings, "drift/rota-viewer", {
        metadata: { labels: null },
        subjects: intruder,
      });
      await untilRolesAre(view(), "drift", wanted);
      await view().client.delete(roleBindings, "drift/rota-viewer");
      await untilRolesAre(view(), "drift", wanted);
    });
  });

  describe("a project's storages", () => {
    const storage = (name: string, size: string, more: object = {}) => ({
      name,
      size,
      accessMode: "ReadWriteOnce",
      storageClassName: "growing",
      ...more,
    });

    before(async () => {
      await view().client.create(storageClasses, {
        metadata: { name: "growing" },
        provisioner: "none.example/none",
        allowVolumeExpansion: true,
      });
      await view().client.create(persistentVolumes, {
        metadata: { name: "disk" },
        spec: {
          capacity: { storage: "10Gi" },
          accessModes: ["ReadWriteOnce"],
          storageClassName: "growing",
          hostPath: { path: "/disk" },
          claimRef: { namespace: "data", name: "sets" },
        },
      });
    });

    it("are claims that grow, and refuse other changes", async () => {
      await apply(project("data", { storages: [storage("sets", "1Gi")] }));
      await isReady("data");
      await view().until("the claim to be bound", async () => {
        const claim = await view().client.get(persistentVolumeClaims, "data/sets");
        return (claim["status"] as { phase?: string }).phase === "Bound";
      });
      const sizeOf = async () => {
        const claim = await view().client.get(persistentVolumeClaims, "data/sets");
        const spec = claim["spec"] as { resources: { requests: { storage: string } } };
        return spec.resources.requests.storage;
      };
      await change(view(), projects, "data", { spec: { storages: [storage("sets", "2Gi")] } });
      await view().until("the claim to grow", async () => (await sizeOf()) === "2Gi");
      await isReady("data");
      const rejections: [object, string][] = [
        [storage("sets", "1Gi"), "claims cannot shrink"],
        [storage("sets", "2Gi", { storageClassName: "fast" }), 'is not the claim\'s, "growing"'],
        [
          storage("sets", "2Gi", { accessMode: "ReadWriteMany" }),
          "is not the claim's, ReadWriteOnce",
        ],
      ];
      for (const [asked, words] of rejections) {
        await change(view(), projects, "data", { spec: { storages: [asked] } });
        const rejected = await untilProjectSays(view(), "data", "StorageRejected");
        expect(messageOf(rejected)).to.include('spec.storages "sets"').and.include(words);
      }
      expect(await sizeOf()).to.equal("2Gi");
      const row = await installation.database.pool.query(
        "SELECT size_bytes, storage_class, access_mode FROM storages WHERE name = 'sets'",
      );
      expect(row.rows).to.deep.equal([
        { size_bytes: 2 * 1024 ** 3, storage_class: "growing", access_mode: "ReadWriteOnce" },
      ]);
      await change(view(), projects, "data", { spec: { storages: [storage("sets", "2Gi")] } });
      await isReady("data");
    });

    it("report why a claim cannot grow", async () => {
      const fixed = { storageClassName: "fixed" };
      await view().client.create(storageClasses, {
        metadata: { name: "fixed" },
        provisioner: "none.example/none",
      });
      await apply(project("fixed", { storages: [storage("sets", "1Gi", fixed)] }));
      await isReady("fixed");
      await change(view(), projects, "fixed", {
        spec: { storages: [storage("sets", "2Gi", fixed)] },
      });
      const rejected = await untilProjectSays(view(), "fixed", "StorageRejected");
      expect(messageOf(rejected)).to.match(
        /only dynamically provisioned pvc can be resized|immutable/,
      );
    });

    it("keep their data for a new project", async () => {
      await apply(
        project("kept", { storages: [storage("sets", "1Gi")], members: [member("admin", "ann")] }),
      );
      await isReady("kept");
      const claim = await view().client.get(persistentVolumeClaims, "kept/sets");
      await remove("kept");
      await untilGone(view(), projects, "kept");
      const { metadata } = await view().client.get(namespaces, "kept");
      expect(metadata.deletionTimestamp).to.equal(undefined);
      expect(metadata.labels).not.to.have.property("rota.dev/project");
      expect(metadata.annotations).to.include({ "rota.dev/adopt": "kept" });
      expect(await rolesIn(view(), "kept")).to.deep.equal([]);
      await apply(project("kept", { storages: [storage("sets", "1Gi")] }));
      await isReady("kept");
      const again = await view().client.get(persistentVolumeClaims, "kept/sets");
      expect(again.metadata.uid).to.equal(claim.metadata.uid);
      await change(view(), projects, "kept", { spec: { reclaimPolicy: "Delete" } });
      await isReady("kept");
      await remove("kept");
      await untilGone(view(), projects, "kept");
      await untilGone(view(), namespaces, "kept");
    });

    it("are deleted only with reclaimPolicy Delete", async () => {
      const both = [storage("one", "1Gi"), storage("two", "1Gi")];
      await apply(project("fewer", { storages: both }));
      await isReady("fewer");
      await change(view(), projects, "fewer", { spec: { storages: [storage("one", "1Gi")] } });
      await isReady("fewer");
      const kept = await view().client.get(persistentVolumeClaims, "fewer/two");
      expect(kept.metadata.deletionTimestamp).to.equal(undefined);
      await change(view(), projects, "fewer", { spec: { reclaimPolicy: "Delete" } });
      await untilGone(view(), persistentVolumeClaims, "fewer/two");
      const claim = await view().client.get(persistentVolumeClaims, "fewer/one");
      expect(claim.metadata.deletionTimestamp).to.equal(undefined);
    });
  });

  describe("a project's deletion", () => {
    it("waits for children and jobs, then takes the namespace", async () => {
      await apply(project("ending"), project("ending-child", { parent: "ending" }));
      await isReady("ending-child");
      await apply(job("ending", "work", { gpus: 1, pool: "default" }));
      await view().until("the job to be queued", async () => {
        const { status } = await view().job("ending/work");
        return status.queuedAt !== undefined;
      });
      await remove("ending");
      const waiting = await view().until("the blockers to be named", async () => {
        const found = await projectNamed(view(), "ending");
        return messageOf(found).includes("work") && found;
      });
      expect(messageOf(waiting)).to.equal("waiting for project ending-child, job ending/work");
      await remove("ending-child");
      await untilGone(view(), projects, "ending-child");
      await view().remove(job("ending", "work", { gpus: 1, pool: "default" }));
      await untilGone(view(), projects, "ending");
      await untilGone(view(), namespaces, "ending");
    });
  });

  it("is followed by usage up to the root", async () => {
    await apply(project("sum-root"), project("sum-leaf", { parent: "sum-root" }));
    await isReady("sum-leaf");
    await apply(job("sum-leaf", "big", { gpus: 6, pool: "default" }));
    const until = (running: number, pending: number) =>
      view().until(`${running} GPUs to run and ${pending} to wait`, async () => {
        const { status } = await projectNamed(view(), "sum-root");
        return status.gpusRunning === running && status.gpusPending === pending;
      });
    await until(6, 0);
    await apply(job("sum-leaf", "small", { gpus: 3, pool: "default" }));
    await until(6, 3);
    await view().client.delete(jobs, "sum-leaf/big");
    await until(3, 0);
  });

  it("leaves no row when the finalizer is removed by hand", async () => {
    await apply(project("stripped"));
    await isReady("stripped");
    await remove("stripped");
    await change(view(), projects, "stripped", { metadata: { finalizers: null } }).catch(
      (error: unknown) => {
        if (!isNotFound(error)) throw error;
      },
    );
    await untilGone(view(), projects, "stripped");
    await view().until("the row to be gone", async () => {
      const { rowCount } = await installation.database.pool.query(
        "SELECT FROM projects WHERE name = 'stripped'",
      );
      return rowCount === 0;
    });
  });
});
