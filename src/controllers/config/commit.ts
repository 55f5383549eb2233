/** Stores a ConfigCommit's content once per hash and reports the hash in its status. */
import { commitTable, conditionsOf } from "../../api/conditions.ts";
import type { CommitReason } from "../../api/reasons.ts";
import { hasCommit, removeCommits, saveCommit } from "../../db/configs/commits.ts";
import { canonicalizeValue } from "../../domain/canonical-json.ts";
import type { CanonicalJson, JsonValue } from "../../domain/canonical-json.ts";
import { RotaError } from "../../errors.ts";
import { isNotFound } from "../../kube/errors.ts";
import { splitKey } from "../../kube/resource.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { fieldsOf, textOf } from "../../resources/meta.ts";
import { configCommits } from "../../resources/types.ts";
import type { ConfigCommit } from "../../resources/types.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { Context } from "../context.ts";
import { projectOfNamespace } from "../references.ts";
import { writeStatus } from "../report.ts";

const recheckSeconds = 5;
/** Room comes back as deleted commits are pruned, every hour. */
const recheckLimitSeconds = 3600;
const bytesPerMib = 1_048_576;

interface Stored {
  readonly hash: string;
  readonly deduplicated: boolean;
}

interface Obstacle {
  readonly reason: Exclude<CommitReason, "Stored">;
  readonly message: string;
  /** If the obstacle may disappear without an event for this commit. */
  readonly recheckSeconds?: number;
}

type Outcome = { readonly stored: Stored } | Obstacle;

function canonical(name: string, content: unknown): CanonicalJson | string {
  try {
    return canonicalizeValue(content as JsonValue);
  } catch (error) {
    if (error instanceof RotaError) return `spec.content of "${name}": ${error.message}`;
    throw error;
  }
}

/**
 * The parent's name; undefined for a first commit, null where there is none of the name. A commit that was stored
 * before, in a database that is lost, may outlive its parent: it is stored again without.
 */
function parentOf({ informers }: Context, commit: ConfigCommit): string | null | undefined {
  const { parent } = commit.spec;
  if (parent === undefined) return undefined;
  if (informers.commits.store.get(`${commit.namespace}/${parent}`) !== undefined) return parent;
  return commit.status.hash === undefined ? null : undefined;
}

async function store(context: Context, commit: ConfigCommit, raw: KubeObject): Promise<Outcome> {
  const { content, message } = fieldsOf(raw["spec"]);
  const project = projectOfNamespace(context, commit.namespace);
  if (project === undefined) {
    return {
      reason: "NoProject",
      message: `namespace "${commit.namespace}" does not belong to a Project`,
    };
  }
  const json = canonical(commit.name, content);
  if (typeof json === "string") return { reason: "InvalidConfiguration", message: json };
  const { spec } = commit;
  const parent = parentOf(context, commit);
  if (parent === null) {
    return {
      reason: "ParentCommitNotFound",
      message: `spec.parent "${spec.parent}" is not a ConfigCommit of this namespace`,
      recheckSeconds,
    };
  }
  const { projectCommits, projectContentMib } = context.settings;
  try {
    const stored = await saveCommit(
      context.db,
      {
        id: commit.uid,
        projectId: project.uid,
        name: commit.name,
        content: json,
        parent,
        author: spec.author ?? "unknown",
        message: textOf(message),
        tag: spec.tag,
      },
      { commits: projectCommits, bytes: projectContentMib * bytesPerMib },
    );
    return { stored };
  } catch (error) {
    return rejection(context, error, commit);
  }
}

function rejection({ settings }: Context, error: unknown, commit: ConfigCommit): Outcome {
  if (!(error instanceof RotaError)) throw error;
  switch (error.code) {
    case "TagTaken":
      return {
        reason: error.code,
        message: `spec.tag "${commit.spec.tag ?? ""}": ${error.message}`,
        recheckSeconds,
      };
    case "CommitLimitExceeded":
      return {
        reason: error.code,
        message: `${error.message}. Delete commits that nobody needs; they count for ${settings.deletedCommitDays} days after that`,
        recheckSeconds: recheckLimitSeconds,
      };
    case "ParentCommitNotFound":
    case "ProjectNotFound":
    case "AlreadyExists":
      return { reason: error.code, message: error.message, recheckSeconds };
    case "ContentExpunged":
    case "InvalidConfiguration":
    case "InvalidValue":
      return { reason: error.code, message: error.message };
    default:
      throw error;
  }
}

const isReady = ({ status }: ConfigCommit): boolean =>
  status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;

/** Whether the status reports this generation as stored. */
export const showsStored = (commit: ConfigCommit): boolean =>
  commit.status.observedGeneration === commit.generation &&
  commit.status.hash !== undefined &&
  isReady(commit);

const explanationOf = (outcome: Outcome) =>
  "stored" in outcome
    ? ({ reason: "Stored", message: `stored as ${outcome.stored.hash}` } as const)
    : { reason: outcome.reason, message: outcome.message };

/** What of the outcome belongs into the status, beside the conditions. */
const storedFields = (outcome: Outcome) =>
  "stored" in outcome
    ? {
        hash: outcome.stored.hash,
        shortHash: outcome.stored.hash.slice(0, 12),
        deduplicated: outcome.stored.deduplicated,
      }
    : {};

async function report(
  context: Context,
  commit: ConfigCommit,
  explanation: { readonly reason: CommitReason; readonly message: string },
  fields: Partial<ConfigCommit["status"]> = {},
): Promise<void> {
  const health = commitTable[explanation.reason];
  const status = {
    ...commit.status,
    observedGeneration: commit.generation,
    ...fields,
    conditions: conditionsOf(commit, health, explanation, context.clock.now()),
  };
  await writeStatus(context, configCommits, commit, status);
}

/** Finalizers of others keep it; content and history stay, what refers to it finds it until it is gone. */
const terminating = {
  reason: "Terminating",
  message: "the commit is being deleted; a finalizer keeps it",
} as const;

/** Stores new commits and marks those of deleted objects; retries obstacles that may disappear without an event. */
export function reconcileConfigCommit(context: Context): Reconcile {
  return async (key, signal) => {
    const commit = context.informers.commits.store.get(key);
    const { namespace = "", name } = splitKey(key);
    await removeCommits(context.db, { namespace, name, presentId: commit?.uid });
    if (commit === undefined) return done();
    if (commit.deleting) {
      await report(context, commit, terminating);
      return done();
    }
    if (showsStored(commit) && (await hasCommit(context.db, commit.uid))) return done();
    const raw = await context.kube.get(configCommits, key, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (raw === undefined) return done();
    const outcome = await store(context, commit, raw);
    await report(context, commit, explanationOf(outcome), storedFields(outcome));
    if ("stored" in outcome || outcome.recheckSeconds === undefined) return done();
    return requeueAfter(outcome.recheckSeconds);
  };
}
