/** Values a log line may carry beside its message. Never secrets. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

const ignore = (): void => {};

export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };

/** The words of an unknown thrown value, for a log field or a message. */
export const errorText = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
