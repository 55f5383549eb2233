/** How controllers report on an object: its status, and events that a person should read. */
import type { Reason } from "../api/reasons.ts";
import { apiVersionOf } from "../kube/resource.ts";
import type { ResourceName } from "../kube/resource.ts";
import type { JsonObject } from "../kube/merge-patch.ts";
import type { Meta } from "../resources/meta.ts";
import type { Context } from "./context.ts";

interface WithStatus extends Meta {
  readonly status: object;
}

const keyOf = ({ namespace, name }: Meta): string =>
  namespace === "" ? name : `${namespace}/${name}`;

/** Writes the differences in one patch; writes nothing if there are none. */
export async function writeStatus(
  { statuses }: Pick<Context, "statuses">,
  type: ResourceName,
  object: WithStatus,
  status: object,
): Promise<void> {
  const { uid, resourceVersion } = object;
  await statuses.write(
    { type, key: keyOf(object), uid, status: object.status as JsonObject, resourceVersion },
    status as JsonObject,
  );
}

export interface Notice {
  readonly type: "Normal" | "Warning";
  readonly reason: Reason;
  /** CamelCase; what was done. */
  readonly action: string;
  readonly note: string;
}

/** Records an event for `kubectl describe`; does not block. */
export function notify(
  { events }: Pick<Context, "events">,
  type: ResourceName,
  object: Meta,
  notice: Notice,
): void {
  const { name, namespace, uid } = object;
  events.event({
    ...notice,
    regarding: {
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      name,
      uid,
      ...(namespace === "" ? {} : { namespace }),
    },
  });
}
