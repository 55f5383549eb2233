/** A kubectl user for tests: a client with its own certificate and only the rights of Rota's roles. */
import { clientFor } from "../../dev/local/kube-client.ts";
import type { KubeClient } from "../../src/kube/client.ts";
import { KubeError } from "../../src/kube/errors.ts";
import type { Installation } from "./installation.ts";

export interface Member {
  readonly name: string;
  readonly client: KubeClient;
  /** The HTTP status of a call; 200 for every success. */
  status(method: string, path: string, body?: unknown): Promise<number>;
  /** The API server's error for a refused call; throws if the call succeeds. */
  rejection(method: string, path: string, body?: unknown): Promise<KubeError>;
}

export async function member(
  { cluster }: Pick<Installation, "cluster">,
  name: string,
  groups: readonly string[] = [],
): Promise<Member> {
  const client = clientFor(await cluster.user(name, groups));
  const error = async (method: string, path: string, body?: unknown) => {
    try {
      await client.raw(method, path, body, { attempts: 1 });
      return undefined;
    } catch (failure) {
      if (failure instanceof KubeError && failure.status !== 0) return failure;
      throw failure;
    }
  };
  return {
    name,
    client,
    status: async (...call) => (await error(...call))?.status ?? 200,
    rejection: async (...call) => {
      const rejected = await error(...call);
      if (rejected === undefined) throw new Error(`${name}: ${call[0]} ${call[1]} went through`);
      return rejected;
    },
  };
}
