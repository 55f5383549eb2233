/** The handlers of all operations. */
import { configDiff, configLog, configShow } from "./configs.ts";
import { plans } from "./plans.ts";
import { preemptions } from "./preemptions.ts";
import { project } from "./project.ts";
import { queue } from "./queue.ts";
import { role } from "./role.ts";
import { tree } from "./tree.ts";
import type { ApiContext, Handlers } from "./types.ts";
import { nodes, pools } from "./pools.ts";
import { usage } from "./usage.ts";
import { why } from "./why.ts";

export const createHandlers = (context: ApiContext): Handlers => ({
  whoAmI: ({ caller: { user, groups, by } }) => ({ user, groups: [...groups], by }),
  queue: queue(context),
  why: why(context),
  tree: tree(context),
  project: project(context),
  plans: plans(context),
  pools: pools(context),
  nodes: nodes(context),
  usage: usage(context),
  preemptions: preemptions(context),
  configLog: configLog(context),
  configShow: configShow(context),
  configDiff: configDiff(context),
  role: role(context),
});
