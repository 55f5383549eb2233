/**
 * Two tenants of one pool with names that occur nowhere else: whatever one of them can read about its own and the other's
 * projects never has a name of the other. Numbers may be told (docs/decisions/0014).
 */
import { expect } from "chai";
import type { Operator } from "../../../dev/local/operator.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { ask, certificateOf, withCertificate, type Identity } from "../../support/api-client.ts";
import {
  commit,
  job,
  plan,
  priorityClass,
  project,
  startInstallation,
  type Installation,
  type JobOptions,
} from "../../support/installation.ts";
import { member, type Member } from "../../support/kubectl-user.ts";

const names = ["quokka", "walrus"] as const;
type Name = (typeof names)[number];

interface Tenant {
  readonly name: Name;
  readonly other: Name;
  readonly viewer: Member;
  readonly identity: Identity;
}

/** What the role rota-viewer lists in a namespace. */
const readable = [
  "/apis/rota.dev/v1alpha1/namespaces/NAME/jobs",
  "/apis/rota.dev/v1alpha1/namespaces/NAME/configcommits",
  "/apis/events.k8s.io/v1/namespaces/NAME/events",
  "/api/v1/namespaces/NAME/events",
  "/api/v1/namespaces/NAME/pods",
  "/api/v1/namespaces/NAME/configmaps",
  "/api/v1/namespaces/NAME/persistentvolumeclaims",
];

/** All operations of the HTTP API, each with what asks for a tenant. JOB is one of its jobs. */
const targets = [
  "/api/v1/whoami",
  "/api/v1/queue",
  "/api/v1/queue?namespace=NAME",
  "/api/v1/namespaces/NAME/jobs/JOB/why",
  "/api/v1/projects",
  "/api/v1/projects?root=NAME",
  "/api/v1/projects/NAME",
  "/api/v1/projects/NAME/role",
  "/api/v1/projects/NAME/role?user=NAME-viewer",
  "/api/v1/plans",
  "/api/v1/plans?ownerKind=Group&ownerName=NAME-owners",
  "/api/v1/pools",
  "/api/v1/nodes",
  "/api/v1/preemptions",
  "/api/v1/preemptions?namespace=NAME",
  "/api/v1/usage?since=2020-01-01T00:00:00Z&within=NAME&by=subtree&by=project&by=owner",
  "/api/v1/usage?since=2020-01-01T00:00:00Z&by=project",
  "/api/v1/projects/NAME/configs",
  "/api/v1/projects/NAME/config?ref=commit:NAME-commit",
  "/api/v1/projects/NAME/config/diff?from=commit:NAME-commit&to=tag:NAME-tag",
];

