import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { loadAll } from "js-yaml";
import { projectRoot } from "../../../dev/local/paths.ts";

interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules: readonly Rule[];
}

function shippedRoles(): Role[] {
  const root = join(projectRoot, "manifests");
  return globSync("**/*.yaml", { cwd: root })
    .flatMap((file) => loadAll(readFileSync(join(root, file), "utf8")) as Role[])
    .filter(({ kind }) => kind === "ClusterRole" || kind === "Role");
}

const memberRoles = ["rota-viewer", "rota-submitter", "rota-admin"];

describe("the shipped roles", () => {
  const roles = shippedRoles();
  const rules = roles.flatMap((role) => role.rules.map((rule) => ({ role, rule })));

  it("are those of the operator and of the members", () => {
    expect(roles.map(({ metadata }) => metadata.name)).to.include.members([
      "rota-operator",
      "rota-leader",
      ...memberRoles,
    ]);
  });

  it("have no wildcard", () => {
    for (const { role, rule } of rules) {
      const words = [...(rule.apiGroups ?? []), ...(rule.resources ?? []), ...rule.verbs];
      expect(words, role.metadata.name).not.to.include("*");
    }
  });

  it("cannot escalate, impersonate, or bind other roles", () => {
    for (const { role, rule } of rules) {
      expect(rule.verbs, role.metadata.name).not.to.include("escalate");
      expect(rule.verbs, role.metadata.name).not.to.include("impersonate");
      if (!rule.verbs.includes("bind")) continue;
      expect(role.metadata.name).to.equal("rota-operator");
      expect(rule.resourceNames).to.have.members(memberRoles);
    }
  });

  it("let the operator read no secret", () => {
    const operator = roles.find(({ metadata }) => metadata.name === "rota-operator");
    expect(operator?.rules.flatMap(({ resources }) => resources ?? [])).not.to.include("secrets");
  });
});
