/** What callers may see: the cluster's RBAC decides (SubjectAccessReview); answers are cached briefly. */
import { createHash } from "node:crypto";
import type { VisibleNamespaces } from "../db/reports/page.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Caller } from "./identity.ts";
import { ExpiringCache } from "../runtime/expiring-cache.ts";
import { HttpProblem } from "./problem.ts";

/** An action in the cluster, for a SubjectAccessReview. */
export interface Permission {
  readonly verb: "get" | "list" | "create" | "delete";
  readonly group: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
}

export interface AuthorizerOptions {
  readonly kube: KubeClient;
  readonly clock: Clock;
  /** Namespaces of all projects, in order, at most `limit`. */
  readonly namespaces: (limit: number) => Promise<readonly string[]>;
}

const keptSeconds = 30;
const maxAnswers = 50_000;
const maxNamespaces = 2000;
/** Callers whose namespaces are kept: up to `maxNamespaces` names each. */
const maxVisible = 256;
const reviewsAtOnce = 16;
const reviewTimeoutSeconds = 10;

/** Permission to list the jobs of a namespace; without one, of all. */
export const listJobs = (namespace?: string): Permission => ({
  verb: "list",
  group: "rota.dev",
  resource: "jobs",
  ...(namespace === undefined ? {} : { namespace }),
});

/** Permission to see nodes: names, capacity, labels and taints. */
export const listNodes: Permission = { verb: "list", group: "", resource: "nodes" };

export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #answers: ExpiringCache<boolean>;
  readonly #visible: ExpiringCache<VisibleNamespaces>;

  constructor(options: AuthorizerOptions) {
    const { clock } = options;
    this.#options = options;
    this.#answers = new ExpiringCache({ clock, capacity: maxAnswers, seconds: () => keptSeconds });
    this.#visible = new ExpiringCache({ clock, capacity: maxVisible, seconds: () => keptSeconds });
  }

  may(caller: Caller, permission: Permission): Promise<boolean> {
    return this.#answers.get(keyOf(caller, permission), () => this.#review(caller, permission));
  }

  /** Throws HttpProblem Forbidden. */
  async require(caller: Caller, permission: Permission): Promise<void> {
    if (await this.may(caller, permission)) return;
    const { verb, group, resource, namespace, name } = permission;
    const what = [
      `${resource}${group === "" ? "" : `.${group}`}`,
      ...(name === undefined ? [] : [name]),
    ].join(" ");
    const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
    throw new HttpProblem(
      "Forbidden",
      `${caller.user} may not ${verb} ${what}${where}: ask a cluster administrator, or to be added to the project's members`,
    );
  }

  /** The project namespaces whose jobs the caller may list; null: all. Throws HttpProblem TooManyProjects. */
  async visibleNamespaces(caller: Caller): Promise<VisibleNamespaces> {
    if (await this.may(caller, listJobs())) return null;
    return this.#visible.get(subjectKey(caller), () => this.#allowedOf(caller));
  }

  /** The given namespace, or all that the caller may see. Throws HttpProblem Forbidden. */
  async namespacesFor(caller: Caller, namespace: string | undefined): Promise<VisibleNamespaces> {
    if (namespace === undefined) return this.visibleNamespaces(caller);
    await this.require(caller, listJobs(namespace));
    return [namespace];
  }

  /** Like `visibleNamespaces`, but only the given one if there are too many projects to review. */
  async visibleAround(caller: Caller, namespace: string | undefined): Promise<VisibleNamespaces> {
    try {
      return await this.visibleNamespaces(caller);
    } catch (error) {
      const isTooMany = error instanceof HttpProblem && error.code === "TooManyProjects";
      if (!isTooMany || namespace === undefined) throw error;
      return [namespace];
    }
  }

  async #allowedOf(caller: Caller): Promise<readonly string[]> {
    const all = await this.#options.namespaces(maxNamespaces + 1);
    if (all.length > maxNamespaces) {
      throw new HttpProblem(
        "TooManyProjects",
        `more than ${maxNamespaces} projects exist and you may not list all jobs: name a namespace`,
      );
    }
    const queue = [...all];
    const allowed: string[] = [];
    const worker = async (): Promise<void> => {
      for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
        if (await this.may(caller, listJobs(next))) allowed.push(next);
      }
    };
    await Promise.all(Array.from({ length: reviewsAtOnce }, worker));
    return allowed.sort();
  }

  async #review(caller: Caller, permission: Permission): Promise<boolean> {
    const { user, groups, uid, extra } = caller;
    const review = (await this.#options.kube.raw(
      "POST",
      "/apis/authorization.k8s.io/v1/subjectaccessreviews",
      {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: {
          user,
          groups,
          ...(uid === undefined ? {} : { uid }),
          ...(extra === undefined ? {} : { extra }),
          resourceAttributes: permission,
        },
      },
      { timeoutSeconds: reviewTimeoutSeconds, idempotent: true },
    )) as { readonly status?: { readonly allowed?: boolean; readonly denied?: boolean } };
    return review.status?.allowed === true && review.status.denied !== true;
  }
}

/** Callers choose how long their groups and a subject's are: a key of fixed length bounds what is kept. */
const hashOf = (value: unknown): string =>
  createHash("sha256").update(JSON.stringify(value)).digest("base64");

const subjectKey = ({ user, groups, uid, extra }: Caller): string =>
  hashOf([user, groups, uid ?? "", extra ?? {}]);

const keyOf = (caller: Caller, { verb, group, resource, namespace, name }: Permission): string =>
  hashOf([subjectKey(caller), verb, group, resource, namespace ?? "", name ?? ""]);
