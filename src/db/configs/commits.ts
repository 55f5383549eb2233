/** Versioned configuration of projects: commits that refer to content stored once. */
import type { CanonicalJson } from "../../domain/canonical-json.ts";
import { diffJson, type PatchOperation } from "../../domain/json-diff.ts";
import { RotaError } from "../../errors.ts";
import { run } from "../client/connection-pool.ts";
import { asItIs, readPage, type Page, type PageRequest } from "../reports/page.ts";
import type { Queryable } from "../client/types.ts";

export interface CommitInput {
  /** uid of the custom resource */
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  readonly content: CanonicalJson;
  /** User name. */
  readonly author: string;
  readonly message: string;
  /** Name of the parent commit. */
  readonly parent?: string | undefined;
  readonly tag?: string | undefined;
}

export interface SavedCommit {
  readonly hash: string;
  /** True if an earlier commit of the same project has the same content. */
  readonly deduplicated: boolean;
}

/** SQL: who expunged the content of row `blob`, when and why, as the end of a sentence. */
export const expungedText = `
  'the content ' || blob.hash || ' was expunged on ' || to_char(blob.expunged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    || ' by ' || blob.expunged_by || ': ' || blob.expunge_reason
`;

/** Stands for a named parent that does not exist: no commit has this id, so the foreign key refuses it. */
const nobody = "00000000-0000-0000-0000-000000000000";

/** What a project may store. Commits count until they are pruned. */
export interface CommitLimits {
  readonly commits: number;
  /** Of all distinct contents. */
  readonly bytes: number;
}

interface Saving {
  readonly refused: boolean;
  /** Null: refused, or saved by another one at the same moment. */
  readonly deduplicated: boolean | null;
  readonly expunged: string | null;
  readonly commits: number;
  readonly bytes: number;
}

/** Since saves at the same moment do not see each other, a project may exceed a limit by a few commits. */
function refusal(saving: Saving, limits: CommitLimits, contentBytes: number): RotaError {
  if (saving.expunged !== null) return new RotaError("ContentExpunged", saving.expunged);
  return new RotaError(
    "CommitLimitExceeded",
    saving.commits >= limits.commits
      ? `the project has ${saving.commits} commits, of at most ${limits.commits}`
      : `the contents of the project's commits have ${saving.bytes} bytes; with ${contentBytes} more they would exceed the maximum of ${limits.bytes}`,
  );
}

/**
 * Stores a commit, and its content if it is new, in one statement. Idempotent. Throws RotaError: TagTaken,
 * ParentCommitNotFound, ProjectNotFound, AlreadyExists (the name), InvalidConfiguration, CommitLimitExceeded,
 * ContentExpunged.
 *
 * The update that changes nothing locks a content that is there, so that it is not pruned before the commit refers to it.
 */
export async function saveCommit(
  db: Queryable,
  commit: CommitInput,
  limits: CommitLimits,
): Promise<SavedCommit> {
  const contentBytes = Buffer.byteLength(commit.content.canonical);
  const [saving] = await run<Saving>(
    db,
    `
    WITH usage AS (
      SELECT coalesce(sum(commits), 0)::float8 AS commits, coalesce(sum(bytes), 0)::float8 AS bytes,
        coalesce(bool_or(blob_hash = $1), false) AS has_content
      FROM (
        SELECT blob_hash, count(*) AS commits, max(bytes) AS bytes
        FROM config_commits WHERE project_id = $4 GROUP BY blob_hash
      ) AS stored
    ), known AS (
      SELECT deduplicated FROM config_commits WHERE id = $3
    ), expunged AS (
      SELECT ${expungedText} AS text FROM config_blobs AS blob WHERE blob.hash = $1 AND blob.expunged_at IS NOT NULL
    ), accepted AS (
      SELECT has_content FROM usage
      WHERE commits < $10 AND (has_content OR bytes + $12 <= $11)
        AND NOT EXISTS (SELECT FROM known) AND NOT EXISTS (SELECT FROM expunged)
    ), blob AS (
      INSERT INTO config_blobs (hash, canonical) SELECT $1, $2 FROM accepted
      ON CONFLICT (hash) DO UPDATE SET created_at = config_blobs.created_at WHERE false
    ), saved AS (
      INSERT INTO config_commits (
        id, project_id, name, blob_hash, bytes, parent_id, author_id, message, version_tag, deduplicated
      )
      SELECT $3, $4, $5, $1, $12,
        CASE WHEN $6::text IS NOT NULL THEN coalesce(
          (SELECT id FROM config_commits WHERE project_id = $4 AND name = $6 AND removed_at IS NULL), '${nobody}'
        ) END,
        ensure_owner('User', $7), $8, $9, has_content
      FROM accepted
      ON CONFLICT (id) DO NOTHING
      RETURNING deduplicated
    )
    SELECT NOT EXISTS (SELECT FROM accepted) AND NOT EXISTS (SELECT FROM known) AS refused,
      coalesce((SELECT deduplicated FROM saved), (SELECT deduplicated FROM known)) AS deduplicated,
      (SELECT text FROM expunged) AS expunged, commits, bytes
    FROM usage
    `,
    [
      commit.content.hash,
      commit.content.canonical,
      commit.id,
      commit.projectId,
      commit.name,
      commit.parent ?? null,
      commit.author,
      commit.message,
      commit.tag ?? null,
      limits.commits,
      limits.bytes,
      contentBytes,
    ],
  );
  if (saving?.refused === true) throw refusal(saving, limits, contentBytes);
  return { hash: commit.content.hash, deduplicated: saving?.deduplicated ?? true };
}

