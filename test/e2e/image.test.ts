/** The container image, built and run as a pod would run it. Needs a Docker engine; without one it is skipped, and says so. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { load } from "js-yaml";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";
import { projectRoot } from "../../dev/local/paths.ts";
import { freePorts } from "../../dev/local/ports.ts";
import { waitFor } from "../../dev/local/wait.ts";
import { type Bases, baseImages, docker, dockerAnswers } from "../support/docker.ts";
import {
  type Installation,
  job,
  owner,
  plan,
  priorityClass,
  project,
  startInstallation,
  teamIsReady,
  teamJobIs,
} from "../support/installation.ts";

const image = "rota-test/operator:local";
const container = `rota-test-${process.pid}`;
/** What Rota adds to the base: the bundle, its source map and the migrations. */
const largestOwnBytes = 10_000_000;
const readyTimeoutMs = 60_000;

interface ImageConfig {
  readonly User: string;
  readonly Entrypoint: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
}

const defaultBases = (): string[] =>
  [
    ...readFileSync(join(projectRoot, "Dockerfile"), "utf8").matchAll(/^ARG \w+_IMAGE=(\S+)$/gm),
  ].map(([, name = ""]) => name);

interface Kubeconfig {
  readonly clusters: readonly [
    {
      readonly cluster: { readonly server: string; readonly "certificate-authority-data": string };
    },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

describe("the container image", function () {
  let installation: Installation | undefined;
  let folder: string;
  let bases: Bases;

  before(async function () {
    if (!(await dockerAnswers())) {
      console.warn("    no Docker engine answers: the image is neither built nor run");
      this.skip();
    }
    this.timeout(900_000);
    folder = mkdtempSync(join(tmpdir(), "rota-image-test-"));
    bases = await baseImages(defaultBases());
    console.log(`    built on ${bases.origin}`);
    const labels = ["--build-arg=VERSION=1.2.3", "--build-arg=REVISION=abcdef"];
    await docker(
      "build",
      "--network=host",
      `--tag=${image}`,
      ...labels,
      ...bases.buildArguments,
      ".",
    );
  });

  after(async () => {
    if (folder === undefined) return;
    await docker("rm", "--force", container).catch(() => undefined);
    await docker("rmi", "--force", image).catch(() => undefined);
    await installation?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The files that a pod finds in place of a kubeconfig, and the variables that go with them. */
  async function inClusterArguments(kubeconfig: string): Promise<string[]> {
    const file = join(folder, "kubeconfig");
    await writeOperatorKubeconfig(kubeconfig, file);
    const { clusters, users } = load(readFileSync(file, "utf8")) as Kubeconfig;
    const { server, "certificate-authority-data": ca } = clusters[0].cluster;
    // The container's account is not ours.
    const open = { mode: 0o644 };
    writeFileSync(join(folder, "token"), users[0].user.token, open);
    writeFileSync(join(folder, "ca.crt"), Buffer.from(ca, "base64"), open);
    writeFileSync(join(folder, "namespace"), "rota-system", open);
    const { hostname, port } = new URL(server);
    const secrets = "/var/run/secrets/kubernetes.io/serviceaccount";
    return [
      ...["token", "ca.crt", "namespace"].map(
        (name) => `--volume=${join(folder, name)}:${secrets}/${name}:ro`,
      ),
      `--env=KUBERNETES_SERVICE_HOST=${hostname}`,
      `--env=KUBERNETES_SERVICE_PORT=${port}`,
    ];
  }

  it("runs as a numbered account, with labels, and is small", async () => {
    const config = JSON.parse(
      await docker("inspect", "--format={{json .Config}}", image),
    ) as ImageConfig;
    expect(config.User).to.equal("65532:65532");
    expect(config.Entrypoint[0]).to.equal("/nodejs/bin/node");
    expect(config.Labels).to.include({
      "org.opencontainers.image.version": "1.2.3",
      "org.opencontainers.image.revision": "abcdef",
      "org.opencontainers.image.licenses": "Apache-2.0",
    });
    const layers = (
      await docker(
        "history",
        "--no-trunc",
        "--human=false",
        "--format={{.Size}} {{.CreatedBy}}",
        image,
      )
    ).split("\n");
    const own = layers
      .filter((layer) => layer.includes("/rota"))
      .map((layer) => Number.parseInt(layer, 10));
    expect(Math.max(...own)).to.be.within(1_000_000, largestOwnBytes);
  });

  it("has no shell", async () => {
    const shell = docker(
      "run",
      "--rm",
      "--network=host",
      "--entrypoint=/bin/sh",
      image,
      "-c",
      "true",
    );
    const outcome = await shell.then(
      () => "a shell ran",
      (error: unknown) => String(error),
    );
    expect(outcome).to.match(/no such file or directory/);
  });

  it("works as a restricted pod, and drains", async () => {
    installation = await startInstallation();
    const { cluster, database, view } = installation;
    await cluster.addNodes({ count: 1, gpus: 8 });
    const [port = 0] = await freePorts(1);
    await docker(
      "run",
      "--detach",
      `--name=${container}`,
      "--network=host",
      "--read-only",
      "--cap-drop=ALL",
      "--security-opt=no-new-privileges",
      ...(await inClusterArguments(cluster.kubeconfig)),
      `--env=DATABASE_URL=${database.url}`,
      `--env=ROTA_HTTP_PORT=${port}`,
      "--env=ROTA_API_PORT=0",
      "--env=NODE_OPTIONS=--max-old-space-size-percentage=75",
      image,
    );
    const ready = async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok;
    await waitFor(ready, { what: "the container to be ready", timeoutMs: readyTimeoutMs });
    for (const object of [
      priorityClass("low", 10),
      project("team", { owner }),
      plan("all", { owner }),
    ]) {
      await view.apply(object);
    }
    await teamIsReady(installation);
    await view.apply(job("team", "one", { pool: "default", gpus: 8, priorityClassName: "low" }));
    await teamJobIs(installation, "one", "Running");
    await docker("stop", "--time=30", container);
    expect(await docker("inspect", "--format={{.State.ExitCode}}", container)).to.equal("0");
  });
});
