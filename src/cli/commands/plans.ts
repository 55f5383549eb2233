/** `plans [OWNER]`: a weekly calendar for each owner. */
import type { PlanPage, PlanWindowAnswer } from "../../api/http/schemas.ts";
import { unitText } from "../../domain/text.ts";
import { rangeText, rangesOfWindows } from "../../domain/windows.ts";
import { isForbidden } from "../../kube/errors.ts";
import { calendarText } from "../calendar.ts";
import { CliError, exitCodes } from "../errors.ts";
import { styled } from "../output.ts";
import { listPlans, readyOf, type Plan } from "../resources.ts";
import type { Session, View } from "../session.ts";
import { weekText } from "../week-text.ts";

interface Owner {
  readonly kind: "User" | "Group";
  readonly name: string;
}

interface Window {
  readonly owner: Owner;
  readonly plan: string;
  readonly resourceType: string;
  readonly pool: string;
  readonly quantity: number;
  readonly onWindowClose: "Finish" | "Evict";
  readonly start: number;
  readonly end: number;
}

interface Found {
  readonly windows: readonly Window[];
  /** Plans whose present version is not in force, and why. */
  readonly rejected: readonly { readonly plan: string; readonly message: string }[];
}

const maxWindows = 10_000;
const ownerPattern = /^(?:(user|group)[:/])?(.+)$/i;

interface Asked {
  readonly kind: Owner["kind"] | undefined;
  readonly name: string;
}

/** "user:pat", "group:vision-team"; a bare name matches both. */
function askedOwner(text: string | undefined): Asked | undefined {
  if (text === undefined) return undefined;
  const [, kind, name] = ownerPattern.exec(text) ?? [];
  if (name === undefined) {
    throw new CliError(`invalid owner "${text}": must be user:NAME or group:NAME`, exitCodes.usage);
  }
  if (kind === undefined) return { kind: undefined, name };
  return { kind: kind.toLowerCase() === "user" ? "User" : "Group", name };
}

const isAsked = (asked: Asked | undefined, owner: Owner): boolean =>
  asked === undefined ||
  (owner.name === asked.name && (asked.kind === undefined || owner.kind === asked.kind));

const windowsOf = ({ metadata, spec }: Plan): Window[] =>
  rangesOfWindows(
    spec.timeWindows?.map((window) => ({ ...window, days: window.days ?? allDays })),
  ).map((range) => ({
    owner: spec.owner,
    plan: metadata.name,
    resourceType: spec.resourceType,
    pool: spec.pool,
    quantity: spec.quantity,
    onWindowClose: spec.onWindowClose,
    ...range,
  }));

const allDays = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

/** After a rejected change the accepted version stays in force, which the resource no longer shows. */
const isInForce = ({ metadata, status }: Plan): boolean =>
  status.acceptedGeneration === metadata.generation;

function ofResources(plans: readonly Plan[]): Found {
  const rejected = plans
    .filter((plan) => !isInForce(plan))
    .map((plan) => ({
      plan: plan.metadata.name,
      message: readyOf(plan)?.message ?? "not processed yet",
    }));
  return { windows: plans.filter(isInForce).flatMap(windowsOf), rejected };
}

const ofAnswer = ({ startSecond, endSecond, text: _text, ...rest }: PlanWindowAnswer): Window => ({
  ...rest,
  start: startSecond,
  end: endSecond,
});

/** Users who may not list plans see their own and those of their projects, through the HTTP API. */
async function find({ connection, api }: Session, asked: Asked | undefined): Promise<Found> {
  try {
    const plans = await listPlans(connection.client);
    return ofResources(plans.filter(({ spec }) => isAsked(asked, spec.owner)));
  } catch (error) {
    if (!isForbidden(error)) throw error;
  }
  const query = asked && { ownerKind: asked.kind ?? "User", ownerName: asked.name };
  const items = await api.all<PlanPage["items"][number]>("/api/v1/plans", query ?? {}, maxWindows);
  return { windows: items.map(ofAnswer), rejected: [] };
}

function legend(windows: readonly Window[]): string[] {
  const byPlan = Map.groupBy(windows, ({ plan }) => plan);
  return [...byPlan].map(([plan, of]) => {
    const [first] = of;
    const closes = first?.onWindowClose === "Evict" ? ", evicts on close" : "";
    return `  ${plan}: ${first?.quantity}, ${weekText(of)}${closes}`;
  });
}

const subjectOf = ({ owner, resourceType, pool }: Window): string =>
  `${owner.kind} ${owner.name}, ${unitText(resourceType)} of pool ${pool}`;

function text({ windows, rejected }: Found): string {
  const groups = Map.groupBy(windows, subjectOf);
  const weeks = [...groups]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([subject, of]) => [styled("bold", subject), calendarText(of), ...legend(of)].join("\n"));
  const notes = rejected.map(({ plan, message }) =>
    styled("red", `plan ${plan} is not in force as written: ${message}`),
  );
  const shown = [...weeks, ...(notes.length === 0 ? [] : [notes.join("\n")])];
  return shown.length === 0 ? "No plans." : shown.join("\n\n");
}

/** @param owner "user:NAME", "group:NAME", or a name that matches both; undefined: all visible plans */
export const plans =
  (owner: string | undefined) =>
  async (session: Session): Promise<View> => {
    const found = await find(session, askedOwner(owner));
    const items = found.windows.map((window) => ({ ...window, text: rangeText(window) }));
    return { data: { items, rejected: found.rejected }, text: () => text(found) };
  };
