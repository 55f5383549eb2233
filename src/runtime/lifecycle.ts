import { aborted, startTimer } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { errorText } from "./logger.ts";
import type { Logger } from "./logger.ts";

/** A part of the program that is started and stopped. */
export interface Component {
  readonly name: string;
  /** Resolves when it runs. The signal is aborted when the program begins to stop. */
  start?(signal: AbortSignal): Promise<void> | void;
  /** Finishes what is under way and lets go of what is held. */
  stop?(graceSeconds: number): Promise<void> | void;
  /** Whether it can do its work at this moment. */
  ready?(): Promise<boolean> | boolean;
}

/** What of the process the lifecycle touches; tests give their own. */
export interface ProcessEvents {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
  exit(code: number): void;
}

export interface LifecycleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** For stopping everything; less than the pod's terminationGracePeriodSeconds. Default 25. */
  readonly graceSeconds?: number;
  readonly process?: ProcessEvents;
}

export interface Readiness {
  readonly ready: boolean;
  /** Names of the components that are not. */
  readonly waitingFor: readonly string[];
}

export interface Lifecycle {
  /** Adds a component, started after those added before it and stopped before them. */
  add(component: Component): void;
  /**
   * Starts everything, waits for a signal or `stop`, stops everything in reverse order. Returns the exit code: 0, or 1 when
   * something failed to start or to stop in time.
   */
  run(): Promise<number>;
  stop(reason: string): void;
  readiness(): Promise<Readiness>;
}

const defaultGraceSeconds = 25;
/** A terminal and npm may both deliver the first Ctrl-C: a second signal sooner than this is the same one. */
const secondSignalAfterSeconds = 0.3;
const readyTimeoutSeconds = 5;
const signals = { SIGINT: 2, SIGTERM: 15 } as const;

export function createLifecycle(options: LifecycleOptions): Lifecycle {
  return new ProcessLifecycle(options);
}

class ProcessLifecycle implements Lifecycle {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #graceSeconds: number;
  readonly #process: ProcessEvents;
  readonly #components: Component[] = [];
  readonly #started: Component[] = [];
  readonly #stopping = new AbortController();
  #isUp = false;
  #firstSignalSeconds: number | undefined;

  constructor(options: LifecycleOptions) {
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#graceSeconds = options.graceSeconds ?? defaultGraceSeconds;
    this.#process = options.process ?? process;
  }

  add(component: Component): void {
    this.#components.push(component);
  }

  stop(reason: string): void {
    if (this.#stopping.signal.aborted) return;
    this.#logger.info("stopping", { reason, graceSeconds: this.#graceSeconds });
    this.#stopping.abort(new Error(reason));
  }

  async run(): Promise<number> {
    const detach = this.#attach();
    try {
      const isUp = await this.#startAll();
      if (isUp) await aborted(this.#stopping.signal);
      else this.stop("a component failed to start");
      const isDown = await this.#stopAll();
      return isUp && isDown ? 0 : 1;
    } finally {
      detach();
    }
  }

  async readiness(): Promise<Readiness> {
    if (!this.#isUp || this.#stopping.signal.aborted) {
      return { ready: false, waitingFor: [this.#isUp ? "shutdown" : "start-up"] };
    }
    const answers = await Promise.all(
      this.#components.map(async (component) => ({
        name: component.name,
        ready: await this.#isReady(component),
      })),
    );
    const waitingFor = answers.filter(({ ready }) => !ready).map(({ name }) => name);
    return { ready: waitingFor.length === 0, waitingFor };
  }

  async #startAll(): Promise<boolean> {
    for (const component of this.#components) {
      if (this.#stopping.signal.aborted) return true;
      this.#started.push(component);
      try {
        await this.#startOne(component);
      } catch (error) {
        if (this.#stopping.signal.aborted) return true;
        this.#logger.error("could not start", {
          component: component.name,
          error: errorText(error),
        });
        return false;
      }
    }
    this.#isUp = true;
    return true;
  }

  /** A component that takes long to start, as one whose database is away does, does not hold up the end. */
  async #startOne(component: Component): Promise<void> {
    const { signal } = this.#stopping;
    await Promise.race([component.start?.(signal), aborted(signal)]);
  }

  /** Every component is asked to stop, whatever became of the one before; all share one grace period. */
  async #stopAll(): Promise<boolean> {
    const deadlineSeconds = this.#clock.monotonicSeconds() + this.#graceSeconds;
    let isClean = true;
    for (const component of this.#started.toReversed()) {
      const leftSeconds = Math.max(0, deadlineSeconds - this.#clock.monotonicSeconds());
      const stopped = await this.#stopOne(component, leftSeconds);
      isClean &&= stopped;
    }
    return isClean;
  }

  async #stopOne(component: Component, leftSeconds: number): Promise<boolean> {
    try {
      await this.#within(leftSeconds, async () => component.stop?.(leftSeconds));
      return true;
    } catch (error) {
      this.#logger.error("did not stop cleanly", {
        component: component.name,
        error: errorText(error),
      });
      return false;
    }
  }

  async #isReady(component: Component): Promise<boolean> {
    try {
      return await this.#within(
        readyTimeoutSeconds,
        async () => (await component.ready?.()) ?? true,
      );
    } catch (error) {
      this.#logger.warn("readiness check failed", {
        component: component.name,
        error: errorText(error),
      });
      return false;
    }
  }

  #within<T>(seconds: number, action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = startTimer(this.#clock, seconds, () =>
        reject(new Error(`took longer than ${seconds.toFixed(1)} s`)),
      );
      action().then(resolve, reject).finally(cancel);
    });
  }

  /** Listens to the process. Returns how to stop listening. */
  #attach(): () => void {
    const listeners: [string, (argument: unknown) => void][] = [
      ["SIGTERM", () => this.#onSignal("SIGTERM")],
      ["SIGINT", () => this.#onSignal("SIGINT")],
      ["unhandledRejection", (reason) => this.#onLost("unhandled rejection", reason)],
      ["uncaughtException", (error) => this.#onLost("uncaught exception", error)],
    ];
    for (const [event, listener] of listeners) this.#process.on(event, listener);
    return () => {
      for (const [event, listener] of listeners) this.#process.off(event, listener);
    };
  }

  #onSignal(name: keyof typeof signals): void {
    const nowSeconds = this.#clock.monotonicSeconds();
    if (this.#firstSignalSeconds === undefined) {
      this.#firstSignalSeconds = nowSeconds;
      this.stop(name);
      return;
    }
    if (nowSeconds - this.#firstSignalSeconds < secondSignalAfterSeconds) return;
    this.#logger.warn("second signal: exiting at once", { signal: name });
    this.#process.exit(128 + signals[name]);
  }

  /** An error nobody handles leaves unknown state behind; the database's locks make a sudden end the safest one. */
  #onLost(what: string, error: unknown): void {
    const stack = error instanceof Error ? error.stack : undefined;
    this.#logger.error(what, { error: errorText(error), stack });
    this.#process.exit(1);
  }
}
