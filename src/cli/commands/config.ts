/** `config log|show|diff`: versions of a project's configuration, from its ConfigCommits. */
import { applyPatch, Pointer } from "rfc6902";
import type { JsonValue } from "../../domain/canonical-json.ts";
import { diffJson, type PatchOperation } from "../../domain/json-diff.ts";
import { CliError, exitCodes } from "../errors.ts";
import { ageText, structured, styled, table, type Column } from "../output.ts";
import { listCommits, obstacleOf, type Commit } from "../resources.ts";
import type { Session, View } from "../session.ts";

const columns: readonly Column<Commit>[] = [
  { title: "COMMIT", value: ({ metadata }) => metadata.name },
  { title: "TAG", value: ({ spec }) => spec.tag },
  { title: "HASH", value: ({ status }) => status.shortHash },
  { title: "PARENT", value: ({ spec }) => spec.parent },
  { title: "AUTHOR", value: ({ spec }) => spec.author },
  { title: "AGE", value: ({ metadata }) => ageText(metadata.creationTimestamp) },
  { title: "MESSAGE", value: ({ spec }) => spec.message },
  {
    title: "",
    value: (commit) => {
      const obstacle = obstacleOf(commit);
      if (obstacle === undefined) return " ";
      return `${obstacle.type === "Stalled" ? "rejected" : "waiting"}: ${obstacle.message}`;
    },
    style: () => "red",
    flexible: true,
  },
];

const newestFirst = (a: Commit, b: Commit): number =>
  b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp) ||
  b.metadata.name.localeCompare(a.metadata.name);

const summary = ({ metadata, spec, status }: Commit) => ({
  name: metadata.name,
  tag: spec.tag ?? null,
  hash: status.hash ?? null,
  parent: spec.parent ?? null,
  author: spec.author ?? null,
  message: spec.message ?? null,
  createdAt: metadata.creationTimestamp,
});

/** A commit by name, otherwise by tag. */
function commitOf(commits: readonly Commit[], ref: string, namespace: string): Commit {
  const found =
    commits.find(({ metadata }) => metadata.name === ref) ??
    commits.find(({ spec, status }) => spec.tag === ref && status.hash !== undefined);
  if (found) return found;
  throw new CliError(
    `namespace ${namespace} has no commit with the name or tag ${ref}; kubectl rota config log lists them`,
    exitCodes.notFound,
  );
}

/** All commits of the namespace, newest first. */
export const log = async ({ connection, namespace }: Session): Promise<View> => {
  const commits = (await listCommits(connection.client, namespace)).sort(newestFirst);
  return {
    data: { items: commits.map(summary) },
    text: () =>
      commits.length === 0 ? `No commits in namespace ${namespace}.` : table(commits, columns),
  };
};

/** @param ref name or tag; the returned command throws CliError notFound without such a commit */
export const show =
  (ref: string) =>
  async ({ connection, namespace }: Session): Promise<View> => {
    const commit = commitOf(await listCommits(connection.client, namespace), ref, namespace);
    const { name, tag, hash, parent, author, message, createdAt } = summary(commit);
    return {
      data: { ...summary(commit), content: commit.spec.content },
      text: () =>
        [
          styled("yellow", `commit ${name}${tag === null ? "" : ` (tag ${tag})`}`),
          `hash   ${hash ?? "(not stored yet)"}`,
          ...(parent === null ? [] : [`parent ${parent}`]),
          `author ${author ?? "unknown"}`,
          `date   ${createdAt}`,
          "",
          ...(message === null || message === "" ? [] : [`    ${message}`, ""]),
          structured(commit.spec.content, "json"),
        ].join("\n"),
    };
  };

const value = (content: unknown): string => JSON.stringify(content);

/** An operation with the former value. */
function changeLines(operation: PatchOperation, content: unknown): string[] {
  const former = () => Pointer.fromJSON(operation.path).get(content) as unknown;
  const path = operation.path === "" ? "/" : operation.path;
  if (operation.op === "add") return [styled("green", `+ ${path}: ${value(operation.value)}`)];
  if (operation.op === "remove") return [styled("red", `- ${path}: ${value(former())}`)];
  return [
    styled("red", `- ${path}: ${value(former())}`),
    styled("green", `+ ${path}: ${value(operation.value)}`),
  ];
}

/** Operations apply in order: list indexes count after the preceding operations. */
function patchLines(patch: readonly PatchOperation[], before: unknown): string[] {
  const state = { content: structuredClone(before) };
  return patch.flatMap((operation) => {
    const lines = changeLines(operation, state.content);
    applyPatch(state, [{ ...operation, path: `/content${operation.path}` }]);
    return lines;
  });
}

/** A JSON Patch (RFC 6902) between two commits, by name or tag. Throws CliError notFound without such a commit. */
export const diff =
  (from: string, to: string) =>
  async ({ connection, namespace }: Session): Promise<View> => {
    const commits = await listCommits(connection.client, namespace);
    const before = commitOf(commits, from, namespace).spec.content;
    const after = commitOf(commits, to, namespace).spec.content;
    const patch = diffJson(before as JsonValue, after as JsonValue);
    return {
      data: { from, to, patch },
      text: () =>
        patch.length === 0 ? "The contents are identical." : patchLines(patch, before).join("\n"),
    };
  };
