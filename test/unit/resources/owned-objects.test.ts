import { expect } from "chai";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { OwnedObjects } from "../../../src/resources/owned-objects.ts";
import { projectRoleBindings } from "../../../src/resources/tenant-types.ts";
import type { ProjectRoleBinding } from "../../../src/resources/tenant-types.ts";
import type { ChangeHandler, Informer } from "../../../src/runtime/informer.ts";
import { MemoryStore } from "../../../src/runtime/store.ts";
import { createManualClock } from "../../support/manual-clock.ts";

const key = "team/rota-viewer";

const binding = (version: number, ...users: string[]): KubeObject => ({
  metadata: {
    name: "rota-viewer",
    namespace: "team",
    uid: "u",
    resourceVersion: String(version),
    labels: { "rota.dev/project": "team" },
  },
  roleRef: { name: "rota-viewer" },
  subjects: users.map((name) => ({ kind: "User", name })),
});

/** A cache that the test feeds. */
function setUp() {
  const clock = createManualClock();
  const store = new MemoryStore<ProjectRoleBinding>();
  const handlers: ChangeHandler<ProjectRoleBinding>[] = [];
  const informer = {
    store,
    onChange: (handler: ChangeHandler<ProjectRoleBinding>) => handlers.push(handler),
  } as unknown as Informer<ProjectRoleBinding>;
  const owned = new OwnedObjects(projectRoleBindings, informer, clock);
  const drift: string[] = [];
  owned.onDrift((project) => drift.push(project));
  const tell = (raw: KubeObject | undefined): void => {
    const after = raw && projectRoleBindings.project(raw);
    const before = after ? store.set(key, after) : store.delete(key);
    for (const handler of handlers) handler({ key, before, after });
  };
  return { clock, owned, drift, tell, subjects: () => owned.get(key)?.subjects };
}

describe("owned objects", () => {
  it("show the last write while the cache lags", () => {
    const { owned, tell, subjects } = setUp();
    tell(binding(1, "ann"));
    owned.wrote(binding(3, "bob"));
    expect(subjects()).to.deep.equal(["User bob"]);
    tell(binding(2, "ann", "cat"));
    expect(subjects()).to.deep.equal(["User bob"]);
    tell(binding(4, "mallory"));
    expect(subjects()).to.deep.equal(["User mallory"]);
  });

  it("do not take an echo or a no-op for drift", () => {
    const { owned, drift, tell } = setUp();
    owned.wrote(binding(1, "ann"));
    tell(binding(1, "ann"));
    tell(binding(2, "ann"));
    expect(drift).to.deep.equal([]);
  });

  it("report what others change, delete or create", () => {
    const { owned, drift, tell } = setUp();
    owned.wrote(binding(1, "ann"));
    tell(binding(1, "ann"));
    tell(binding(2, "mallory"));
    tell(undefined);
    tell(binding(3, "mallory"));
    expect(drift).to.deep.equal(["team", "team", "team"]);
  });

  it("forget own deletions, without drift", () => {
    const { owned, drift, tell, subjects } = setUp();
    tell(binding(1, "ann"));
    drift.length = 0;
    owned.removed(key);
    expect(subjects()).to.equal(undefined);
    tell(undefined);
    expect(drift).to.deep.equal([]);
    tell(binding(2, "mallory"));
    expect(drift).to.deep.equal(["team"]);
  });

  it("show what was recreated after a deletion not yet observed", () => {
    const { owned, tell, subjects } = setUp();
    tell(binding(1, "ann"));
    owned.removed(key);
    owned.wrote(binding(3, "bob"));
    expect(subjects()).to.deep.equal(["User bob"]);
    // Whether the write or the deletion was later is not known here: it counts as gone, and may be written again.
    tell(undefined);
    expect(subjects()).to.deep.equal(undefined);
    tell(binding(3, "bob"));
    expect(subjects()).to.deep.equal(["User bob"]);
  });

  it("give up on a write that the cache never shows", async () => {
    const { clock, owned, subjects } = setUp();
    owned.wrote(binding(1, "ann"));
    await clock.advance(61);
    expect(subjects()).to.equal(undefined);
  });
});
