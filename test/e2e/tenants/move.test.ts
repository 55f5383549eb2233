/** A large subtree moves: what it costs in statements and in writes to the API server. */
import { expect } from "chai";
import type { Operator } from "../../../dev/local/operator.ts";
import { waitFor } from "../../../dev/local/wait.ts";
import { each } from "../../../src/runtime/parallel.ts";
import {
  project,
  startInstallation,
  type Installation,
  usualLease,
} from "../../support/installation.ts";
import { statementsOf, writesOf } from "../../support/operator-metrics.ts";
import { change, projects, untilProjectSays, untilRolesAre } from "../../support/tenants.ts";

const count = Number(process.env["ROTA_TEST_PROJECTS"] ?? 1_000);
/** Anything done once for each project would be far above it; the rest of the operator goes on meanwhile. */
const maxStatements = Math.max(100, count / 4);
const longMs = 600_000;

const child = (index: number): string => `child-${index}`;

describe(`moving a subtree of ${count} projects`, function () {
  this.timeout(longMs);
  let installation: Installation;
  let operator: Operator;

  const view = () => installation.view;
  const all = async () => (await view().client.list(projects)).map(projects.project);

  const untilAll = (what: string, are: (path: string) => boolean): Promise<unknown> =>
    waitFor(
      async () => {
        const children = (await all()).filter(({ name }) => name.startsWith("child-"));
        return children.length === count && children.every(({ status }) => are(status.path ?? ""));
      },
      { what: `all projects to be ${what}`, timeoutMs: longMs, intervalMs: 500 },
    );

  before(async () => {
    installation = await startInstallation();
    operator = await installation.operate(usualLease);
    const member = (role: string, name: string) => ({ kind: "User", role, name });
    await view().apply(project("old-home", { members: [member("admin", "ann")] }));
    await view().apply(project("new-home", { members: [member("admin", "bob")] }));
    await view().apply(project("subtree", { parent: "old-home" }));
    const indices = Array.from({ length: count }, (_, index) => index);
    await each(indices, 32, async (index) => {
      // Two levels: a tenth of the projects have the others below them.
      const parent = index % 10 === 0 ? "subtree" : child(index - (index % 10));
      const own = [member("viewer", `user-${index}`)];
      await view().apply(project(child(index), { parent, members: own }));
    });
    await untilAll("there", (path) => path.startsWith("old_home.subtree."));
    await untilRolesAre(view(), child(count - 1), [
      "admin: User ann",
      ...(count % 10 === 1 ? [] : [`viewer: User user-${Math.floor((count - 1) / 10) * 10}`]),
      `viewer: User user-${count - 1}`,
    ]);
  });
  after(() => installation.stop());

  it("takes a constant number of statements, and writes what differs", async () => {
    const statements = await statementsOf(operator);
    const writes = await writesOf(operator);
    await change(view(), projects, "subtree", { spec: { parent: "new-home" } });
    await untilAll("moved", (path) => path.startsWith("new_home.subtree."));
    await untilProjectSays(view(), "subtree", "Ready");
    await view().until("the former parent to have no child", async () => {
      const old = (await all()).find(({ name }) => name === "old-home");
      return old?.status.children === 0;
    });
    const spent = (await statementsOf(operator)) - statements;
    console.log(`      ${spent} statements`);
    expect(spent).to.be.lessThan(maxStatements);
    const written = [...(await writesOf(operator))]
      .map(([kind, value]) => [kind, value - (writes.get(kind) ?? 0)] as const)
      .filter(([kind, value]) => value > 0 && !kind.includes("leases") && !kind.includes("events"));
    // Each loses an admin and gets another, which is one RoleBinding; the path changes; both parents count anew.
    const { "patch projects": patches = 0, ...others } = Object.fromEntries(written);
    expect(others).to.deep.equal({ "apply rolebindings": count + 1 });
    // A status that is read while the tree changes is written once more.
    expect(patches).to.be.within(count + 3, count + 3 + count / 50);
  });

  it("leaves the roles of the new place only", async () => {
    const own = `viewer: User user-${count - 1}`;
    const above = `viewer: User user-${Math.floor((count - 1) / 10) * 10}`;
    await untilRolesAre(view(), child(count - 1), [...new Set(["admin: User bob", above, own])]);
  });
});
