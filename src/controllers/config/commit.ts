/** Stores a ConfigCommit's content once per hash and reports the hash in its status. */
import { commitTable, conditionsOf } from "../../api/conditions.ts";
import type { CommitReason } from "../../api/reasons.ts";
import { hasCommit, removeCommits, saveCommit } from "../../db/configs/commits.ts";
import { canonicalizeValue } from "../../domain/canonical-json.ts";
import type { CanonicalJson, JsonValue } from "../../domain/canonical-json.ts";
import { RotaError } from "../../errors.ts";
import { isNotFound } from "../../kube/errors.ts";
import { splitKey } from "../../kube/resource.ts";
import { fieldsOf } from "../../resources/meta.ts";
import { configCommits } from "../../resources/types.ts";
import type { ConfigCommit } from "../../resources/types.ts";
import { requeueAfter, done } from "../../runtime/result.ts";
import type { Reconcile } from "../../runtime/controller.ts";
import type { Context } from "../context.ts";
import { projectOfNamespace } from "../references.ts";
import { writeStatus } from "../report.ts";

const recheckSeconds = 5;

interface Stored {
  readonly hash: string;
  readonly deduplicated: boolean;
}

interface Obstacle {
  readonly reason: Exclude<CommitReason, "Stored">;
  readonly message: string;
  /** Whether the obstacle may disappear without an event for this commit. */
  readonly recheck: boolean;
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
  return showsStored(commit) ? undefined : null;
}

async function store(context: Context, commit: ConfigCommit, content: unknown): Promise<Outcome> {
  const project = projectOfNamespace(context, commit.namespace);
  if (project === undefined) {
    return {
      reason: "NoProject",
      message: `namespace "${commit.namespace}" does not belong to a Project`,
      recheck: false,
    };
  }
  const json = canonical(commit.name, content);
  if (typeof json === "string")
    return { reason: "InvalidConfiguration", message: json, recheck: false };
  const { spec } = commit;
  const parent = parentOf(context, commit);
  if (parent === null) {
    return {
      reason: "ParentCommitNotFound",
      message: `spec.parent "${spec.parent}" is not a ConfigCommit of this namespace`,
      recheck: true,
    };
  }
  try {
    const stored = await saveCommit(context.db, {
      id: commit.uid,
      projectId: project.uid,
      name: commit.name,
      content: json,
      parent,
      author: spec.author ?? "unknown",
      message: spec.message ?? "",
      tag: spec.tag,
    });
    return { stored };
  } catch (error) {
    return rejection(error, commit);
  }
}

function rejection(error: unknown, commit: ConfigCommit): Outcome {
  if (!(error instanceof RotaError)) throw error;
  switch (error.code) {
    case "TagTaken":
      return {
        reason: error.code,
        message: `spec.tag "${commit.spec.tag ?? ""}": ${error.message}`,
        recheck: true,
      };
    case "ParentCommitNotFound":
    case "ProjectNotFound":
    case "AlreadyExists":
      return { reason: error.code, message: error.message, recheck: true };
    case "InvalidConfiguration":
      return { reason: error.code, message: error.message, recheck: false };
    default:
      throw error;
  }
}

/** Whether the status reports this generation as stored. */
export const showsStored = (commit: ConfigCommit): boolean =>
  commit.status.observedGeneration === commit.generation && commit.status.hash !== undefined;

const explanationOf = (outcome: Outcome) =>
  "stored" in outcome
    ? ({ reason: "Stored", message: `stored as ${outcome.stored.hash}` } as const)
    : { reason: outcome.reason, message: outcome.message };

/** Stores new commits and marks those of deleted objects; retries obstacles that may disappear without an event. */
export function reconcileConfigCommit(context: Context): Reconcile {
  return async (key, signal) => {
    const commit = context.informers.commits.store.get(key);
    const { namespace = "", name } = splitKey(key);
    await removeCommits(context.db, { namespace, name, presentId: commit?.uid });
    if (commit === undefined) return done();
    if (showsStored(commit) && (await hasCommit(context.db, commit.uid))) return done();
    const raw = await context.kube.get(configCommits, key, { signal }).catch((error: unknown) => {
      if (isNotFound(error)) return undefined;
      throw error;
    });
    if (raw === undefined) return done();
    const outcome = await store(context, commit, fieldsOf(raw["spec"])["content"]);
    const explanation = explanationOf(outcome);
    const health = commitTable[explanation.reason];
    const status = {
      ...commit.status,
      observedGeneration: commit.generation,
      ...("stored" in outcome
        ? {
            hash: outcome.stored.hash,
            shortHash: outcome.stored.hash.slice(0, 12),
            deduplicated: outcome.stored.deduplicated,
          }
        : {}),
      conditions: conditionsOf(commit, health, explanation, context.clock.now()),
    };
    await writeStatus(context, configCommits, commit, status);
    return "stored" in outcome || !outcome.recheck ? done() : requeueAfter(recheckSeconds);
  };
}
