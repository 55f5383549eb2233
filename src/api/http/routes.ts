/** The operations of the HTTP API: parameters and responses. Handlers are in src/http. */
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
/** Repeated parameters arrive as a list, a single one as a string. */
const listOf = <Item extends z.ZodType>(item: Item, most: number) =>
  z.preprocess(
    (value) => (value === undefined || Array.isArray(value) ? value : [value]),
    z.array(item).max(most).optional(),
  );
const time = z.iso.datetime({ offset: true });
const usageKeys = z.enum(["subtree", "project", "owner", "pool", "day"]);
const commitRef = z
  .string()
  .regex(/^(commit|tag):.{1,253}$/, "must be commit:NAME or tag:NAME")
  .describe("commit:NAME or tag:NAME");

const define = <const Routes extends Readonly<Record<string, Route>>>(routes: Routes): Routes =>
  routes;

export const routes = define({
  whoAmI: {
    path: "/api/v1/whoami",
    summary: "The caller's identity in the cluster",
    parameters: none,
    query: none,
    answer: whoAmI,
  },
  queue: {
    path: "/api/v1/queue",
    summary: "Waiting jobs in queue order, as far as the caller may see them",
    parameters: none,
    query: page.extend({
      pool: poolName.optional().describe("Only this pool"),
      namespace: dnsLabel.optional().describe("Only this namespace"),
    }),
    answer: queuePage,
  },
  why: {
    path: "/api/v1/namespaces/{namespace}/jobs/{name}/why",
    summary: "Why a job waits, and the next scheduling decision for it",
    parameters: z.object({ namespace: dnsLabel, name: objectName }),
    query: none,
    answer: whyAnswer,
  },
  tree: {
    path: "/api/v1/projects",
    summary: "The projects, parents before children, with the usage of their subtrees",
    parameters: none,
    query: page.extend({
      root: dnsLabel.optional().describe("Only this project and its descendants"),
    }),
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
    summary: "The windows of plans of one owner, or of the caller and its groups",
    parameters: none,
    query: page.extend({
      ownerKind: z.enum(["User", "Group"]).optional(),
      ownerName: subjectName.optional().describe("With ownerKind; absent: the caller's own"),
    }),
    answer: planPage,
  },
  pools: {
    path: "/api/v1/pools",
    summary: "Capacity and usage of each pool",
    parameters: none,
    query: page,
    answer: poolPage,
  },
  nodes: {
    path: "/api/v1/nodes",
    summary: "Capacity and usage of each node; requires permission to list nodes",
    parameters: none,
    query: page.extend({ pool: poolName.optional() }),
    answer: nodePage,
  },
  preemptions: {
    path: "/api/v1/preemptions",
    summary: "Preemptions that involve jobs the caller may see, newest first",
    parameters: none,
    query: page.extend({
      namespace: dnsLabel.optional(),
      since: time.optional().describe("Only decisions at or after this time"),
    }),
    answer: preemptionPage,
  },
  usage: {
    path: "/api/v1/usage",
    summary:
      "GPU- and CPU-seconds of a project and its descendants; of all projects for callers who may list all jobs",
    parameters: none,
    query: page.extend({
      since: time.describe("Inclusive"),
      until: time.optional().describe("Exclusive; absent: the time of the first page"),
      by: listOf(usageKeys, 3).describe("Grouping keys; repeatable; absent: subtree"),
      within: dnsLabel.optional().describe("Only this project and its descendants"),
      pool: poolName.optional(),
    }),
    answer: usageReport,
  },
  configLog: {
    path: "/api/v1/projects/{project}/configs",
    summary: "The commits of a project's configuration, newest first",
    parameters: ofProject,
    query: page,
    answer: commitLog,
  },
  configShow: {
    path: "/api/v1/projects/{project}/config",
    summary: "A commit with its content",
    parameters: ofProject,
    query: z.object({ ref: commitRef }),
    answer: commitContent,
  },
  configDiff: {
    path: "/api/v1/projects/{project}/config/diff",
    summary: "The changes between two commits",
    parameters: ofProject,
    query: z.object({ from: commitRef, to: commitRef }),
    answer: commitDiff,
  },
  role: {
    path: "/api/v1/projects/{project}/role",
    summary:
      "A subject's role and rights in a project: the caller's own, or, for admins, any subject's",
    parameters: ofProject,
    query: z.object({
      user: subjectName.optional().describe("Absent: the caller"),
      group: listOf(subjectName, 200).describe("A group of that user; repeatable"),
    }),
    answer: roleAnswer,
  },
});

export type Routes = typeof routes;
export type RouteName = keyof Routes;
export type ParametersOf<Name extends RouteName> = z.output<Routes[Name]["parameters"]>;
export type QueryOf<Name extends RouteName> = z.output<Routes[Name]["query"]>;
export type AnswerOf<Name extends RouteName> = z.input<Routes[Name]["answer"]>;
