/**
 * The differences of two JSON values, as a JSON Patch (RFC 6902) of add, remove and replace. Work and memory are linear
 * in the size of the values plus a fixed budget: lists with too many differences are replaced whole.
 */
import type { JsonValue } from "./canonical-json.ts";

export type PatchOperation =
  | { readonly op: "add" | "replace"; readonly path: string; readonly value: JsonValue }
  | { readonly op: "remove"; readonly path: string };

type JsonList = readonly JsonValue[];
type JsonObject = Readonly<Record<string, JsonValue>>;

/** Total steps for comparing lists in one call. */
const maxListSteps = 100_000;
/** Every path repeats its keys: a patch with longer paths in total replaces the whole value. */
const maxPathCharacters = 1_000_000;

/** @returns operations that turn `before` into `after`, in order; none if they are equal */
export function diffJson(before: JsonValue, after: JsonValue): PatchOperation[] {
  return new JsonDiff().between(before, after);
}

class JsonDiff {
  readonly #identities = new Identities();
  readonly #operations: PatchOperation[] = [];
  #stepsLeft = maxListSteps;
  #pathCharacters = 0;

  between(before: JsonValue, after: JsonValue): PatchOperation[] {
    this.#compare(before, after, "");
    return this.#pathCharacters > maxPathCharacters
      ? [{ op: "replace", path: "", value: after }]
      : this.#operations;
  }

  #emit(operation: PatchOperation): void {
    this.#pathCharacters += operation.path.length;
    if (this.#pathCharacters <= maxPathCharacters) this.#operations.push(operation);
  }

  #compare(before: JsonValue, after: JsonValue, path: string): void {
    if (this.#pathCharacters > maxPathCharacters) return;
    if (this.#identities.of(before) === this.#identities.of(after)) return;
    if (isList(before) && isList(after)) this.#compareLists(before, after, path);
    else if (isObject(before) && isObject(after)) this.#compareObjects(before, after, path);
    else this.#emit({ op: "replace", path, value: after });
  }

  #compareObjects(before: JsonObject, after: JsonObject, path: string): void {
    for (const [key, value] of Object.entries(before)) {
      const other = Object.hasOwn(after, key) ? after[key] : undefined;
      const place = `${path}/${escaped(key)}`;
      if (other === undefined) this.#emit({ op: "remove", path: place });
      else this.#compare(value, other, place);
    }
    for (const [key, value] of Object.entries(after)) {
      if (Object.hasOwn(before, key)) continue;
      this.#emit({ op: "add", path: `${path}/${escaped(key)}`, value });
    }
  }

  #compareLists(before: JsonList, after: JsonList, path: string): void {
    const [ids, otherIds] = [before, after].map((list) => list.map((v) => this.#identities.of(v)));
    const gaps = gapsBetween(ids ?? [], otherIds ?? [], this.#stepsLeft);
    if (gaps === undefined) {
      this.#stepsLeft = 0;
      return this.#emit({ op: "replace", path, value: after });
    }
    this.#stepsLeft -= gaps.steps;
    for (const gap of gaps.items) this.#fill(gap, before, after, path);
  }

  /** Compares elements in pairs. Indexes are valid after the preceding operations, so they are indexes of `after`. */
  #fill({ from, to, otherFrom, otherTo }: Gap, before: JsonList, after: JsonList, path: string) {
    const pairs = Math.min(to - from, otherTo - otherFrom);
    for (let place = 0; place < pairs; place += 1) {
      const [value, other] = [before[from + place], after[otherFrom + place]];
      if (value === undefined || other === undefined) continue;
      this.#compare(value, other, `${path}/${otherFrom + place}`);
    }
    for (let place = from + pairs; place < to; place += 1) {
      this.#emit({ op: "remove", path: `${path}/${otherFrom + pairs}` });
    }
    for (const [offset, value] of after.slice(otherFrom + pairs, otherTo).entries()) {
      this.#emit({ op: "add", path: `${path}/${otherFrom + pairs + offset}`, value });
    }
  }
}

const isList = (value: JsonValue): value is JsonList => Array.isArray(value);
const isObject = (value: JsonValue): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** RFC 6901. */
const escaped = (key: string): string => key.replaceAll("~", "~0").replaceAll("/", "~1");

/** Numbers values: two values have the same number if and only if they are equal. Reads each value once. */
class Identities {
  /** Null, booleans, numbers and strings. */
  readonly #scalars = new Map<JsonValue, number>();
  /** Lists and objects, by the numbers of their elements. */
  readonly #contents = new Map<string, number>();
  readonly #known = new Map<object, number>();
  #next = 0;

  of(value: JsonValue): number {
    if (typeof value !== "object" || value === null) return this.#numberOf(this.#scalars, value);
    const known = this.#known.get(value);
    if (known !== undefined) return known;
    const text = isList(value) ? this.#listText(value) : this.#objectText(value);
    const number = this.#numberOf(this.#contents, text);
    this.#known.set(value, number);
    return number;
  }

