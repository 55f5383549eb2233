/** Whose a namespace is: what Rota made it deletes, what others made it gives back as it was. */
import { expect } from "chai";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { configMaps } from "../../../src/resources/types.ts";
import { project, startInstallation, type Installation } from "../../support/installation.ts";
import {
  change,
  find,
  messageOf,
  namespaces,
  projectNamed,
  projects,
  roleBindings,
  rolesIn,
  untilGone,
  untilProjectSays,
} from "../../support/tenants.ts";

const enforce = "pod-security.kubernetes.io/enforce";
const warn = "pod-security.kubernetes.io/warn";

describe("The namespace of a project", () => {
  let installation: Installation;

  before(async () => {
    installation = await startInstallation();
    await installation.operate();
  });
  after(() => installation.stop());

  const view = () => installation.view;
  const isReady = (name: string) => untilProjectSays(view(), name, "Ready");
  const namespace = (name: string) => view().client.get(namespaces, name);
  const metadataOf = async (name: string) => (await namespace(name)).metadata;
  const create = (name: string, metadata: Partial<KubeObject["metadata"]> = {}) =>
    view().client.create(namespaces, { metadata: { ...metadata, name } });
  async function removed(name: string): Promise<void> {
    await view().client.delete(projects, name);
    await untilGone(view(), projects, name);
  }
  const isThere = async (name: string): Promise<boolean> => {
    const found = await find(view(), namespaces, name);
    return found !== undefined && found.metadata.deletionTimestamp === undefined;
  };

  it("that Rota made is marked and deleted", async () => {
    await view().apply(project("made"));
    const { uid } = await isReady("made");
    expect((await metadataOf("made")).annotations).to.include({
      "rota.dev/made": "true",
      "rota.dev/project-uid": uid,
    });
    await removed("made");
    await untilGone(view(), namespaces, "made");
  });

  it("stays after adoption, though its note is removed", async () => {
    await create("prod", { annotations: { "rota.dev/adopt": "pruned" } });
    await view().client.create(configMaps, { metadata: { name: "precious", namespace: "prod" } });
    await view().apply(project("pruned", { namespace: "prod" }));
    await isReady("pruned");
    await change(view(), namespaces, "prod", {
      metadata: { annotations: { "rota.dev/adopt": null } },
    });
    await removed("pruned");
    expect(await isThere("prod")).to.equal(true);
    expect(await find(view(), configMaps, "prod/precious")).to.not.equal(undefined);
  });

  it("with nothing but the label is not taken", async () => {
    await create("labelled", { labels: { "rota.dev/project": "labelled" } });
    await view().apply(project("labelled"));
    const waiting = await untilProjectSays(view(), "labelled", "NamespaceNotOwned");
    expect(messageOf(waiting)).to.include("annotate it with rota.dev/adopt=labelled");
    await removed("labelled");
    expect(await isThere("labelled")).to.equal(true);
  });

  it("stays when its marks name another project", async () => {
    await view().apply(project("forged"));
    await isReady("forged");
    const annotations = { "rota.dev/project-uid": "00000000-0000-4000-8000-000000000000" };
    await change(view(), namespaces, "forged", { metadata: { annotations } });
    await view().until("the uid to be restored", async () => {
      const { uid } = await projectNamed(view(), "forged");
      return (await metadataOf("forged")).annotations?.["rota.dev/project-uid"] === uid;
    });
    const notMade = { "rota.dev/made": null };
    await change(view(), namespaces, "forged", { metadata: { annotations: notMade } });
    await removed("forged");
    expect(await isThere("forged"), "without the mark").to.equal(true);
  });

  it("keeps the marks of others, and gets its own back", async () => {
    const theirs = { "app.kubernetes.io/managed-by": "Helm", [enforce]: "privileged", team: "x" };
    const notes = { "rota.dev/adopt": "guest", "meta.helm.sh/release-name": "web" };
    await create("theirs", { labels: theirs, annotations: notes });
    await view().apply(project("guest", { namespace: "theirs" }));
    await isReady("guest");
    const adopted = await metadataOf("theirs");
    expect(adopted.labels).to.include({
      "app.kubernetes.io/managed-by": "Helm",
      "rota.dev/project": "guest",
      [enforce]: "baseline",
      [warn]: "baseline",
    });
    await removed("guest");
    const released = await metadataOf("theirs");
    expect(released.labels).to.deep.equal({ ...theirs, "kubernetes.io/metadata.name": "theirs" });
    expect(released.annotations).to.deep.equal(notes);
  });

  it("is taken over by a project made again", async () => {
    await view().apply(project("again"));
    await isReady("again");
    const { uid } = await metadataOf("again");
    // As GitOps with --force, or a restore: the finalizer does not hold it up, and nobody watches.
    await installation.stopOperators();
    await view().client.delete(projects, "again");
    await change(view(), projects, "again", { metadata: { finalizers: null } });
    await untilGone(view(), projects, "again");
    await view().apply(project("again"));
    await installation.operate();
    const second = await isReady("again");
    await view().until("the namespace to follow", async () => {
      const { annotations = {} } = await metadataOf("again");
      return annotations["rota.dev/project-uid"] === second.uid;
    });
    expect((await metadataOf("again")).uid).to.equal(uid);
    await removed("again");
    await untilGone(view(), namespaces, "again");
  });

  it("keeps a RoleBinding to somebody else's role", async () => {
    const apiGroup = "rbac.authorization.k8s.io";
    const members = [{ kind: "User", name: "ann", role: "viewer" }];
    await view().apply(project("bound", { members }));
    await isReady("bound");
    await view().client.create(roleBindings, {
      metadata: {
        name: "rota-submitter",
        namespace: "bound",
        labels: { "rota.dev/project": "bound", "app.kubernetes.io/managed-by": "rota" },
      },
      roleRef: { apiGroup, kind: "ClusterRole", name: "cluster-admin" },
      subjects: [{ apiGroup, kind: "User", name: "mallory" }],
    });
    const more = [...members, { kind: "User", name: "bob", role: "submitter" }];
    await change(view(), projects, "bound", { spec: { members: more } });
    const rejected = await untilProjectSays(view(), "bound", "ClusterRejected");
    expect(messageOf(rejected)).to.match(/rota-submitter.*cannot change roleRef/);
    expect(await rolesIn(view(), "bound")).to.include("cluster-admin: User mallory");
    await view().client.delete(roleBindings, "bound/rota-submitter");
    await isReady("bound");
    expect(await rolesIn(view(), "bound")).to.deep.equal([
      "submitter: User bob",
      "viewer: User ann",
    ]);
  });
});
