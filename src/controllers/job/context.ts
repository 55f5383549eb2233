/** Inputs of job reconciles. */
import type { JobView } from "../../db/jobs/read.ts";
import type { KubeObject } from "../../kube/resource.ts";
import type { Job, Pod, Project } from "../../resources/types.ts";
import type { Metrics } from "../../runtime/metrics.ts";
import { requeueAfter } from "../../runtime/result.ts";
import type { Context } from "../context.ts";
import { Arrivals } from "./arrivals.ts";
import { PodExpectations } from "./expectations.ts";
import { GangServices } from "./gang-service.ts";
import { createJobCounters } from "./metrics.ts";
import type { JobCounters } from "./metrics.ts";
import type { Rejection } from "./rejection.ts";
import { StartClock } from "./start-clock.ts";
import { VacatedClock } from "./vacated-clock.ts";
import { TemplateCache } from "./template-cache.ts";

/** Shared by all reconciles. */
export interface JobContext extends Context {
  readonly counters: JobCounters;
  readonly templates: TemplateCache<KubeObject | Rejection>;
  readonly podExpectations: PodExpectations;
  readonly arrivals: Arrivals;
  readonly gangServices: GangServices;
  readonly startClock: StartClock;
  readonly vacatedClock: VacatedClock;
}

/** Creates the caches and counters; call it once per process. */
export const createJobContext = (context: Context, metrics: Metrics): JobContext => ({
  ...context,
  counters: createJobCounters(metrics),
  templates: new TemplateCache(context.clock, (answer) => "metadata" in answer),
  podExpectations: new PodExpectations(context.clock),
  arrivals: new Arrivals(context.clock),
  gangServices: new GangServices(context),
  startClock: new StartClock(context.clock),
  vacatedClock: new VacatedClock(context.clock),
});

/** One reconcile of one job. */
export interface JobReconcile {
  readonly context: JobContext;
  /** namespace/name */
  readonly key: string;
  /** The uid of the Job and of its row. */
  readonly uid: string;
  readonly job: Job;
  /** Undefined if the namespace's project is gone or not known yet; then no pods are created. */
  readonly project: Project | undefined;
  /** The row as it was read. */
  readonly view: JobView;
  /** All pods of the job, of any attempt. */
  readonly pods: readonly Pod[];
  readonly signal: AbortSignal;
}

/** What is known before the row is read. */
export type Submitted = Omit<JobReconcile, "view">;

/** What calls to the API server need. */
export type JobCall = Pick<JobReconcile, "context" | "key" | "uid" | "signal">;

/** The row has changed; reconcile again at once. */
export const rowChanged = requeueAfter(0);
