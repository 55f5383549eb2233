/** Progress of something long: a line that changes on a terminal, a line now and then elsewhere. */
import { formatElapsed } from "./duration.ts";

const plainIntervalMs = 20_000;
const terminalIntervalMs = 200;

export interface Progress {
  update(detail: string): void;
  end(): void;
}

export interface ProgressOutput {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Shows "title, elapsed: detail" from now until end(). */
export function startProgress(title: string, output: ProgressOutput = process.stderr): Progress {
  const started = performance.now();
  let detail = "";
  let shown = false;
  const line = (): string =>
    [title, formatElapsed(performance.now() - started), detail].filter(Boolean).join(" · ");
  const show = (): void => {
    shown = true;
    output.write(
      output.isTTY ? `\r\u001B[K${line().slice(0, (output.columns ?? 80) - 1)}` : `${line()}\n`,
    );
  };
  const timer = setInterval(show, output.isTTY ? terminalIntervalMs : plainIntervalMs);
  timer.unref();
  show();
  return {
    update: (next) => {
      detail = next;
    },
    end: () => {
      clearInterval(timer);
      if (shown && output.isTTY) output.write("\r\u001B[K");
    },
  };
}
