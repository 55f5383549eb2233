/** The operations of the HTTP API: what is asked and what is answered. Handlers are in src/http. */
import { z } from "zod";
import {
  commitContent,
  commitDiff,
  commitLog,
  dnsLabel,
  nodePage,
  objectName,
  page,
  planPage,
  poolName,
  poolPage,
  preemptionPage,
  queuePage,
  roleAnswer,
  subjectName,
  projectDetail,
  treePage,
  usageReport,
  whoAmI,
  whyAnswer,
} from "./schemas.ts";

export interface Route {
  readonly path: string;
  readonly summary: string;
  readonly parameters: z.ZodObject;
  readonly query: z.ZodObject;
  readonly answer: z.ZodType;
}

const none = z.object({});
const ofProject = z.object({ project: dnsLabel.describe("Name of the project") });
/** Repeated parameters arrive as a list, a single one as it is. */
const listOf = <Item extends z.ZodType>(item: Item, most: number) =>
  z.preprocess(
    (value) => (value === undefined || Array.isArray(value) ? value : [value]),
    z.array(item).max(most).optional(),
  );
const time = z.iso.datetime({ offset: true });
const usageKeys = z.enum(["subtree", "project", "owner", "pool", "day"]);
const commitRef = z
  .string()
  .regex(/^(commit|tag):.{1,253}$/, "commit:NAME or tag:NAME is wanted")
  .describe("commit:NAME or tag:NAME");

const define = <const Routes extends Readonly<Record<string, Route>>>(routes: Routes): Routes =>
  routes;

export const routes = define({
  whoAmI: {
    path: "/api/v1/whoami",
    summary: "The caller, as the cluster knows it",
    parameters: none,
    query: none,
    answer: whoAmI,
  },
  queue: {
    path: "/api/v1/queue",
    summary: "The jobs that wait, in the order of the queue, as far as the caller may see them",
    parameters: none,
    query: page.extend({
      pool: poolName.optional().describe("Only this pool"),
      namespace: dnsLabel.optional().describe("Only this namespace"),
    }),
    answer: queuePage,
  },
  why: {
    path: "/api/v1/namespaces/{namespace}/jobs/{name}/why",
    summary: "Why a job is where it is, and what the next decision would do with it",
    parameters: z.object({ namespace: dnsLabel, name: objectName }),
    query: none,
    answer: whyAnswer,
  },
  tree: {
    path: "/api/v1/projects",
    summary: "The projects, parents before their children, with what their subtrees use",
    parameters: none,
    query: page.extend({ root: dnsLabel.optional().describe("Only this project and those below") }),
    answer: treePage,
  },
  project: {
    path: "/api/v1/projects/{project}",
    summary: "A project with its settings in effect, its ancestors and its descendants",
    parameters: z.object({ project: dnsLabel }),
    query: none,
    answer: projectDetail,
  },
  plans: {
    path: "/api/v1/plans",
    summary: "The windows of plans: of one owner, or of the caller and its groups",
    parameters: none,
    query: page.extend({
      ownerKind: z.enum(["User", "Group"]).optional(),
      ownerName: subjectName.optional().describe("With ownerKind; absent: the caller's own"),
    }),
    answer: planPage,
  },
  pools: {
    path: "/api/v1/pools",
    summary: "What each pool has and how much of it is used",
    parameters: none,
    query: page,
    answer: poolPage,
  },
  nodes: {
    path: "/api/v1/nodes",
    summary: "What each node has and how much of it is used; for those who may list nodes",
    parameters: none,
    query: page.extend({ pool: poolName.optional() }),
    answer: nodePage,
  },
  preemptions: {
    path: "/api/v1/preemptions",
    summary:
      "Decisions to evict, the newest first, in which a job of the caller's namespaces has a part",
    parameters: none,
    query: page.extend({
      namespace: dnsLabel.optional(),
      since: time.optional().describe("Only decisions from then on"),
    }),
    answer: preemptionPage,
  },
  usage: {
    path: "/api/v1/usage",
    summary:
      "GPU- and CPU-seconds that jobs used; of one project and those below, or, for who may list all jobs, of all",
    parameters: none,
    query: page.extend({
      since: time.describe("In it"),
      until: time.optional().describe("Not in it; absent: now, on the first page"),
      by: listOf(usageKeys, 3).describe("What sums are made by; may be repeated; absent: subtree"),
      within: dnsLabel.optional().describe("Only what stood at or below the project of this name"),
      pool: poolName.optional(),
    }),
    answer: usageReport,
  },
  configLog: {
    path: "/api/v1/projects/{project}/configs",
    summary: "The commits of a project's configuration, the newest first",
    parameters: ofProject,
    query: page,
    answer: commitLog,
  },
  configShow: {
    path: "/api/v1/projects/{project}/config",
    summary: "One commit with its content",
    parameters: ofProject,
    query: z.object({ ref: commitRef }),
    answer: commitContent,
  },
  configDiff: {
    path: "/api/v1/projects/{project}/config/diff",
    summary: "What changed between two commits",
    parameters: ofProject,
    query: z.object({ from: commitRef, to: commitRef }),
    answer: commitDiff,
  },
  role: {
    path: "/api/v1/projects/{project}/role",
    summary: "A subject's role in a project: the caller's own, or, for admins, anybody's",
    parameters: ofProject,
    query: z.object({
      user: subjectName.optional().describe("Absent: the caller"),
      group: listOf(subjectName, 200).describe("A group of that user; may be repeated"),
    }),
    answer: roleAnswer,
  },
});

export type Routes = typeof routes;
export type RouteName = keyof Routes;
export type ParametersOf<Name extends RouteName> = z.output<Routes[Name]["parameters"]>;
export type QueryOf<Name extends RouteName> = z.output<Routes[Name]["query"]>;
export type AnswerOf<Name extends RouteName> = z.input<Routes[Name]["answer"]>;
