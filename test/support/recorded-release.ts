/** Brings a cluster and a database to what a release left behind, as test/fixtures/record.ts recorded it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { Client } from "pg";
import type { Cluster } from "../../dev/local/cluster.ts";
import { resourceOf } from "../../dev/local/install-crds.ts";
import { clientFor } from "../../dev/local/kube-client.ts";
import { projectRoot } from "../../dev/local/paths.ts";
import { waitFor } from "../../dev/local/wait.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { type KubeObject, keyOf } from "../../src/kube/resource.ts";
import { kubectl } from "./kubectl.ts";

const timeoutMs = 60_000;

/** The API server gives every object a new uid; whatever names the old one has to follow. */
class Uids {
  readonly #renewed = new Map<string, string>();

  learn(former: string | undefined, renewed: string | undefined): void {
    if (former !== undefined && renewed !== undefined) this.#renewed.set(former, renewed);
  }

  in(text: string): string {
    return text.replaceAll(
      /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g,
      (uid) => this.#renewed.get(uid) ?? uid,
    );
  }
}

/** Pods of a namespace are refused until its default service account is there. */
const waitForAccount = (client: KubeClient, namespace: string): Promise<unknown> =>
  waitFor(() => client.raw("GET", `/api/v1/namespaces/${namespace}/serviceaccounts/default`), {
    what: `the default service account of ${namespace}`,
    timeoutMs,
  });

async function restore(client: KubeClient, recorded: KubeObject, uids: Uids): Promise<void> {
  const { status, ...object } = JSON.parse(uids.in(JSON.stringify(recorded))) as KubeObject;
  const type = await resourceOf(client, object);
  delete object.metadata.uid;
  const created = await client.create(type, object);
  uids.learn(recorded.metadata.uid, created.metadata.uid);
  if (type.group === "rota.dev" && status !== undefined) {
    await client.patch(type, keyOf(object), { status }, { subresource: "status" });
  }
  if (type.kind === "Namespace") await waitForAccount(client, keyOf(object));
}

export interface RecordedRelease {
  readonly cluster: Cluster;
  readonly databaseUrl: string;
  readonly version: string;
}

/** The cluster has the same nodes already, the database is empty. */
export async function restoreRelease(release: RecordedRelease): Promise<void> {
  const { cluster, databaseUrl, version } = release;
  const folder = join(projectRoot, "test", "fixtures", `release-${version}`);
  await kubectl(cluster, "apply", "--server-side", `--filename=${join(folder, "crds")}`);
  await kubectl(cluster, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
  const client = clientFor(cluster.kubeconfig);
  const uids = new Uids();
  try {
    const text = readFileSync(join(folder, "objects.yaml"), "utf8");
    for (const object of loadAll(text) as KubeObject[]) await restore(client, object, uids);
  } finally {
    await client.close();
  }
  const database = new Client({ connectionString: databaseUrl });
  await database.connect();
  try {
    await database.query(uids.in(readFileSync(join(folder, "database.sql"), "utf8")));
  } finally {
    await database.end();
  }
}
