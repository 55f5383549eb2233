/**
 * Random requests to both servers: the API on a real database and control plane, in this process, so that its CPU and
 * memory can be measured; the client is another thread. ROTA_REQUESTS sets their number, ROTA_TEST_SEED the seed.
 */
import { once } from "node:events";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { expect } from "chai";
import { clientFor } from "../../dev/local/kube-client.ts";
import { writeOperatorKubeconfig } from "../../dev/local/operator-identity.ts";
import { freePorts } from "../../dev/local/ports.ts";
import { createPool } from "../../src/db/client/connection-pool.ts";
import { noNamespaceQuotas } from "../support/namespace-quotas.ts";
import { createApi } from "../../src/http/api.ts";
import { startHttpServer } from "../../src/observability/http-server.ts";
import { PrometheusMetrics } from "../../src/observability/metrics.ts";
import { stateMetrics } from "../../src/observability/state-metrics.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { silentLogger, type Logger } from "../../src/runtime/logger.ts";
import { readSettings } from "../../src/settings/read.ts";
import { ask, certificateOf, withCertificate } from "../support/api-client.ts";
import {
  commit,
  owner,
  plan,
  startInstallation,
  type Installation,
} from "../support/installation.ts";
import type { Identities } from "../support/requests/proofs.ts";
import type { FuzzOrder, FuzzReport } from "../support/requests/worker.ts";
import { fillTenants, robotToken, setUpTenants } from "../support/tenants-fixture.ts";

const requests = Number(process.env["ROTA_REQUESTS"] ?? 3000);
const seed = Number(process.env["ROTA_TEST_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const warmUp = 300;

/** Of the main thread, for one request of any kind, with its share of TLS, on average. */
const maxCpuMillis = 10;
/** Of one turn of the event loop. */
const maxTurnMillis = 200;
const maxGrowthBytes = 64 * 1024 ** 2;
const samplingMillis = 5;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const cpuMillis = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

/** The most CPU that the thread used from one timer to the next. */
function watchTurns(): () => number {
  let [last, most] = [cpuMillis(), 0];
  const timer = setInterval(() => {
    const now = cpuMillis();
    most = Math.max(most, now - last);
    last = now;
  }, samplingMillis);
  return () => {
    clearInterval(timer);
    return most;
  };
}

describe("random requests", function () {
  let installation: Installation;
  let identities: Identities;
  let order: Omit<FuzzOrder, "requests" | "seed">;
  const closers: (() => Promise<unknown>)[] = [];
  const errors: unknown[] = [];
  const logger: Logger = { ...silentLogger, error: (...entry) => void errors.push(entry) };

  before(async () => {
    console.log(`      ROTA_TEST_SEED=${seed} ROTA_REQUESTS=${requests}`);
    installation = await startInstallation();
    const { cluster, database, view } = installation;
    await setUpTenants(installation, [plan("pat-blue", { owner, pool: "blue", quantity: 16 })]);
    await view.apply(commit("one", { content: { rate: 0.1, layers: [1, 2] }, tag: "v1" }));
    await view.apply(commit("two", { content: { rate: 0.2, layers: [1, 3] }, parent: "one" }));
    await fillTenants(installation, { running: 8, waiting: 8 });
    const certificate = async (user: string) => certificateOf(await cluster.user(user));
    identities = {
      certificates: {
        admin: certificateOf(cluster.kubeconfig),
        val: await certificate("val"),
        ann: await certificate("ann"),
        stranger: await certificate("stranger"),
      },
      robotToken: await robotToken(installation),
    };

    const kubeconfig = join(cluster.directory, "api.kubeconfig");
    await writeOperatorKubeconfig(cluster.kubeconfig, kubeconfig);
    const kube = clientFor(kubeconfig);
    closers.push(() => kube.close());
    const [apiPort = 0] = await freePorts(1);
    const settings = readSettings(
      {
        DATABASE_URL: database.url,
        ROTA_API_PORT: String(apiPort),
        ROTA_API_RATE_PER_SECOND: "10000",
      },
      false,
    );
    const metrics = new PrometheusMetrics();
    const api = createApi({
      settings,
      kube,
      clock: systemClock,
      logger,
      metrics,
      namespaceQuotas: noNamespaceQuotas,
    });
    await api.start?.(new AbortController().signal);
    closers.push(async () => api.stop?.(5));
    const db = createPool(database.url, { onError: () => undefined });
    closers.push(() => db.end());
    const { registry } = metrics;
    const isLeading = () => true;
    stateMetrics({ registry, db, clock: systemClock, logger, timeZone: "UTC", isLeading });
    const unready = () => Promise.resolve([]);
    const http = await startHttpServer({
      address: "127.0.0.1",
      port: 0,
      registry,
      unready,
      clock: systemClock,
    });
    closers.push(() => http.close());
    order = { apiPort, metricsPort: http.port, identities };
  });

  after(async () => {
    for (const close of closers.toReversed()) await close();
    await installation?.stop();
  });

  async function send(number: number, firstSeed: number): Promise<FuzzReport> {
    const workerData: FuzzOrder = { ...order, requests: number, seed: firstSeed };
    const worker = new Worker(new URL("../support/requests/worker.ts", import.meta.url), {
      workerData,
    });
    const [report] = (await once(worker, "message")) as [FuzzReport];
    return report;
  }

  it("get expected answers at a bounded cost", async () => {
    await send(warmUp, seed - warmUp);
    collectGarbage();
    const [cpuBefore, heapBefore] = [cpuMillis(), process.memoryUsage().heapUsed];
    const mostOfTurn = watchTurns();
    const { statuses, findings } = await send(requests, seed);
    const turn = mostOfTurn();
    const cpu = (cpuMillis() - cpuBefore) / requests;
    collectGarbage();
    const growth = process.memoryUsage().heapUsed - heapBefore;
    const counts = Object.entries(statuses).map(([status, count]) => `${status}: ${count}`);
    console.log(
      `      ${counts.join(", ")}; ${cpu.toFixed(2)} ms of CPU each, ${turn.toFixed(0)} ms at most between two timers; heap ${(growth / 1024 ** 2).toFixed(1)} MiB more`,
    );
    expect(findings.slice(0, 10)).to.deep.equal([]);
    expect(errors.slice(0, 10)).to.deep.equal([]);
    expect(statuses[200]).to.be.above(requests / 10);
    expect(cpu).to.be.below(maxCpuMillis);
    expect(turn).to.be.below(maxTurnMillis);
    expect(growth).to.be.below(maxGrowthBytes);
    const admin = withCertificate(identities.certificates.admin);
    const url = `https://127.0.0.1:${order.apiPort}`;
    expect((await ask(url, "/api/v1/whoami", admin)).status).to.equal(200);
  });
});
