/** Runs one measurement in a process of its own: its memory and CPU are then nobody else's. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

export type Figures = Readonly<Record<string, number>>;

const timeoutMilliseconds = 180_000;

/** @throws when the child fails, with what it wrote to standard error */
export async function measure(script: string, args: readonly string[]): Promise<Figures> {
  const file = join(import.meta.dirname, script);
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", file, ...args], {
    timeout: timeoutMilliseconds,
    maxBuffer: 1024 * 1024,
  });
  const lastLine = stdout.trim().split("\n").at(-1) ?? "";
  return JSON.parse(lastLine);
}

/** What a child prints at its end. */
export function report(figures: Figures): never {
  console.log(JSON.stringify(figures));
  process.exit(0);
}

export interface Usage {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** Starts a stopwatch for wall-clock and CPU time of this process. */
export function stopwatch(): () => Usage {
  const startMilliseconds = performance.now();
  const startUsage = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(startUsage);
    return {
      seconds: (performance.now() - startMilliseconds) / 1000,
      cpuSeconds: (user + system) / 1e6,
    };
  };
}

const bytesPerMegabyte = 1e6;

/** Resident memory as it is, then the heap that is really in use. */
export function memory(): { rssMegabytes: number; heapMegabytes: number } {
  const rssMegabytes = process.memoryUsage.rss() / bytesPerMegabyte;
  globalThis.gc?.();
  return { rssMegabytes, heapMegabytes: process.memoryUsage().heapUsed / bytesPerMegabyte };
}