  #listText(list: JsonList): string {
    return `[${list.map((item) => this.of(item)).join(",")}`;
  }

  #objectText(object: JsonValue & object): string {
    const members = Object.entries(object).map(
      ([key, value]) => `${this.of(key)}:${this.of(value)}`,
    );
    return `{${members.sort().join(",")}`;
  }

  #numberOf<Key>(numbers: Map<Key, number>, key: Key): number {
    const known = numbers.get(key);
    if (known !== undefined) return known;
    numbers.set(key, this.#next);
    this.#next += 1;
    return this.#next - 1;
  }
}

/** Elements [from, to) of the first list are replaced by [otherFrom, otherTo) of the second. */
interface Gap {
  readonly from: number;
  readonly to: number;
  readonly otherFrom: number;
  readonly otherTo: number;
}

interface Gaps {
  readonly items: readonly Gap[];
  readonly steps: number;
}

/** The differences of the lists, in order; undefined if finding them takes more than `maxSteps`. */
function gapsBetween(
  ids: readonly number[],
  otherIds: readonly number[],
  maxSteps: number,
): Gaps | undefined {
  const shorter = Math.min(ids.length, otherIds.length);
  let start = 0;
  while (start < shorter && ids[start] === otherIds[start]) start += 1;
  let end = 0;
  while (end < shorter - start && ids.at(-1 - end) === otherIds.at(-1 - end)) end += 1;
  const middle = ids.slice(start, ids.length - end);
  const otherMiddle = otherIds.slice(start, otherIds.length - end);
  if (middle.length === 0 || otherMiddle.length === 0) {
    const [to, otherTo] = [start + middle.length, start + otherMiddle.length];
    return { items: [{ from: start, to, otherFrom: start, otherTo }], steps: 0 };
  }
  return myers(middle, otherMiddle, start, maxSteps);
}

/** The shortest edit script (Myers 1986), with the frontiers of all rounds kept: at most `maxSteps` numbers. */
function myers(
  ids: readonly number[],
  otherIds: readonly number[],
  start: number,
  maxSteps: number,
): Gaps | undefined {
  const frontiers: number[][] = [];
  let steps = 0;
  for (let round = 0; ; round += 1) {
    const former = frontiers.at(-1) ?? [];
    const frontier: number[] = [];
    for (let diagonal = -round; diagonal <= round; diagonal += 2) {
      let at = round === 0 ? 0 : firstOn(former, diagonal, round);
      steps += 1;
      while (
        at < ids.length &&
        at - diagonal < otherIds.length &&
        ids[at] === otherIds[at - diagonal]
      ) {
        at += 1;
        steps += 1;
      }
      if (steps > maxSteps) return undefined;
      frontier.push(at);
      if (at >= ids.length && at - diagonal >= otherIds.length) {
        return { items: gapsOf(frontiers, diagonal, start), steps };
      }
    }
    frontiers.push(frontier);
  }
}

/** Index 0, 1, ... of a round's frontier holds the diagonals -round, -round + 2, ... */
const onDiagonal = (frontier: readonly number[], diagonal: number, round: number): number =>
  frontier[(diagonal + round) / 2] ?? -1;

const isDown = (former: readonly number[], diagonal: number, round: number): boolean =>
  diagonal === -round ||
  (diagonal !== round &&
    onDiagonal(former, diagonal - 1, round - 1) < onDiagonal(former, diagonal + 1, round - 1));

/** The position where a round enters a diagonal, by an insertion or a deletion. */
const firstOn = (former: readonly number[], diagonal: number, round: number): number =>
  isDown(former, diagonal, round)
    ? onDiagonal(former, diagonal + 1, round - 1)
    : onDiagonal(former, diagonal - 1, round - 1) + 1;

/** Walks the edits back from the end and merges adjacent edits into one gap. */
function gapsOf(
  frontiers: readonly (readonly number[])[],
  endDiagonal: number,
  start: number,
): Gap[] {
  const gaps: Gap[] = [];
  let diagonal = endDiagonal;
  for (let round = frontiers.length; round > 0; round -= 1) {
    const former = frontiers[round - 1] ?? [];
    const down = isDown(former, diagonal, round);
    const before = diagonal + (down ? 1 : -1);
    const at = onDiagonal(former, before, round - 1);
    const edit = {
      from: start + at,
      to: start + at + (down ? 0 : 1),
      otherFrom: start + at - before,
      otherTo: start + at - before + (down ? 1 : 0),
    };
    const next = gaps[0];
    if (next?.from === edit.to && next.otherFrom === edit.otherTo) {
      gaps[0] = { ...edit, to: next.to, otherTo: next.otherTo };
    } else {
      gaps.unshift(edit);
    }
    diagonal = before;
  }
  return gaps;
}
