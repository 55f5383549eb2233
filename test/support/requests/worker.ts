/**
 * Sends generated requests, in a thread of its own: the main thread, which serves them, is measured. Its messages are
 * counts and findings.
 */
import { parentPort, workerData } from "node:worker_threads";
import * as fc from "fast-check";
import { tokenHeader } from "../../../src/api/http/identity.ts";
import { requestPlan, type ProperRequest, type RequestPlan } from "./generator.ts";
import { Proofs, type Identities } from "./proofs.ts";
import { exchange, KeptConnection, type Target } from "./raw-client.ts";

export interface FuzzOrder {
  readonly seed: number;
  readonly requests: number;
  readonly apiPort: number;
  readonly metricsPort: number;
  readonly identities: Identities;
}

export interface FuzzReport {
  readonly statuses: Readonly<Record<string, number>>;
  /** Requests that should not have been answered as they were, with the answer. */
  readonly findings: readonly string[];
}

const atOnce = 8;
const perDraw = 500;
const tellAfter = 10_000;

const isExpected = (status: number): boolean =>
  (status >= 100 && status < 300) || (status >= 400 && status < 500) || status === 503;

class Fuzzer {
  readonly statuses: Record<string, number> = {};
  readonly findings: string[] = [];
  readonly #targets: Readonly<Record<RequestPlan["port"], Target>>;
  readonly #proofs: Proofs;

  constructor({ apiPort, metricsPort }: FuzzOrder, proofs: Proofs) {
    this.#proofs = proofs;
    this.#targets = {
      api: { port: apiPort, isTls: true },
      metrics: { port: metricsPort, isTls: false },
    };
  }

  async run(plans: RequestPlan[]): Promise<void> {
    const api = new KeptConnection(this.#targets.api);
    const metrics = new KeptConnection(this.#targets.metrics);
    for (let plan = plans.pop(); plan !== undefined; plan = plans.pop()) {
      const statuses =
        plan.kind === "odd"
          ? await exchange(this.#targets[plan.port], plan.bytes, plan.isCut)
          : [await this.#ask(plan, plan.port === "api" ? api : metrics)];
      this.#note(plan, statuses);
    }
    api.close();
    metrics.close();
  }

  async #ask(plan: ProperRequest, connection: KeptConnection): Promise<number> {
    const { method, target } = plan;
    const proof = await this.#proofs.make(plan.proof, method, target);
    const lines = [
      `${method} ${target} HTTP/1.1`,
      "Host: x",
      ...(proof === undefined ? [] : [`${tokenHeader}: ${proof}`]),
    ];
    return (await connection.ask(`${lines.join("\r\n")}\r\n\r\n`, method === "HEAD")) ?? 0;
  }

  #note(plan: RequestPlan, statuses: readonly number[]): void {
    for (const status of statuses) {
      this.statuses[status] = (this.statuses[status] ?? 0) + 1;
      if (!isExpected(status)) this.findings.push(`${status}: ${JSON.stringify(plan)}`);
    }
  }
}

const order = workerData as FuzzOrder;
const fuzzer = new Fuzzer(order, await Proofs.create(order.identities));
for (let done = 0; done < order.requests; done += perDraw) {
  const numRuns = Math.min(perDraw, order.requests - done);
  const plans = fc.sample(requestPlan, { numRuns, seed: order.seed + done });
  await Promise.all(Array.from({ length: atOnce }, () => fuzzer.run(plans)));
  if (done > 0 && done % tellAfter === 0) console.log(`      ${done} requests sent`);
}
const { statuses, findings } = fuzzer;
parentPort?.postMessage({ statuses, findings } satisfies FuzzReport, []);
