/** Faults by chance: dying operators, lost connections, changes in mid-flight, two operators at once. */
import type { Queryable } from "../../src/db/client/types.ts";
import type { Administrators } from "./administrators.ts";
import { type Kubelets, succeed } from "./kubelets.ts";
import type { Machines } from "./nodes.ts";
import type { Fault, Operators } from "./operators.ts";
import { jobsIn, type Stage } from "./context.ts";
import type { Users } from "./users.ts";

export interface Cast {
  readonly operators: Operators;
  readonly kubelets: Kubelets;
  readonly users: Users;
  readonly administrators: Administrators;
  readonly machines: Machines;
}

const midPoints = ["claimed", "decided"] as const;
const crashPoints = [...midPoints, "cycle-committed", "preemption-committed"] as const;

export class Faults {
  readonly #stage: Stage;
  readonly #cast: Cast;

  constructor(stage: Stage, cast: Cast) {
    this.#stage = stage;
    this.#cast = cast;
  }

  begin(): void {
    const { timeline } = this.#stage;
    const { operators } = this.#cast;
    const arm = (what: string, meanSeconds: number, fault: () => Fault): void =>
      timeline.often(what, meanSeconds, () => {
        operators.arm(fault());
        return Promise.resolve();
      });
    arm("an operator is to crash", 5400, () => this.#crash());
    arm("a connection is to break", 10_800, () => ({ kind: "disconnect", at: this.#midPoint() }));
    arm("a change is to come in mid-flight", 3600, () => this.#change());
    arm("two operators are to run at once", 5400, () => ({ kind: "two" }));
    timeline.often("an operator is down for a while", 14_400, () => this.#goDown());
    timeline.often("another operator takes over", 10_800, () => {
      operators.handOver();
      return Promise.resolve();
    });
  }

  #midPoint(): string {
    return this.#stage.random.of(midPoints);
  }

  #crash(): Fault {
    return { kind: "crash", at: this.#stage.random.of(crashPoints) };
  }

  #change(): Fault {
    const { users, administrators, machines } = this.#cast;
    const act = this.#stage.random.of([
      (db: Queryable) => users.change(db),
      (db: Queryable) => administrators.changeTree(db),
      (db: Queryable) => machines.change(db),
      (db: Queryable) => this.#endOne(db),
      () => administrators.changePlan(),
    ]);
    return { kind: "change", at: this.#midPoint(), act };
  }

  async #endOne(db: Queryable): Promise<void> {
    const job = this.#stage.random.some(await jobsIn(db, ["running", "evicting"]));
    if (job) await succeed(db, job);
  }

  #goDown(): Promise<void> {
    this.#cast.operators.restart();
    this.#cast.kubelets.goDown(this.#stage.random.whole(10, 900));
    return Promise.resolve();
  }
}