describe("tenants of one pool", function () {
  let installation: Installation;
  let operator: Operator;
  const tenants = new Map<Name, Tenant>();
  /** All jobs of a tenant, as it named them. */
  const submitted: Record<Name, string[]> = { quokka: [], walrus: [] };

  const submit = async (name: Name, suffix: string, options: Partial<JobOptions>) => {
    const own = `${name}-${suffix}`;
    submitted[name].push(own);
    const asked = { pool: "default", gpus: 4, priorityClassName: "low", ...options };
    await installation.view.apply(job(name, own, asked));
  };
  const until = (name: Name, suffix: string, ...states: readonly string[]) =>
    installation.view.untilJob(`${name}/${name}-${suffix}`, `be ${states.join(" or ")}`, (found) =>
      states.includes(found.status.state ?? ""),
    );
  const run = async (name: Name, suffix: string, options: Partial<JobOptions> = {}) => {
    await submit(name, suffix, options);
    await until(name, suffix, "Running");
  };
  const reason = (name: Name, suffix: string, wanted: RegExp) =>
    installation.view.untilJob(`${name}/${name}-${suffix}`, `say ${wanted}`, ({ status }) =>
      wanted.test(`${status.reason}: ${status.message}`),
    );

  const objectsOf = (name: Name, gpus: number): readonly KubeObject[] => {
    const owner = { kind: "Group", name: `${name}-owners` };
    const members = [{ kind: "User", name: `${name}-viewer`, role: "viewer" }];
    return [
      project(name, { owner, members }),
      project(`${name}-child`, { parent: name }),
      plan(`${name}-plan`, { owner, quantity: gpus }),
    ];
  };
  const commitOf = (name: Name, suffix: string, content: unknown): KubeObject => {
    const tag = suffix === "tagged" ? { tag: `${name}-tag` } : {};
    const spec = { content, message: `of ${name}`, ...tag };
    return { ...commit("", spec), metadata: { namespace: name, name: `${name}-${suffix}` } };
  };

  before(async () => {
    installation = await startInstallation();
    const { view, cluster } = installation;
    await cluster.addNodes({ count: 2, gpus: 8 });
    for (const object of [
      priorityClass("low", 10),
      priorityClass("high", 1000),
      ...objectsOf("quokka", 4),
      ...objectsOf("walrus", 8),
    ]) {
      await view.apply(object);
    }
    operator = await installation.operate();
    for (const name of names) {
      const viewer = await member(installation, `${name}-viewer`);
      const identity = withCertificate(certificateOf(await cluster.user(`${name}-viewer`)));
      const other = name === "quokka" ? "walrus" : "quokka";
      tenants.set(name, { name, other, viewer, identity });
      await view.until(`the viewer of ${name} to see it`, async () => {
        const jobsPath = `/apis/rota.dev/v1alpha1/namespaces/${name}/jobs`;
        return (await viewer.status("GET", jobsPath)) === 200;
      });
      await view.apply(commitOf(name, "commit", { secret: "of both" }));
      await view.apply(commitOf(name, "tagged", { name }));
    }
  });

  after(async () => {
    for (const { viewer } of tenants.values()) await viewer.client.close();
    await installation?.stop();
  });

  const textOf = async (identity: Identity, target: string): Promise<string> => {
    // Many questions in a row reach the caller's rate limit, which is no answer to any of them.
    let answer = await ask<unknown>(operator.apiUrl, target, identity);
    await installation.view.until("the caller's rate limit to let it ask", async () => {
      if (answer.status === 429) answer = await ask<unknown>(operator.apiUrl, target, identity);
      return answer.status !== 429;
    });
    return `${answer.status} ${JSON.stringify(answer.body)}`;
  };
  const targetsFor = (name: string, jobs: readonly string[]): string[] =>
    targets.flatMap((target) =>
      (target.includes("JOB") ? jobs : [""]).map((own) =>
        target.replaceAll("NAME", name).replaceAll("JOB", own),
      ),
    );

  /** Everything that the tenant can read about its own project, with where it stands. */
  async function readingsOf({ name, viewer, identity }: Tenant) {
    const found: (readonly [string, string])[] = [];
    for (const path of readable.map((path) => path.replaceAll("NAME", name)))
      found.push([path, JSON.stringify(await viewer.client.raw("GET", path))]);
    for (const target of targetsFor(name, submitted[name]))
      found.push([target, await textOf(identity, target)]);
    return found;
  }

  async function expectPrivacy(): Promise<void> {
    for (const tenant of tenants.values()) {
      for (const [where, text] of await readingsOf(tenant))
        expect(text, `read by ${tenant.name}: ${where}`).not.to.contain(tenant.other);
    }
  }

  it("are told of each other's jobs without names", async () => {
    const { view } = installation;
    await run("quokka", "within", { priorityClassName: "high" });
    await run("walrus", "small");
    await run("quokka", "borrower", { gpus: 8 });
    await view.client.raw("POST", "/apis/policy/v1/namespaces/quokka/poddisruptionbudgets", {
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "quokka-budget" },
      spec: { minAvailable: 1, selector: { matchLabels: { "rota.dev/job": "quokka-borrower" } } },
    });
    // Over its own quota, and too large for what that frees: one victim is its own, the other is not.
    await submit("walrus", "urgent", {
      gpus: 8,
      priorityClassName: "high",
      spec: { borrowing: "Never" },
    });
    await submit("quokka", "behind", {});
    await reason("walrus", "urgent", /protected by PodDisruptionBudget \(of another project\)/);
    await reason("quokka", "behind", /InsufficientCapacity|CapacityReserved|BehindHead/);
    await expectPrivacy();

    await view.client.raw(
      "DELETE",
      "/apis/policy/v1/namespaces/quokka/poddisruptionbudgets/quokka-budget",
    );
    await until("walrus", "urgent", "Running");
    await view.until("quokka to be told of the eviction", async () => {
      const path = "/apis/events.k8s.io/v1/namespaces/quokka/events";
      return JSON.stringify(await view.client.raw("GET", path)).includes(
        "a job of another project (priority 1000",
      );
    });
    await reason("quokka", "borrower", /Evicted by a job of another project/);
    await expectPrivacy();
  });

  it("cannot tell each other's projects from unknown ones", async () => {
    for (const { name, other, identity, viewer } of tenants.values()) {
      const known = targetsFor(other, [`${other}-urgent`]);
      const unknown = targetsFor("nobody", ["nobody-urgent"]);
      for (const [index, target] of known.entries()) {
        const asUnknown = (await textOf(identity, target)).replaceAll(other, "nobody");
        expect(asUnknown, `asked by ${name}: ${target}`).to.equal(
          await textOf(identity, unknown[index] ?? ""),
        );
      }
      const elsewhere = ["projects", "resourceplans", `namespaces/${other}/jobs`];
      for (const path of elsewhere)
        expect(await viewer.status("GET", `/apis/rota.dev/v1alpha1/${path}`), path).to.equal(403);
    }
  });
});
