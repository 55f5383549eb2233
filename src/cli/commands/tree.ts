/** `tree [PROJECT]`: the project tree with the planned, used and pending GPUs of each subtree. */
import type { ProjectDetail, TreeItem } from "../../api/http/schemas.ts";
import type { ProjectSpec } from "../../api/generated.ts";
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
  /** Null if only the statuses are known. */
  readonly gpusBorrowed: number | null;
  /** Why it is not ready. */
  readonly problem: string | null;
}

interface Line extends Entry {
  readonly drawn: string;
}

const maxProjects = 10_000;

/** The owner of the nearest ancestor that names one, the project itself first. */
function ownerOf(project: Project, byName: ReadonlyMap<string, Project>): string | null {
  const seen = new Set<string>();
  let current: Project | undefined = project;
  while (current !== undefined && !seen.has(current.metadata.name)) {
    const { owner, parent }: ProjectSpec = current.spec;
    if (owner !== undefined) return `${owner.kind} ${owner.name}`;
    seen.add(current.metadata.name);
    current = parent === undefined ? undefined : byName.get(parent);
  }
  return null;
}

const ofResource = (project: Project, byName: ReadonlyMap<string, Project>): Entry => {
  const { metadata, spec, status } = project;
  const ready = readyOf(project);
  const owner = ownerOf(project, byName);
  return {
    name: metadata.name,
    parent: spec.parent ?? null,
    namespace: status.namespace ?? spec.namespace ?? metadata.name,
    owner,
    gpusPlanned: owner === null ? null : (status.gpusPlanned ?? null),
    gpusRunning: status.gpusRunning ?? 0,
    gpusPending: status.gpusPending ?? 0,
    gpusBorrowed: null,
    problem: ready?.status === "True" ? null : (ready?.message ?? "not processed yet"),
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

interface Found {
  readonly entries: readonly Entry[];
  /** Visible ancestors of the requested root, the topmost first. */
  readonly ancestors: readonly string[];
  readonly warning?: string;
}

/** Without an operator the projects' statuses are read, if the user may list them; they are up to a minute old. */
async function find({ connection, api }: Session, root: string | undefined): Promise<Found> {
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
    const byName = new Map(found.map((project) => [project.metadata.name, project]));
    return {
      entries: found.map((project) => ofResource(project, byName)),
      ancestors: [],
      warning: `the figures are those of the projects' statuses, without BORROWED: ${error.message}`,
    };
  }
}

const ancestorsOf = async (api: Session["api"], project: string): Promise<readonly string[]> =>
  (await api.get<ProjectDetail>(`/api/v1/projects/${encodeURIComponent(project)}`)).ancestors;

/** Depth first. A project whose parent is not shown is a root; each is drawn once, even in a cycle of parents. */
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
  { title: "", value: ({ problem }) => problem ?? " ", style: () => "red", flexible: true },
];

const headText = (ancestors: readonly string[]): string[] => [
  ...(ancestors.length === 0 ? [] : [`In ${ancestors.join(" / ")}`]),
  "GPUs of each project and its descendants",
];

/** @param root project to start from; CliError notFound if the user may not see it */
export const tree =
  (root: string | undefined) =>
  async (session: Session): Promise<View> => {
    const { entries, ancestors, warning } = await find(session, root);
    const lines = drawTree(entries, root);
    if (lines.length === 0 && root !== undefined) {
      throw new CliError(`no project ${root}, or you have no role in it`, exitCodes.notFound);
    }
    const items = lines.map(({ drawn: _drawn, ...entry }) => entry);
    return {
      data: root === undefined ? { items } : { ancestors, items },
      warning,
      text: () =>
        lines.length === 0
          ? "No project in which you have a role."
          : [...headText(ancestors), table(lines, columns)].join("\n"),
    };
  };
