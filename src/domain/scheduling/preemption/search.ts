/**
 * The search for victims among given candidates. Whether all of them together are enough is exact and cheap, and so are
 * the lowest priorities that are enough, over all nodes. Then several sets are built, victims that turn out not to be
 * needed are reprieved, and the cheapest set wins:
 * - per node, the optimum that fits the whole gang there (for a single pod: the overall optimum);
 * - node by node, the fewest evicted pods per placed pod;
 * - greedily, in order of preference.
 * For a gang that spans nodes this is a heuristic: a cheaper set may exist.
 */
import {
  type Candidate,
  cheapestClasses,
  compareCost,
  compareCostDescending,
  comparePreference,
  podsWithinQuota,
  totalPods,
} from "./ordering.ts";
import { cheapestCover, type SetCoverItem, type StepBudget } from "./set-cover.ts";
import { type Excess, GangFit } from "./gang-fit.ts";
import type { NodeState } from "../nodes.ts";
import { limitPerNode, type Demand } from "../placement.ts";
import {
  type Dimension,
  dimensionsOf,
  NOTHING,
  quantityOf,
  shortfall,
  times,
} from "../resources.ts";
import type { Resources } from "../snapshot.ts";

export interface SearchInput {
  /** Nodes that accept the preemptor. */
  readonly nodes: readonly NodeState[];
  readonly demand: Demand;
  readonly candidates: readonly Candidate[];
  /** Quotas that must be relieved too. */
  readonly over: readonly Excess[];
  readonly steps: StepBudget;
}

export interface ConsideredSet {
  readonly how: string;
  readonly set: readonly Candidate[];
}

export interface Found extends ConsideredSet {
  /** Other sufficient sets, cheapest first. */
  readonly others: readonly ConsideredSet[];
}

/** Alternatives in the preemption log. */
const maxOthers = 3;
/** Maximum of additional pods tried on one node when a gang is spread. */
const maxStride = 8;

/** Whether evicting all candidates would be enough. */
export function isPossible(input: SearchInput): boolean {
  return roomAfter(input, input.candidates).sufficient;
}

/** The cheapest set found; undefined if all candidates together are not enough. */
export function findCheapest(input: SearchInput): Found | undefined {
  if (!isPossible(input)) return undefined;
  const candidates = cheapestClasses(
    input.candidates,
    (one) => one,
    (some) => roomAfter(input, some).sufficient,
  );
  const sets = distinct(considered({ ...input, candidates })).sort((a, b) =>
    compareCost(a.set, b.set),
  );
  const [best, ...others] = sets;
  return best && { ...best, others: others.slice(0, maxOthers) };
}

/** Drops repeated sets; the first strategy that found a set names it. */
function distinct(sets: readonly ConsideredSet[]): ConsideredSet[] {
  const byMembers = new Map<string, ConsideredSet>();
  for (const one of sets) {
    const members = one.set
      .map(({ job }) => job.id)
      .sort()
      .join(" ");
    if (!byMembers.has(members)) byMembers.set(members, one);
  }
  return [...byMembers.values()];
}

function considered(input: SearchInput): ConsideredSet[] {
  const perNode = wholeGangPerNode(input);
  if (input.demand.parallelism === 1) return perNode;
  return [
    // With free capacity on other nodes, some victims on this one may not be needed.
    ...perNode.map(({ how, set }) => ({ how, set: reprieve(input, set) })),
    { how: "spread over nodes", set: reprieve(input, spread(input)) },
    { how: "in order of preference", set: greedyVictims(input) },
  ];
}

/** Victims in order of preference until the gang fits, then reprieved where possible. */
export function greedyVictims(input: SearchInput): readonly Candidate[] {
  const room = roomAfter(input, []);
  const chosen: Candidate[] = [];
  for (const candidate of [...input.candidates].sort(comparePreference)) {
    if (room.sufficient) break;
    room.evict(candidate);
    chosen.push(candidate);
  }
  return reprieve(input, chosen);
}

function roomAfter(input: SearchInput, gone: readonly Candidate[]): GangFit {
  const room = new GangFit(input.nodes, input.demand, input.over);
  for (const candidate of gone) room.evict(candidate);
  return room;
}

/** Drops victims, the most expensive first, while the gang still fits. One pass is enough: fewer victims never free more. */
function reprieve(input: SearchInput, set: readonly Candidate[]): readonly Candidate[] {
  const room = roomAfter(input, set);
  return set.toSorted(compareCostDescending).filter((candidate) => {
    room.reprieve(candidate);
    if (room.sufficient) return false;
    room.evict(candidate);
    return true;
  });
}

/** For each node, the cheapest set that fits the whole gang there. If the gang fits already, only quotas are relieved. */
function wholeGangPerNode(input: SearchInput): ConsideredSet[] {
  const start = roomAfter(input, []);
  if (start.podsMissing <= 0) return quotasAlone(input);
  if (input.demand.parallelism > limitPerNode(input.demand)) return [];
  const need = times(input.demand.perPod, input.demand.parallelism);
  const onNode = candidatesByNode(input.candidates);
  const sets: ConsideredSet[] = [];
  let best: readonly Candidate[] | undefined;
  for (const node of input.nodes) {
    const local = onNode.get(node.name) ?? [];
    if (local.length === 0) continue;
    const target = { node: node.name, missing: shortfall(need, node.future) };
    const set = cheapestCover(
      itemsFor(input, local, target),
      deficitsOf(input, target),
      input.steps,
      best,
    );
    if (!set) continue;
    best = set;
    sets.push({ how: `on ${node.name}`, set });
  }
  return sets;
}