/** Returns the ids that are not stored. */
export async function unknownCommits(db: Queryable, ids: readonly string[]): Promise<string[]> {
  const rows = await run<{ id: string }>(
    db,
    `
    SELECT asked.id
    FROM unnest($1::uuid[]) AS asked (id)
    WHERE NOT EXISTS (SELECT FROM config_commits AS entry WHERE entry.id = asked.id)
    `,
    [ids],
  );
  return rows.map(({ id }) => id);
}

/**
 * Marks the commits of this name as deleted, except `presentId`, the one that has the name now. Their name and tag
 * become free; content and history stay.
 */
export async function removeCommits(
  db: Queryable,
  commit: {
    readonly namespace: string;
    readonly name: string;
    readonly presentId?: string | undefined;
  },
): Promise<void> {
  await run(
    db,
    `
    UPDATE config_commits SET removed_at = now()
    WHERE project_id = (SELECT id FROM projects WHERE namespace = $1) AND name = $2
      AND removed_at IS NULL AND id IS DISTINCT FROM $3::uuid
    `,
    [commit.namespace, commit.name, commit.presentId ?? null],
  );
}

/** Whether a commit with this uid is stored. */
export async function hasCommit(db: Queryable, id: string): Promise<boolean> {
  return (await run(db, "SELECT FROM config_commits WHERE id = $1", [id])).length === 1;
}

export interface Commit {
  readonly id: string;
  readonly name: string;
  readonly hash: string;
  /** Name of the parent commit. */
  readonly parent: string | null;
  readonly author: string;
  readonly message: string;
  readonly tag: string | null;
  readonly createdAt: Temporal.Instant;
}

const commitColumns = `
  entry.id, entry.name, entry.blob_hash AS hash, parent.name AS parent, author.name AS author,
  entry.message, entry.version_tag AS tag, entry.created_at AS "createdAt"
`;
const commitJoins = `
  JOIN owners AS author ON author.id = entry.author_id
  LEFT JOIN config_commits AS parent ON parent.id = entry.parent_id
`;

/** Refers to a commit by name or by tag. */
export type CommitRef = { readonly commit: string } | { readonly tag: string };

const refText = (ref: CommitRef): string =>
  "tag" in ref ? `tag ${ref.tag}` : `commit ${ref.commit}`;
const refColumn = (ref: CommitRef): string => ("tag" in ref ? "version_tag" : "name");
const refValue = (ref: CommitRef): string => ("tag" in ref ? ref.tag : ref.commit);

/** The newest commits of a project, newest first. */
export function log(db: Queryable, projectId: string, limit: number): Promise<Commit[]> {
  return run<Commit>(
    db,
    `
    SELECT ${commitColumns}
    FROM config_commits AS entry
    ${commitJoins}
    WHERE entry.project_id = $1 AND entry.removed_at IS NULL
    ORDER BY entry.created_at DESC, entry.id
    LIMIT $2
    `,
    [projectId, limit],
  );
}

/** The position of a commit in its project's log. */
export type LogKey = readonly [createdAt: string, id: string];

