/**
 * Common parameters of random tests, so that each can run longer and be repeated. FC_RUNS sets the number of cases of
 * every property, FC_SEED the seed. Both are printed when a property starts, so that one that never ends can be
 * repeated, and when it fails.
 */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { getCallSites } from "node:util";
import * as fc from "fast-check";

const projectRoot = fileURLToPath(new URL("../../", import.meta.url));
const seedsEnd = 2 ** 31;

/** The parameters of one property: `defaultRuns` cases, unless FC_RUNS is set. */
export function propertyRuns<Values>(defaultRuns: number): fc.Parameters<Values> {
  const numRuns = Number(process.env["FC_RUNS"] ?? defaultRuns);
  const { seed, file } = start(`${numRuns} cases`);
  const again = `FC_SEED=${seed} FC_RUNS=${numRuns} mocha --timeout 600000 ${file}`;
  return { numRuns, seed, reporter: (details) => report(details, again) };
}

/** The parameters of fc.sample, for a test that needs exactly this number of draws. */
export const propertyDraws = <Value>(numRuns: number): fc.Parameters<Value> => ({
  numRuns,
  seed: start(`${numRuns} draws`).seed,
});

/** Call it directly from an exported function: it names the caller of that function, the test. */
function start(what: string): { readonly seed: number; readonly file: string } {
  const seed = Number(process.env["FC_SEED"] ?? Math.floor(Math.random() * seedsEnd));
  const { scriptName, lineNumber } = getCallSites(3)[2] ?? { scriptName: "", lineNumber: 0 };
  const path = scriptName.startsWith("file:") ? fileURLToPath(scriptName) : scriptName;
  const file = relative(projectRoot, path);
  console.log(`      seed ${seed}, ${what}: ${file}:${lineNumber}`);
  return { seed, file };
}

function report<Values>(details: fc.RunDetails<Values>, again: string): void {
  if (!details.failed) return;
  const message = fc.defaultReportMessage(details) ?? "the property failed";
  throw new Error(`${message}\n\nRepeat it with: ${again}`, { cause: details.errorInstance });
}

/**
 * fc.assert for cases that are cheap in batches but expensive one by one. Draws all cases, then tries them in batches.
 * Only a failing batch is tried case by case, so that the failing case is reported and shrunk.
 */
export async function assertInBatches<Value>(
  values: fc.Arbitrary<Value>,
  size: number,
  parameters: fc.Parameters<[Value]>,
  tryAll: (batch: readonly Value[]) => Promise<void>,
): Promise<void> {
  const drawn: Value[] = [];
  const draw = fc.property(values, (value) => {
    drawn.push(value);
  });
  fc.assert(draw, parameters);
  const alone = fc.asyncProperty(values, (value) => tryAll([value]));
  for (let at = 0; at < drawn.length; at += size) {
    const batch = drawn.slice(at, at + size);
    const failed = await tryAll(batch).then(
      () => false,
      () => true,
    );
    if (!failed) continue;
    await fc.assert(alone, { ...parameters, path: String(at), numRuns: batch.length });
    // No case of the batch fails on its own.
    await tryAll(batch);
  }
}

/** Shares are not asserted with fewer cases, because they could fail by chance. */
const fewestCases = 500;
/** A share exactly at its floor falls this many standard deviations below it once in 30,000 times. */
const deviations = 4;

/** What the cases of a property cover, to notice a generator that no longer reaches the interesting cases. */
export class Reached<Kind extends string> {
  readonly #counts = new Map<Kind, number>();
  #cases = 0;

  /** Counts one case with all of its kinds. */
  note(kinds: Readonly<Partial<Record<Kind, boolean>>>): void {
    this.#cases += 1;
    for (const [kind, isOne] of Object.entries(kinds) as [Kind, boolean][]) {
      if (isOne) this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
    }
  }

  /** Throws if significantly fewer cases than this percentage were of a kind; more cases make the test stricter. */
  expectPercent(floors: Readonly<Record<Kind, number>>): void {
    if (this.#cases < fewestCases) return;
    const kinds = Object.keys(floors) as Kind[];
    const dull = kinds.filter((kind) => (this.#counts.get(kind) ?? 0) < this.#fewest(floors[kind]));
    if (dull.length === 0) return;
    const seen = kinds.map((kind) => `${kind} ${this.#percent(kind).toFixed(1)} %`).join(", ");
    throw new Error(`too few of ${this.#cases} cases reach ${dull.join(", ")}: ${seen}`);
  }

  #fewest(percent: number): number {
    const expected = (percent * this.#cases) / 100;
    return expected - deviations * Math.sqrt(expected * (1 - percent / 100));
  }

  #percent(kind: Kind): number {
    return (100 * (this.#counts.get(kind) ?? 0)) / this.#cases;
  }
}
