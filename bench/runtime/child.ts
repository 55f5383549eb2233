/** Runs one measurement in a process of its own: its memory and CPU are then nobody else's. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { nodeFlags as operatorFlags } from "../../dev/local/operator.ts";
import { bundle as bundleInto } from "../../dev/tasks/bundler.ts";

export type Figures = Readonly<Record<string, number>>;

const timeoutMilliseconds = 180_000;
/**
 * A small young generation: what a reflector decodes is garbage at once, and Node's default would keep 48 MB for it.
 * The same flags for everyone measured.
 */
const nodeFlags = ["--expose-gc", ...operatorFlags];

/** @throws when the child fails, with what it wrote to standard error */
export async function measure(file: string, args: readonly string[]): Promise<Figures> {
  const { stdout } = await promisify(execFile)(process.execPath, [...nodeFlags, file, ...args], {
    timeout: timeoutMilliseconds,
    maxBuffer: 1024 * 1024,
  });
  const lastLine = stdout.trim().split("\n").at(-1) ?? "";
  return JSON.parse(lastLine);
}

/** As an operator is shipped: one file without the code it does not use. Returns the path. */
export async function bundle(script: string, folder: string): Promise<string> {
  const outfile = join(folder, script.replace(/\.ts$/, ".mjs"));
  await bundleInto({ entry: join(import.meta.dirname, script), outfile });
  return outfile;
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
