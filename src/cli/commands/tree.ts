/** `tree [PROJECT]`: projects with what their subtrees have, use and wait for. */
import type { ProjectDetail, TreeItem } from "../../api/http/schemas.ts";
import { CliError, exitCodes } from "../errors.ts";
import { table, type Column } from "../output.ts";
import { listProjects, readyOf, type Project } from "../resources.ts";
import type { Session, View } from "../session.ts";

interface Entry {
  readonly name: string;
  readonly parent: string | null;
  readonly namespace: string;
  readonly owner: string | null;
  readonly gpusPlanned: number | null;
  readonly gpusRunning: number;
  readonly gpusPending: number;
  /** Null where only the statuses are known. */
  readonly gpusBorrowed: number | null;
  /** What keeps it from being ready. */
  readonly problem: string | null;
}

interface Tree {
  readonly entries: readonly Entry[];
  /** Visible ancestors of the requested root, the topmost first. */
  readonly ancestors: readonly string[];
}

interface Line extends Entry {
  readonly drawn: string;
}

const maxProjects = 10_000;

const ofResource = (project: Project): Entry => {
  const { metadata, spec, status } = project;
  const ready = readyOf(project);
  return {
    name: metadata.name,
    parent: spec.parent ?? null,
    namespace: status.namespace ?? spec.namespace ?? metadata.name,
    owner: spec.owner === undefined ? null : `${spec.owner.kind} ${spec.owner.name}`,
    gpusPlanned: status.gpusPlanned ?? null,
    gpusRunning: status.gpusRunning ?? 0,
    gpusPending: status.gpusPending ?? 0,
    gpusBorrowed: null,
    problem: ready?.status === "True" ? null : (ready?.message ?? "not looked at yet"),
  };
};

const ofAnswer = ({ owner, ...item }: TreeItem): Entry => ({
  name: item.name,
  parent: item.parent,
  namespace: item.namespace,
  owner: owner === null ? null : `${owner.kind} ${owner.name}`,
  gpusPlanned: item.gpusPlanned,
  gpusRunning: item.gpusRunning,
  gpusPending: item.gpusPending,
  gpusBorrowed: item.gpusBorrowed,
  problem: null,
});

/** Without the operator the projects' statuses tell, for who may list them; they follow the database by a minute. */
async function readTree({ connection, api }: Session, root: string | undefined): Promise<Tree> {
  try {
    const query = root === undefined ? {} : { root };
    const items = await api.all<TreeItem>("/api/v1/projects", query, maxProjects);
    const ancestors = root === undefined || items.length === 0 ? [] : await ancestorsOf(api, root);
    return { entries: items.map(ofAnswer), ancestors };
  } catch (error) {
    if (!(error instanceof CliError) || error.exitCode !== exitCodes.unreachable) throw error;
    const found = await listProjects(connection.client).catch(() => {
      throw error;
    });
    return { entries: found.map(ofResource), ancestors: [] };
  }
}

const ancestorsOf = async (api: Session["api"], project: string): Promise<readonly string[]> =>
  (await api.get<ProjectDetail>(`/api/v1/projects/${encodeURIComponent(project)}`)).ancestors;

/** Depth first; a project whose parent is not shown stands at the top. Visited once, should parents form a circle. */
export function drawTree(entries: readonly Entry[], root?: string): Line[] {
  const names = new Set(entries.map(({ name }) => name));
  const children = Map.groupBy(entries, ({ parent }) =>
    parent !== null && names.has(parent) ? parent : "",
  );
  const lines: Line[] = [];
  const seen = new Set<string>();
  const draw = (entry: Entry, stem: string, branch: string): void => {
    if (seen.has(entry.name)) return;
    seen.add(entry.name);
    lines.push({ ...entry, drawn: `${stem}${branch}${entry.name}` });
    const below = (children.get(entry.name) ?? []).toSorted((a, b) => a.name.localeCompare(b.name));
    const inner = branch === "" ? stem : `${stem}${branch === "└─ " ? "   " : "│  "}`;
    for (const [index, child] of below.entries()) {
      draw(child, inner, index === below.length - 1 ? "└─ " : "├─ ");
    }
  };
  const tops =
    root === undefined ? (children.get("") ?? []) : entries.filter(({ name }) => name === root);
  for (const top of tops.toSorted((a, b) => a.name.localeCompare(b.name))) draw(top, "", "");
  return lines;
}

const columns: readonly Column<Line>[] = [
  { title: "PROJECT", value: ({ drawn }) => drawn },
  { title: "OWNER", value: ({ owner }) => owner },
  { title: "PLAN", value: ({ gpusPlanned }) => gpusPlanned, right: true },
  {
    title: "USED",
    value: ({ gpusRunning }) => gpusRunning,
    right: true,
    style: ({ gpusRunning, gpusPlanned }) =>
      gpusPlanned !== null && gpusRunning > gpusPlanned ? "yellow" : undefined,
  },
  { title: "BORROWED", value: ({ gpusBorrowed }) => gpusBorrowed, right: true },
  { title: "PENDING", value: ({ gpusPending }) => gpusPending, right: true },
  { title: "NAMESPACE", value: ({ namespace }) => namespace },
  { title: "", value: ({ problem }) => problem ?? " ", style: () => "red" },
];

const headText = (ancestors: readonly string[]): string[] => [
  ...(ancestors.length === 0 ? [] : [`In ${ancestors.join(" / ")}`]),
  "GPUs of each project and its descendants",
];

export const tree =
  (root: string | undefined) =>
  async (session: Session): Promise<View> => {
    const { entries, ancestors } = await readTree(session, root);
    const lines = drawTree(entries, root);
    if (lines.length === 0 && root !== undefined) {
      throw new CliError(
        `there is no project ${root}, or you have no role in it`,
        exitCodes.notFound,
      );
    }
    const items = lines.map(({ drawn: _drawn, ...entry }) => entry);
    return {
      data: root === undefined ? { items } : { ancestors, items },
      text: () =>
        lines.length === 0
          ? "There is no project in which you have a role."
          : [...headText(ancestors), table(lines, columns)].join("\n"),
    };
  };
