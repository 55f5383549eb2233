import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import type {
  NodePage,
  PlanPage,
  PoolPage,
  PreemptionPage,
  Problem,
  QueuePage,
  RoleAnswer,
  ProjectDetail,
  TreePage,
  UsageReport,
  WhoAmI,
  Why,
} from "../../src/api/http/schemas.ts";
import { clientFor } from "../../dev/local/kube-client.ts";
import type { Operator } from "../../dev/local/operator.ts";
import { along, authorityFrom, intermediate, leaf } from "../support/authorities.ts";
import {
  ask,
  certificateOf,
  tokenOf,
  withCertificate,
  withToken,
  type Identity,
} from "../support/api-client.ts";
import {
  job,
  owner,
  plan,
  startInstallation,
  teamJobIs,
  type Installation,
} from "../support/installation.ts";
import { rejection } from "../support/fixtures.ts";
import { fillTenants, setUpTenants, robotToken } from "../support/tenants-fixture.ts";
import { writeUserKubeconfig } from "../support/plugin.ts";

describe("the HTTP API", function () {
  let installation: Installation;
  let operator: Operator;
  let admin: Identity;
  /** Viewer of team. */
  let val: Identity;
  /** Admin of team. */
  let ann: Identity;
  /** Has no role anywhere. */
  let stranger: Identity;
  /** A ServiceAccount that views the project other. */
  let robot: Identity;

  const get = <Body>(target: string, identity?: Identity) =>
    ask<Body>(operator.apiUrl, target, identity);

  before(async () => {
    installation = await startInstallation();
    const { cluster } = installation;
    await cluster.addNodes({ count: 1, gpus: 8, pool: "red", namePrefix: "red-" });
    await cluster.addNodes({
      count: 1,
      gpus: 8,
      pool: "blue",
      namePrefix: "tainted-",
      taints: [{ key: "maintenance", value: "yes", effect: "NoSchedule" }],
    });
    operator = await setUpTenants(installation, [
      plan("pat-blue", { owner, pool: "blue", quantity: 16 }),
    ]);
    await fillTenants(installation, { running: 8, waiting: 8 });
    admin = withCertificate(certificateOf(cluster.kubeconfig));
    val = withCertificate(certificateOf(await cluster.user("val")));
    ann = withCertificate(certificateOf(await cluster.user("ann")));
    stranger = withCertificate(certificateOf(await cluster.user("stranger")));
    robot = withToken(await robotToken(installation));
  });

  after(async () => {
    await installation?.stop();
  });

  describe("the caller's identity", () => {
    it("is read from the certificate that signed the request", async () => {
      const { body } = await get<WhoAmI>("/api/v1/whoami", admin);
      expect(body).to.deep.equal({
        user: "admin",
        groups: ["system:masters", "system:authenticated"],
        by: "certificate",
      });
    });

    it("is the same with a certificate of an intermediate authority", async () => {
      const { cluster } = installation;
      const pem = (file: string) =>
        readFileSync(join(cluster.directory, "certificates", file), "utf8");
      const below = await intermediate(authorityFrom(pem("ca.crt"), pem("ca.key")));
      const ivy = along(await leaf(below, { subject: "CN=ivy,O=vision" }), below);
      const base64 = (text: string) => Buffer.from(text).toString("base64");
      const file = join(cluster.directory, "ivy.kubeconfig");
      const user = { certData: base64(ivy.cert), keyData: base64(ivy.key) };
      writeUserKubeconfig(cluster.kubeconfig, user, file);
      const client = clientFor(file);
      try {
        const review = await client.raw(
          "POST",
          "/apis/authentication.k8s.io/v1/selfsubjectreviews",
          { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
        );
        expect(review).to.have.nested.property("status.userInfo.username", "ivy");
        expect(review)
          .to.have.nested.property("status.userInfo.groups")
          .that.has.members(["vision", "system:authenticated"]);
      } finally {
        await client.close();
      }
      const { body } = await get<WhoAmI>("/api/v1/whoami", withCertificate(certificateOf(file)));
      expect(body).to.deep.equal({
        user: "ivy",
        groups: ["vision", "system:authenticated"],
        by: "certificate",
      });
    });

    it("is asked of the API server for a token", async () => {
      const account = { namespace: "default", name: "default" };
      const bound = await tokenOf(installation.view.client, account, ["rota.dev"]);
      for (const identity of [robot, withToken(bound)]) {
        const { body } = await get<WhoAmI>("/api/v1/whoami", identity);
        expect(body.user).to.equal("system:serviceaccount:default:default");
        expect(body.groups).to.include("system:serviceaccounts:default");
        expect(body.by).to.equal("token");
      }
    });

    it("is not read from foreign tokens or proxy headers", async () => {
      const account = { namespace: "default", name: "default" };
      const otherUsage = await tokenOf(installation.view.client, account, ["vault"]);
      for (const token of [otherUsage, `${otherUsage.slice(0, -4)}AAAA`, "nonsense"]) {
        const { status, body } = await get<Problem>("/api/v1/whoami", withToken(token));
        expect([status, body.code]).to.deep.equal([401, "TokenRejected"]);
      }
      const spoofed = await fetchWith({
        "x-remote-user": "admin",
        "x-remote-group": "system:masters",
      });
      expect(spoofed).to.equal("Unauthenticated");
    });

    async function fetchWith(headers: Readonly<Record<string, string>>): Promise<string> {
      const { body } = await ask<Problem>(operator.apiUrl, "/api/v1/whoami", undefined, {
        headers,
      });
      return body.code;
    }

    it("is refused for a reused or mismatched signature", async () => {
      const signature = await val("GET", "/api/v1/queue");
      const first = await get("/api/v1/queue", () => signature);
      const again = await get<Problem>("/api/v1/queue", () => signature);
      const elsewhere = await val("GET", "/api/v1/queue");
      const other = await get<Problem>("/api/v1/projects", () => elsewhere);
      expect(first.status).to.equal(200);
      expect([again.status, again.body.code]).to.deep.equal([401, "CertificateRejected"]);
      expect(other.body.detail).to.contain("for another request");
    });
  });

  describe("an answer of the HTTP API", () => {
    it("is the queue, without jobs hidden from the caller", async () => {
      const all = await get<QueuePage>("/api/v1/queue?pool=blue", admin);
      expect(
        all.body.items.map(({ namespace, name, position }) => [`${namespace}/${name}`, position]),
      ).to.deep.equal([
        ["team/c", 1],
        ["other/d", 2],
      ]);
      const rest = await get<QueuePage>("/api/v1/queue?pool=blue", robot);
      expect(rest.body.items.map(({ name, position }) => [name, position])).to.deep.equal([
        ["d", 2],
      ]);
      const none = await get<QueuePage>("/api/v1/queue", stranger);
      expect(none.body.items).to.deep.equal([]);
    });

    it("comes in pages", async () => {
      const first = await get<QueuePage>("/api/v1/queue?limit=1", admin);
      expect(first.body.items.map(({ name }) => name)).to.deep.equal(["c"]);
      const second = await get<QueuePage>(
        `/api/v1/queue?limit=1&cursor=${first.body.next ?? ""}`,
        admin,
      );
      expect(second.body.items.map(({ name }) => name)).to.deep.equal(["d"]);
      expect(second.body.next).to.equal(null);
    });

    it("explains why a job waits: quota, nodes and candidates", async () => {
      const { body } = await get<Why>("/api/v1/namespaces/team/jobs/c/why", val);
      expect(body.state).to.equal("Pending");
      expect(body.position).to.equal(1);
      expect(body.verdict).to.include({ kind: "wait" });
      expect(body.quotas).to.have.lengthOf(1);
      expect(body.quotas[0]).to.include({ quantity: 16, usage: 16, demand: 8, exceeded: true });
      expect(body.nodes.total).to.equal(3);
      expect(body.nodes.accepting).to.equal(2);
      expect(body.nodes.items, "who may not list nodes").to.deep.equal([]);
      const whole = await get<Why>("/api/v1/namespaces/team/jobs/c/why", admin);
      const { items } = whole.body.nodes;
      expect(items.map(({ rejection }) => rejection)).to.deep.equal(["Full", "Full", "Taint"]);
      expect(items[2]?.message).to.contain("maintenance=yes:NoSchedule");
      expect(body.candidates.items).to.deep.equal([]);
    });

    it("is usage in pages over one fixed range", async () => {
      const since = new Date(Date.now() - 3_600_000).toISOString();
      const query = `since=${encodeURIComponent(since)}&by=subtree&by=pool&limit=1`;
      const first = await get<UsageReport>(`/api/v1/usage?${query}`, admin);
      expect(first.body.items.map(({ subtree, pool }) => [subtree, pool])).to.deep.equal([
        ["lab", "blue"],
      ]);
      const rest = `/api/v1/usage?${query}&cursor=${first.body.next}`;
      const second = await get<UsageReport>(rest, admin);
      expect(second.body.items.map(({ subtree }) => subtree)).to.deep.equal(["team"]);
      expect(second.body.items[0]?.gpuSeconds).to.equal(first.body.items[0]?.gpuSeconds);
      expect([second.body.until, second.body.next]).to.deep.equal([first.body.until, null]);
    });

    it("is usage up to now, on every page, though asked for times to come", async () => {
      const until = new Date(Date.now() + 3_600_000).toISOString();
      const query = `since=2026-01-01T00:00:00Z&until=${until}&by=subtree&limit=1`;
      const first = await get<UsageReport>(`/api/v1/usage?${query}`, admin);
      const rest = `/api/v1/usage?${query}&cursor=${first.body.next}`;
      const second = await get<UsageReport>(rest, admin);
      expect(first.body.until < until).to.equal(true);
      expect(second.body.until).to.equal(first.body.until);
      expect(second.body.items[0]?.gpuSeconds).to.equal(first.body.items[0]?.gpuSeconds);
    });

    it("shows the tree with what each subtree uses", async () => {
      const { body } = await get<TreePage>("/api/v1/projects", admin);
      expect(
        body.items.map(({ name, depth, gpusRunning, gpusPending, gpusPlanned }) => ({
          name,
          depth,
          gpusRunning,
          gpusPending,
          gpusPlanned,
        })),
      ).to.deep.equal([
        { name: "lab", depth: 0, gpusRunning: 16, gpusPending: 12, gpusPlanned: null },
        { name: "other", depth: 1, gpusRunning: 0, gpusPending: 4, gpusPlanned: null },
        { name: "team", depth: 1, gpusRunning: 16, gpusPending: 8, gpusPlanned: 16 },
      ]);
      const own = await get<TreePage>("/api/v1/projects", val);
      expect(own.body.items.map(({ name }) => name)).to.deep.equal(["team"]);
    });

    it("shows a project's settings and place in the tree", async () => {
      const { body } = await get<ProjectDetail>("/api/v1/projects/team", admin);
      expect(body).to.deep.include({
        name: "team",
        namespace: "team",
        ancestors: ["lab"],
        descendants: { total: 0, items: [] },
      });
      const root = await get<ProjectDetail>("/api/v1/projects/lab", admin);
      expect(root.body.ancestors).to.deep.equal([]);
      expect(root.body.descendants.items).to.have.members(["team", "other"]);
      const own = await get<ProjectDetail>("/api/v1/projects/team", val);
      expect(own.body.ancestors).to.deep.equal([]);
      const hidden = await get<Problem>("/api/v1/projects/lab", val);
      expect([hidden.status, hidden.body.code]).to.deep.equal([404, "NotFound"]);
    });

    it("shows plans to those whose projects they bound", async () => {
      const asked = "/api/v1/plans?ownerKind=User&ownerName=pat";
      const { body } = await get<PlanPage>(asked, val);
      expect(body.items.map(({ plan: name, text }) => [name, text])).to.deep.equal([
        ["pat-blue", "the whole week"],
      ]);
      const rejected = await get<Problem>(asked, robot);
      expect([rejected.status, rejected.body.code]).to.deep.equal([403, "Forbidden"]);
    });

    it("shows pools to everybody and nodes to permitted callers", async () => {
      const pools = await get<PoolPage>("/api/v1/pools", stranger);
      const blue = pools.body.items.find(({ pool }) => pool === "blue");
      expect(blue).to.include({ nodes: 3, schedulable: 3, jobsRunning: 2, jobsPending: 2 });
      expect(blue?.usage.committed.gpus).to.equal(16);
      const nodes = await get<NodePage>("/api/v1/nodes?pool=blue", admin);
      expect(nodes.body.items.map(({ usage }) => usage.committed.gpus)).to.deep.equal([8, 8, 0]);
      expect((await get("/api/v1/nodes", val)).status).to.equal(403);
    });

    it("tells admins others' permissions, and everybody their own", async () => {
      const own = await get<RoleAnswer>("/api/v1/projects/team/role", val);
      expect(own.body.role).to.equal("viewer");
      expect(own.body.may).to.deep.equal({ view: true, submit: false, administer: false });
      const asked = await get<RoleAnswer>("/api/v1/projects/team/role?user=val", ann);
      expect(asked.body.role).to.equal("viewer");
      const nosy = await get<Problem>("/api/v1/projects/team/role?user=ann", val);
      expect(nosy.status).to.equal(403);
      const { may, role } = (await get<RoleAnswer>("/api/v1/projects/team/role", admin)).body;
      expect([role, may]).to.deep.equal([null, { view: true, submit: true, administer: true }]);
      const owned = await get<RoleAnswer>("/api/v1/projects/team/role?user=pat", admin);
      expect([owned.body.role, owned.body.owner]).to.deep.equal([null, true]);
      expect(owned.body.may).to.deep.equal({ view: false, submit: false, administer: false });
      const hidden = await get<Problem>("/api/v1/projects/team/role", stranger);
      expect(hidden.status).to.equal(404);
    });

    it("shows an eviction to both sides, without others' names", async () => {
      const { view } = installation;
      const urgent = job("team", "urgent", { pool: "blue", gpus: 8, priorityClassName: "high" });
      await view.apply(urgent);
      await teamJobIs(installation, "urgent", "Running");
      const { body } = await view.until("the outcome to be written", async () => {
        const page = await get<PreemptionPage>("/api/v1/preemptions", val);
        return page.body.items[0]?.outcome === "Started" && page;
      });
      expect(body.items).to.have.lengthOf(1);
      const [entry] = body.items;
      expect(entry?.preemptor).to.equal("team/urgent");
      expect(entry?.reason).to.contain("team/urgent (priority 1000");
      expect(entry?.victims.map(({ job: name, outcome }) => [name, outcome])).to.deep.equal([
        ["team/b", "Evicted"],
      ]);
      expect((await get<PreemptionPage>("/api/v1/preemptions", robot)).body.items).to.deep.equal(
        [],
      );
      const named = await get<Problem>("/api/v1/preemptions?namespace=team", robot);
      expect(named.status).to.equal(403);
    });
  });

  describe("a job's name", () => {
    it("is hidden from other projects, except in the preemption log", async () => {
      const { view, database } = installation;
      await view.apply(plan("pat-red", { owner, pool: "red", quantity: 8 }));
      await view.apply(job("other", "guest", { pool: "red", gpus: 8, priorityClassName: "low" }));
      await view.until("guest to run", async () => {
        return (await view.job("other/guest")).status.state === "Running";
      });
      await view.apply(job("team", "host", { pool: "red", gpus: 8, priorityClassName: "high" }));
      await teamJobIs(installation, "host", "Running");
      const { status } = await view.until("guest to say why it waits", async () => {
        const guest = await view.job("other/guest");
        return guest.status.queuePosition !== undefined && guest;
      });
      expect(status.message).to.match(
        /\. Evicted by a job of another project \(BorrowerReclaimed\)$/,
      );
      const d = await view.job("other/d");
      const events = await view.until("the event to be written", async () => {
        const path = "/apis/events.k8s.io/v1/namespaces/other/events";
        const text = JSON.stringify(await view.client.raw("GET", path));
        return text.includes("a job of another project (priority 1000") && text;
      });
      expect(events).to.contain("other/guest (borrowing, priority 10)");
      for (const text of [status.message, d.status.message, events]) {
        expect(text).to.not.contain("team/");
      }

      const ofGuest = async (identity: Identity) => {
        const { body } = await get<PreemptionPage>("/api/v1/preemptions", identity);
        return body.items.find(({ pool }) => pool === "red")?.reason ?? "";
      };
      expect(await ofGuest(robot))
        .to.contain("other/guest")
        .and.to.not.contain("team/host");
      expect(await ofGuest(val))
        .to.contain("team/host")
        .and.to.not.contain("other/guest");
      const { rows } = await database.pool.query<{ reason: string }>(
        "SELECT reason FROM preemptions WHERE pool = 'red'",
      );
      expect(rows.map(({ reason }) => reason)).to.deep.equal([await ofGuest(admin)]);
      expect(rows[0]?.reason).to.contain("team/host").and.to.contain("other/guest");
    });
  });

  describe("an error of the HTTP API", () => {
    it("names a port in use, with the setting", async () => {
      const { port } = new URL(operator.apiUrl);
      const message = await rejection(installation.operate({ ROTA_API_PORT: port }));
      expect(message).to.have.property("message").that.contains("set ROTA_API_PORT to a free port");
    });

    it("is problem+json with a stable code", async () => {
      const cases = [
        ["/api/v1/nothing", 404, "NotFound"],
        ["/api/v1/queue?limit=100000", 400, "InvalidParameter"],
        ["/api/v1/queue?colour=blue", 400, "InvalidParameter"],
        ["/api/v1/queue?cursor=xyz", 400, "InvalidCursor"],
        ["/api/v1/namespaces/team/jobs/nobody/why", 404, "NotFound"],
        ["/api/v1/projects/nowhere/role", 404, "NotFound"],
      ] as const;
      for (const [target, status, code] of cases) {
        const reply = await get<Problem>(target, admin);
        expect([target, reply.status, reply.body.code]).to.deep.equal([target, status, code]);
        expect(reply.contentType).to.equal("application/problem+json");
      }
    });

    it("answers every method but GET, and every body", async () => {
      const post = await ask<Problem>(operator.apiUrl, "/api/v1/queue", admin, {
        method: "POST",
        body: "{}",
      });
      expect([post.status, post.body.code]).to.deep.equal([405, "MethodNotAllowed"]);
    });

    it("answers a caller above the rate limit", async () => {
      // As many as it takes: a slow machine sends fewer a second. Fewer at once than one address may open connections.
      const rejected = await installation.view.until("a request to be rejected", async () => {
        const burst = Array.from({ length: 60 }, () => get<Problem>("/api/v1/whoami", robot));
        return (await Promise.all(burst)).find(({ status }) => status === 429);
      });
      expect(rejected.retryAfter).to.match(/^\d+$/);
      expect((await get("/api/v1/whoami", val)).status).to.equal(200);
    });
  });
});
