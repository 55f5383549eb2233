/** Run by service-proxy.test.ts inside a network namespace; see there. */
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { load } from "js-yaml";
import { clientFor } from "../../../dev/local/kube-client.ts";
import { projectRoot } from "../../../dev/local/paths.ts";
import { waitFor } from "../../../dev/local/wait.ts";
import type { WhoAmI } from "../../../src/api/http/schemas.ts";
import { tokenHeader } from "../../../src/api/http/identity.ts";
import type { KubeClient } from "../../../src/kube/client.ts";
import type { KubeObject } from "../../../src/kube/resource.ts";
import { core } from "../../support/core-resource.ts";
import { tokenOf } from "../../support/api-client.ts";
import {
  owner,
  project,
  startInstallation,
  teamIsReady,
  type Installation,
} from "../../support/installation.ts";
import { addLocalAddress } from "../../support/network-namespace.ts";
import { buildPlugin, writeUserKubeconfig, type Plugin } from "../../support/plugin.ts";

const services = core("services", "Service");
const pods = core("pods", "Pod");

const apiPort = 8443;
const podKey = "rota-system/rota-operator-0";

/** A pod as the Deployment would make it: the Service's selector finds it by its labels. */
const operatorPod: KubeObject = {
  metadata: {
    namespace: "rota-system",
    name: "rota-operator-0",
    labels: { "app.kubernetes.io/name": "rota", "app.kubernetes.io/component": "operator" },
  },
  spec: {
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 65_532,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [
      {
        name: "operator",
        image: "none.example/none:1",
        ports: [
          { name: "http", containerPort: 8080 },
          { name: "api", containerPort: apiPort },
        ],
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ["ALL"] },
        },
      },
    ],
  },
};

async function podAddress(client: KubeClient): Promise<string | undefined> {
  const { status } = await client.get(pods, podKey);
  return (status as { readonly podIP?: string } | undefined)?.podIP;
}

describe("the HTTP API inside the network namespace", function () {
  let installation: Installation;
  let plugin: Plugin;
  const kubeconfigs = new Map<string, string>();

  const run = (user: string, ...args: string[]) => plugin.run(kubeconfigs.get(user) ?? "", args);

  before(async () => {
    [plugin, installation] = await Promise.all([buildPlugin(), startInstallation()]);
    const { view, cluster } = installation;
    const { client } = view;
    const file = join(projectRoot, "manifests", "operator", "service.yaml");
    await client.apply(services, load(readFileSync(file, "utf8")) as KubeObject);
    await cluster.addNodes({ count: 1, gpus: 8 });
    await view.apply(
      project("team", {
        owner,
        members: [
          { kind: "User", name: "val", role: "viewer" },
          { kind: "User", name: "system:serviceaccount:default:default", role: "viewer" },
        ],
      }),
    );
    await client.create(pods, operatorPod);
    const address = await waitFor(() => podAddress(client), {
      what: "the operator's pod to have an address",
      timeoutMs: 60_000,
    });
    addLocalAddress(address);
    await installation.operate({ ROTA_API_ADDRESS: address, ROTA_API_PORT: String(apiPort) });
    await teamIsReady(installation);
    kubeconfigs.set("val", await cluster.user("val"));
    kubeconfigs.set("stranger", await cluster.user("stranger"));
    const robot = join(cluster.directory, "robot.kubeconfig");
    const token = await tokenOf(client, { namespace: "default", name: "default" });
    writeUserKubeconfig(cluster.kubeconfig, { token }, robot);
    kubeconfigs.set("robot", robot);
    await waitFor(async () => (await run("val", "top")).status === 0, {
      what: "the Service to have the operator's endpoint",
      timeoutMs: 60_000,
    });
  });

  after(async () => {
    await installation?.stop();
    plugin?.remove();
  });

  it("answers a user with a client certificate", async () => {
    const tree = await run("val", "tree");
    expect(tree.stderr).to.equal("");
    expect(tree.stdout).to.match(/^team +User pat/m);
    const nothing = await run("stranger", "tree");
    expect(nothing.stdout).to.contain("No project in which you have a role");
  });

  it("answers a ServiceAccount by its token", async () => {
    const { stdout, stderr } = await run("robot", "can", "me", "view", "team");
    expect(stderr).to.equal("");
    expect(stdout).to.contain("yes: system:serviceaccount:default:default is a viewer");
  });

  it("keeps a query as it was signed", async () => {
    const { status, stderr } = await run(
      "val",
      "preemptions",
      "--since",
      "2026-01-01T08:00:00+02:00",
    );
    expect([status, stderr]).to.deep.equal([0, ""]);
  });

  it("passes refusals through unchanged", async () => {
    const { status, stderr } = await run("val", "top", "nodes");
    expect(status).to.equal(4);
    expect(stderr).to.contain("val may not list nodes");
  });

  it("does not trust the API server's own user", async () => {
    const client = clientFor(installation.cluster.kubeconfig);
    try {
      const path =
        "/api/v1/namespaces/rota-system/services/https:rota-operator:api/proxy/api/v1/whoami";
      const answer = await client.raw("GET", path, undefined, { attempts: 1 }).then(
        (body) => body as WhoAmI,
        (error: unknown) => String(error),
      );
      expect(answer).to.contain("401");
      expect(tokenHeader).to.equal("x-rota-token");
    } finally {
      await client.close();
    }
  });

  it("reaches the API's port only", async () => {
    const client = clientFor(kubeconfigs.get("val") ?? "");
    try {
      const path = "/api/v1/namespaces/rota-system/services/http:rota-operator:http/proxy/metrics";
      const answer = await client
        .raw("GET", path, undefined, { attempts: 1 })
        .catch((error: unknown) => String(error));
      expect(answer).to.contain("403");
    } finally {
      await client.close();
    }
  });

  it("reports that no operator answers", async () => {
    await installation.view.client.delete(pods, podKey);
    const outcome = await waitFor(
      async () => {
        const found = await run("val", "top");
        return found.status === 3 && found;
      },
      { what: "the endpoint to be gone", timeoutMs: 60_000 },
    );
    expect(outcome.stderr).to.contain("no operator answers in namespace rota-system");
  });
});
