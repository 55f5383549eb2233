/** Limits repeated log lines, so that an outage with thousands of failing keys does not flood the log. */
import type { Clock } from "./clock.ts";
import type { LogFields, Logger } from "./logger.ts";

/** Maximum lines per message and period, regardless of fields. */
const maxLines = 20;
const periodSeconds = 10;

type Level = keyof Logger;

interface Spell {
  startSeconds: number;
  lines: number;
  unlogged: number;
}

/** Counts suppressed lines; the next line of the message has the count in its field `unlogged`. */
class LimitedLogger {
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** By message; messages are constants, so there are few. */
  readonly #spells = new Map<string, Spell>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  write(level: Level, message: string, fields: LogFields | undefined): void {
    const spell = this.#spellOf(message);
    if (spell.lines >= maxLines) {
      spell.unlogged += 1;
      return;
    }
    spell.lines += 1;
    const { unlogged } = spell;
    spell.unlogged = 0;
    this.#logger[level](message, unlogged === 0 ? fields : { ...fields, unlogged });
  }

  #spellOf(message: string): Spell {
    const nowSeconds = this.#clock.monotonicSeconds();
    const known = this.#spells.get(message);
    if (known === undefined) {
      const fresh = { startSeconds: nowSeconds, lines: 0, unlogged: 0 };
      this.#spells.set(message, fresh);
      return fresh;
    }
    if (nowSeconds - known.startSeconds >= periodSeconds) {
      known.startSeconds = nowSeconds;
      known.lines = 0;
    }
    return known;
  }
}

/** Wraps a logger with the limit. */
export function limitedLogger(logger: Logger, clock: Clock): Logger {
  const limited = new LimitedLogger(logger, clock);
  const write = (level: Level) => (message: string, fields?: LogFields) =>
    limited.write(level, message, fields);
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
