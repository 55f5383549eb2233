/**
 * Which pool a node counts for. A changed label counts only when it has stayed for a while: labels vanish for seconds when
 * tools replace them, and jobs of another pool would take what is promised to those of this one.
 */
import type { ClusterNode } from "../resources/types.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Change } from "../runtime/informer.ts";

interface Move {
  /** The pool that still counts. */
  readonly former: string;
  readonly dueSeconds: number;
}

export class NodePools {
  readonly #clock: Clock;
  readonly #delaySeconds: number;
  /** By node; only of nodes whose label has changed lately. */
  readonly #moves = new Map<string, Move>();

  constructor(clock: Clock, delaySeconds: number) {
    this.#clock = clock;
    this.#delaySeconds = delaySeconds;
  }

  note({ key, before, after }: Change<ClusterNode>): void {
    const isSame = before?.uid === after?.uid;
    if (before === undefined || after === undefined || !isSame) {
      this.#moves.delete(key);
      return;
    }
    if (before.pool === after.pool) return;
    const former = this.#moves.get(key)?.former ?? before.pool;
    if (former === after.pool) this.#moves.delete(key);
    else {
      const dueSeconds = this.#clock.monotonicSeconds() + this.#delaySeconds;
      this.#moves.set(key, { former, dueSeconds });
    }
  }

  /** The pool that counts now and, while that is not the label's, the seconds until it is. */
  of({ name, pool }: ClusterNode): { readonly pool: string; readonly secondsLeft?: number } {
    const move = this.#moves.get(name);
    if (move === undefined) return { pool };
    const secondsLeft = move.dueSeconds - this.#clock.monotonicSeconds();
    if (secondsLeft > 0) return { pool: move.former, secondsLeft };
    this.#moves.delete(name);
    return { pool };
  }
}