function quotasAlone(input: SearchInput): ConsideredSet[] {
  const set = cheapestCover(
    itemsFor(input, [], undefined),
    deficitsOf(input, undefined),
    input.steps,
  );
  return set ? [{ how: "under its own quota", set }] : [];
}

interface Target {
  readonly node: string;
  readonly missing: Resources;
}

/** Candidates that free something on the node or under an exceeded quota. */
function itemsFor(
  input: SearchInput,
  local: readonly Candidate[],
  target: Target | undefined,
): SetCoverItem[] {
  const underQuotas = input.candidates.filter((candidate) =>
    input.over.some(({ quota }) => quota.reliefBy(candidate.job) > 0),
  );
  return [...new Set([...local, ...underQuotas])].map((candidate) => ({
    candidate,
    frees: [...freedOn(candidate, target), ...freedUnder(candidate, input.over)],
  }));
}

function freedOn(candidate: Candidate, target: Target | undefined): readonly number[] {
  if (!target) return [];
  const pods = candidate.job.allocations
    .filter(({ node }) => node === target.node)
    .reduce((sum, one) => sum + one.pods, 0);
  return amountsIn(
    pods > 0 ? times(candidate.job.perPod, pods) : NOTHING,
    dimensionsOf(target.missing),
  );
}

const freedUnder = (candidate: Candidate, over: readonly Excess[]): readonly number[] =>
  over.map(({ quota }) => quota.reliefBy(candidate.job));

const deficitsOf = (input: SearchInput, target: Target | undefined): readonly number[] => [
  ...(target ? missingOf(target.missing, input.demand.perPod) : []),
  ...input.over.map(({ amount }) => amount),
];

const amountsIn = (amounts: Resources, dimensions: readonly Dimension[]): readonly number[] =>
  dimensions.map((dimension) => quantityOf(amounts, dimension));

/** A resource that is not requested is not missing, even on a node that is overcommitted in it. */
const missingOf = (missing: Resources, perPod: Resources): readonly number[] =>
  dimensionsOf(missing).map((dimension) =>
    quantityOf(perPod, dimension) > 0 ? quantityOf(missing, dimension) : 0,
  );

function candidatesByNode(candidates: readonly Candidate[]): ReadonlyMap<string, Candidate[]> {
  const byNode = new Map<string, Candidate[]>();
  for (const candidate of candidates) {
    for (const node of new Set(candidate.job.allocations.map((one) => one.node))) {
      const known = byNode.get(node);
      if (known) known.push(candidate);
      else byNode.set(node, [candidate]);
    }
  }
  return byNode;
}

interface Offer {
  readonly extraPods: number;
  readonly set: readonly Candidate[];
}

/** Places pods node by node, each time where another pod costs the fewest evicted pods. */
function spread(input: SearchInput): readonly Candidate[] {
  const room = roomAfter(input, []);
  const left = new Set(input.candidates);
  const chosen: Candidate[] = [];
  const offers = new Map<string, Offer | undefined>();
  while (room.podsMissing > 0) {
    const offer = bestOffer(input, room, left, offers);
    if (!offer) break;
    for (const candidate of offer.set) {
      room.evict(candidate);
      left.delete(candidate);
      chosen.push(candidate);
      for (const { node } of candidate.job.allocations) offers.delete(node);
    }
  }
  return [...chosen, ...relief(input, room, left)];
}

/** Victims that the quotas still need once the nodes have enough room. */
function relief(
  input: SearchInput,
  room: GangFit,
  left: ReadonlySet<Candidate>,
): readonly Candidate[] {
  const over = input.over.map(({ quota }) => ({ quota, amount: room.excessOf(quota) }));
  const rest = { ...input, candidates: [...left], over };
  return (
    cheapestCover(itemsFor(rest, [], undefined), deficitsOf(rest, undefined), input.steps) ?? []
  );
}

function bestOffer(
  input: SearchInput,
  room: GangFit,
  left: ReadonlySet<Candidate>,
  offers: Map<string, Offer | undefined>,
): Offer | undefined {
  const onNode = candidatesByNode([...left]);
  let best: Offer | undefined;
  for (const node of input.nodes) {
    const local = onNode.get(node.name);
    if (!local) continue;
    // An offer for more pods than are still missing is too expensive: compute it again.
    const isKnown = offers.has(node.name);
    const tooMany = (offers.get(node.name)?.extraPods ?? 0) > room.podsMissing;
    if (!isKnown || tooMany) offers.set(node.name, offerOf(input, room, node.name, local));
    const offer = offers.get(node.name);
    if (offer && (!best || compareOffers(offer, best) < 0)) best = offer;
  }
  return best;
}

function offerOf(
  input: SearchInput,
  room: GangFit,
  node: string,
  local: readonly Candidate[],
): Offer | undefined {
  let best: Offer | undefined;
  const allowed = limitPerNode(input.demand) - room.fitsOn(node);
  const most = Math.min(room.podsMissing, maxStride, allowed);
  for (let extraPods = 1; extraPods <= most; extraPods += 1) {
    const need = times(input.demand.perPod, room.fitsOn(node) + extraPods);
    const target = { node, missing: shortfall(need, room.roomOn(node) ?? NOTHING) };
    const alone = { ...input, over: [] };
    const set = cheapestCover(
      itemsFor(alone, local, target),
      deficitsOf(alone, target),
      input.steps,
    );
    if (!set) break;
    if (!best || compareOffers({ extraPods, set }, best) < 0) best = { extraPods, set };
  }
  return best;
}

const compareOffers = (a: Offer, b: Offer): number =>
  podsWithinQuota(a.set) * b.extraPods - podsWithinQuota(b.set) * a.extraPods ||
  totalPods(a.set) * b.extraPods - totalPods(b.set) * a.extraPods ||
  b.extraPods - a.extraPods ||
  compareCost(a.set, b.set);
