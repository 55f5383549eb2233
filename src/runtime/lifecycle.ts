import { aborted, sleepUnlessAborted, startTimer } from "./clock.ts";
import type { Clock } from "./clock.ts";
import { errorText } from "./logger.ts";
import type { Logger } from "./logger.ts";

/** A component of the program that is started and stopped. */
export interface Component {
  readonly name: string;
  /** Resolves once it is running. The signal is aborted when the program starts to stop. */
  start?(signal: AbortSignal): Promise<void> | void;
  /** Finishes running work and releases resources. */
  stop?(graceSeconds: number): Promise<void> | void;
  /** Whether it is able to work now. */
  ready?(): Promise<boolean> | boolean;
  /** For a start that takes long: what it waits for. */
  waitingFor?(): string;
}

/** The parts of `process` that the lifecycle uses; replaced in tests. */
export interface ProcessEvents {
  on(event: string, listener: (argument: unknown) => void): unknown;
  off(event: string, listener: (argument: unknown) => void): unknown;
  exit(code: number): void;
}

export interface LifecycleOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Total time to stop all components; less than the pod's terminationGracePeriodSeconds. Default 25. */
  readonly graceSeconds?: number;
  readonly process?: ProcessEvents;
}

export interface Readiness {
  readonly ready: boolean;
  /** Names of the components that are not ready. */
  readonly waitingFor: readonly string[];
}

export interface Lifecycle {
  /** Adds a component, started after those added before it and stopped before them. */
  add(component: Component): void;
  /**
   * Starts all components, waits for a signal or `stop`, and stops them in reverse order. Returns the exit code: 0, or 1 if
   * a component failed to start or to stop in time.
   */
  run(): Promise<number>;
  stop(reason: string): void;
  readiness(): Promise<Readiness>;
}

const defaultGraceSeconds = 25;
/** A terminal and npm may both deliver one Ctrl-C: a second signal within this time is ignored. */
const secondSignalAfterSeconds = 0.3;
const readyTimeoutSeconds = 5;
/** A start that takes longer is reported, and again after each such time. */
const slowStartSeconds = 60;
const signals = { SIGINT: 2, SIGTERM: 15 } as const;

/** Installs no signal handlers until `run`. */
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

  /** A component that is slow to start, for example without its database, does not delay the shutdown. */
  async #startOne(component: Component): Promise<void> {
    const { signal } = this.#stopping;
    const started = new AbortController();
    void this.#reportSlowStart(component, AbortSignal.any([signal, started.signal]));
    try {
      await Promise.race([component.start?.(signal), aborted(signal)]);
    } finally {
      started.abort(new Error("it has started"));
    }
  }

  async #reportSlowStart(component: Component, ended: AbortSignal): Promise<void> {
    for (let seconds = slowStartSeconds; ; seconds += slowStartSeconds) {
      if (!(await sleepUnlessAborted(this.#clock, slowStartSeconds, ended))) return;
      this.#logger.warn("the start takes long", {
        component: component.name,
        seconds,
        waitingFor: component.waitingFor?.(),
      });
    }
  }

  /** Stops every component even if another failed; all share one grace period. */
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

  /** Registers the process listeners. Returns a function that removes them. */
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

  /** After an unhandled error the state is unknown; thanks to the database's locks an immediate exit is safest. */
  #onLost(what: string, error: unknown): void {
    const stack = error instanceof Error ? error.stack : undefined;
    this.#logger.error(what, { error: errorText(error), stack });
    this.#process.exit(1);
  }
}
