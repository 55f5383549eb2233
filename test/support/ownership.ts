/** What an administrator does after a restore: the documented step. */
import { markerAnnotations, markerName } from "../../src/api/names.ts";
import type { ResourceName } from "../../src/kube/resource.ts";
import type { Installation } from "./installation.ts";

export const clusterRoles: ResourceName = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterroles",
  kind: "ClusterRole",
  namespaced: false,
};

/** Accepts the database of this id for the cluster. */
export async function acceptDatabase(
  { view }: Pick<Installation, "view">,
  id: string,
): Promise<void> {
  const metadata = { annotations: { [markerAnnotations.accept]: id } };
  await view.client.patch(clusterRoles, markerName, { metadata });
}

/** Accepts the database that is there now. */
export async function acceptPresentDatabase(
  installation: Pick<Installation, "view" | "database">,
): Promise<void> {
  const { rows } = await installation.database.pool.query<{ id: string }>(
    "SELECT database_id AS id FROM installation",
  );
  await acceptDatabase(installation, rows[0]?.id ?? "");
}