/** A page of a project's commits, newest first. */
export function logPage(
  db: Queryable,
  projectId: string,
  { limit, after }: PageRequest<LogKey>,
): Promise<Page<Commit, LogKey>> {
  return readPage<Commit, Commit, LogKey>(db, {
    text: `
    SELECT ${commitColumns}
    FROM config_commits AS entry
    ${commitJoins}
    WHERE entry.project_id = $1
      AND entry.removed_at IS NULL
      AND ($2::timestamptz IS NULL OR (entry.created_at, entry.id) < ($2, $3::uuid))
    ORDER BY entry.created_at DESC, entry.id DESC
    LIMIT $4
    `,
    values: [projectId, after?.[0] ?? null, after?.[1] ?? null],
    limit,
    keyOf: ({ createdAt, id }) => [createdAt.toString(), id],
    show: asItIs,
  });
}

/** A commit and its ancestors, in the order of git log. */
export function history(
  db: Queryable,
  projectId: string,
  ref: CommitRef,
  limit: number,
): Promise<Commit[]> {
  return run<Commit>(
    db,
    `
    WITH RECURSIVE chain AS (
      SELECT id, parent_id, 1 AS place
      FROM config_commits
      WHERE project_id = $1 AND ${refColumn(ref)} = $2 AND removed_at IS NULL
      UNION ALL
      SELECT older.id, older.parent_id, chain.place + 1
      FROM chain
      JOIN config_commits AS older ON older.id = chain.parent_id
      WHERE chain.place < $3
    )
    SELECT ${commitColumns}
    FROM chain
    JOIN config_commits AS entry ON entry.id = chain.id
    ${commitJoins}
    ORDER BY chain.place
    `,
    [projectId, refValue(ref), limit],
  );
}

export interface CommitContent extends Commit {
  /** Canonical JSON text. */
  readonly text: string;
}

interface StoredText {
  readonly text: string | null;
  readonly expunged: string | null;
}

/** SQL: the columns of StoredText, of row `blob`. */
const storedText = `blob.canonical AS text, CASE WHEN blob.canonical IS NULL THEN ${expungedText} END AS expunged`;

function textOf({ text, expunged }: StoredText): string {
  if (text !== null) return text;
  throw new RotaError("ContentExpunged", expunged ?? "the content was expunged");
}

/** A commit with its content. Throws RotaError ReferenceNotFound, ContentExpunged. */
export async function show(
  db: Queryable,
  projectId: string,
  ref: CommitRef,
): Promise<CommitContent> {
  const rows = await run<Commit & StoredText>(
    db,
    `
    SELECT ${commitColumns}, ${storedText}
    FROM config_commits AS entry
    ${commitJoins}
    JOIN config_blobs AS blob ON blob.hash = entry.blob_hash
    WHERE entry.project_id = $1 AND entry.${refColumn(ref)} = $2 AND entry.removed_at IS NULL
    `,
    [projectId, refValue(ref)],
  );
  const [row] = rows;
  if (!row) throw new RotaError("ReferenceNotFound", `the project has no ${refText(ref)}`);
  const { expunged: _expunged, ...commit } = row;
  return { ...commit, text: textOf(row) };
}

/**
 * The canonical text with this hash. Throws RotaError ReferenceNotFound if the namespace's project has not committed
 * it, and ContentExpunged.
 */
export async function readCommitContent(
  db: Queryable,
  { namespace, hash }: { readonly namespace: string; readonly hash: string },
): Promise<string> {
  const rows = await run<StoredText>(
    db,
    `
    SELECT ${storedText}
    FROM config_blobs AS blob
    WHERE blob.hash = $1 AND EXISTS (
      SELECT FROM config_commits AS entry
      JOIN projects AS project ON project.id = entry.project_id
      WHERE entry.blob_hash = $1 AND project.namespace = $2
    )
    `,
    [hash, namespace],
  );
  const [blob] = rows;
  if (!blob)
    throw new RotaError("ReferenceNotFound", `the project has no content of the hash ${hash}`);
  return textOf(blob);
}

/** The changes between two commits, as a JSON Patch (RFC 6902). Throws RotaError ReferenceNotFound, ContentExpunged. */
export async function diff(
  db: Queryable,
  projectId: string,
  from: CommitRef,
  to: CommitRef,
): Promise<PatchOperation[]> {
  const before = await show(db, projectId, from);
  const after = await show(db, projectId, to);
  return diffJson(JSON.parse(before.text), JSON.parse(after.text));
}
