/** Sends requests at a constant rate to the HTTP API, in a thread of its own. Its message, once told to stop: the answers. */
import { parentPort, workerData } from "node:worker_threads";
import { Pool } from "undici";
import { tokenHeader } from "../../../src/api/http/identity.ts";

export interface FloodOrder {
  readonly apiUrl: string;
  readonly target: string;
  readonly token: string;
  readonly perSecond: number;
}

export interface FloodReport {
  readonly seconds: number;
  /** Answers by status; `error` without one. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Not sent, since too many were unanswered. */
  readonly skipped: number;
}

const tickMillis = 10;
const maxUnanswered = 500;

const { apiUrl, target, token, perSecond } = workerData as FloodOrder;
const pool = new Pool(apiUrl, {
  connections: 32,
  pipelining: 1,
  headersTimeout: 20_000,
  connect: { rejectUnauthorized: false },
});
const statuses: Record<string, number> = {};
let [unanswered, due, skipped] = [0, 0, 0];
const started = performance.now();

async function send(): Promise<void> {
  unanswered += 1;
  const status = await pool
    .request({ path: target, method: "GET", headers: { [tokenHeader]: token } })
    .then(
      async ({ statusCode, body }) => {
        await body.dump();
        return String(statusCode);
      },
      () => "error",
    );
  unanswered -= 1;
  statuses[status] = (statuses[status] ?? 0) + 1;
}

function tick(): void {
  due += (perSecond * tickMillis) / 1000;
  for (; due >= 1; due -= 1) {
    if (unanswered < maxUnanswered) void send();
    else skipped += 1;
  }
}

const timer = setInterval(tick, tickMillis);

/** Once all that were sent are answered. */
async function finish(): Promise<void> {
  clearInterval(timer);
  const seconds = (performance.now() - started) / 1000;
  await pool.close();
  parentPort?.postMessage({ seconds, statuses, skipped } satisfies FloodReport, []);
}

parentPort?.once("message", () => void finish());
