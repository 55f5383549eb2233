/** The HTTP API's own certificate over real TLS: renewed on disk, it is used without a restart. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { expect } from "chai";
import { waitFor } from "../../dev/local/wait.ts";
import { noNamespaceQuotas } from "../support/namespace-quotas.ts";
import { createApi } from "../../src/http/api.ts";
import { makeKeyPair, type KeyPair } from "../../src/http/serving-certificate.ts";
import { KubeClient } from "../../src/kube/client.ts";
import type { LogFields } from "../../src/runtime/logger.ts";
import { noMetrics } from "../../src/runtime/metrics.ts";
import { readSettings } from "../../src/settings/read.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { rejection } from "../support/fixtures.ts";
import { createManualClock } from "../support/manual-clock.ts";

const credentials = {
  server: new URL("https://127.0.0.1:1"),
  proxyUrl: undefined,
  read: () => Promise.resolve({ headers: {}, tls: {}, fingerprint: "" }),
};

describe("the certificate of the HTTP API", () => {
  let database: TestDatabase;
  let folder: string;
  let former: KeyPair;
  let renewed: KeyPair;
  const clock = createManualClock();
  const stopping = new AbortController();
  const told: { readonly message: string; readonly fields: LogFields }[] = [];
  const agents: Agent[] = [];

  const fileOf = (name: string) => join(folder, name);
  const write = ({ cert, key }: Partial<KeyPair>): void => {
    if (cert !== undefined) writeFileSync(fileOf("tls.crt"), cert);
    if (key !== undefined) writeFileSync(fileOf("tls.key"), key);
  };
  const api = () => {
    const tell = (message: string, fields: LogFields = {}) => void told.push({ message, fields });
    return createApi({
      settings: readSettings(
        {
          DATABASE_URL: database.url,
          ROTA_API_PORT: "0",
          ROTA_API_CERT_FILE: fileOf("tls.crt"),
          ROTA_API_KEY_FILE: fileOf("tls.key"),
        },
        false,
      ),
      kube: new KubeClient({ credentials, clock, name: "test" }),
      clock,
      logger: { debug: tell, info: tell, warn: tell, error: tell },
      metrics: noMetrics,
      namespaceQuotas: noNamespaceQuotas,
    });
  };
  let running: ReturnType<typeof api>;

  before(async () => {
    database = await createTestDatabase();
    folder = mkdtempSync(join(tmpdir(), "rota-api-certificate-"));
    [former, renewed] = await Promise.all([
      makeKeyPair(Temporal.Now.instant()),
      makeKeyPair(Temporal.Now.instant()),
    ]);
    write(former);
    running = api();
    await running.start?.(stopping.signal);
  });
  after(async () => {
    for (const agent of agents) agent.destroy();
    stopping.abort(new Error("the test is over"));
    await running.stop?.(1);
    await database.drop();
    rmSync(folder, { recursive: true, force: true });
  });

  const said = (message: string) => told.filter((line) => line.message.includes(message));

  function client(): Agent {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
    agents.push(agent);
    return agent;
  }

  /** The connection of an answered question. */
  async function ask(agent: Agent): Promise<{ socket: TLSSocket; fingerprint: string }> {
    const asked = request(`${String(said("serving")[0]?.fields["url"])}/api/v1/queue`, { agent });
    const [answer] = (await once(asked.end(), "response")) as [IncomingMessage];
    expect(answer.statusCode).to.equal(401);
    // Once it is read, the answer gives the socket back to the agent.
    const socket = answer.socket as TLSSocket;
    const fingerprint = socket.getPeerCertificate().fingerprint256;
    answer.resume();
    await once(answer, "end");
    return { socket, fingerprint };
  }
  const fingerprintOf = ({ cert }: KeyPair) => new X509Certificate(cert).fingerprint256;
  const later = (what: string, probe: () => boolean | Promise<boolean>) =>
    waitFor(
      async () => {
        await clock.advance(31);
        return probe();
      },
      { what, timeoutMs: 20_000 },
    );

  it("is read again when changed, and keeps open connections", async () => {
    const early = client();
    const before = await ask(early);
    expect(before.fingerprint).to.equal(fingerprintOf(former));

    // One file at a time, as it may be met half way.
    write({ cert: renewed.cert });
    await later("a warning", () => said("keeping the former one").length > 0);
    expect(String(said("keeping the former one")[0]?.fields["error"])).to.contain(
      "is not the key of",
    );
    expect((await ask(client())).fingerprint).to.equal(fingerprintOf(former));

    write({ key: renewed.key });
    await later("the new certificate", async () => {
      const { fingerprint } = await ask(client());
      return fingerprint === fingerprintOf(renewed);
    });
    const after = await ask(early);
    expect(after.socket).to.equal(before.socket);
    expect(after.fingerprint).to.equal(fingerprintOf(former));
  });

  it("stays while nothing can be read, or nothing changed", async () => {
    rmSync(fileOf("tls.key"));
    const warnings = said("keeping the former one").length;
    await later("a warning", () => said("keeping the former one").length > warnings);
    expect((await ask(client())).fingerprint).to.equal(fingerprintOf(renewed));
    write(renewed);
    await clock.advance(95);
    expect(said("uses a new certificate")).to.have.lengthOf(1);
  });

  it("is refused when it does not fit its key", async () => {
    write({ cert: former.cert, key: renewed.key });
    const failing = api();
    const error = await rejection(Promise.resolve(failing.start?.(stopping.signal)));
    expect(error.message).to.contain("tls.key is not the key of the certificate in");
    await failing.stop?.(1);
  });
});
