import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { Client } from "pg";
import { projectRoot } from "../../dev/local/paths.ts";
import { createTestDatabase } from "../support/database.ts";

interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** Runs the operator until it ends by itself, or is told to stop once its output matches. */
function runOperator(env: Readonly<Record<string, string>>, until?: RegExp): Promise<Outcome> {
  const { KUBECONFIG: _cluster, DATABASE_URL: _database, ...rest } = process.env;
  const child = spawn(process.execPath, [join(projectRoot, "src", "main.ts")], {
    env: { ...rest, ROTA_HTTP_PORT: "0", ROTA_API_PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (until?.test(output)) child.kill("SIGTERM");
    });
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, output }));
  });
}

const nowhere = `apiVersion: v1
kind: Config
current-context: nowhere
clusters: [{ name: nowhere, cluster: { server: "https://127.0.0.1:1" } }]
users: [{ name: nowhere, user: {} }]
contexts: [{ name: nowhere, context: { cluster: nowhere, user: nowhere } }]
`;

describe("an operator that cannot start", function () {
  let directory: string;
  let kubeconfig: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), "rota-startup-"));
    kubeconfig = join(directory, "kubeconfig");
    writeFileSync(kubeconfig, nowhere);
  });

  after(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it("names all missing and wrong settings at once", async () => {
    const { status, output } = await runOperator({
      ROTA_TIME_ZONE: "Mars",
      ROTA_LOG_LEVEL: "loud",
    });
    expect(status).to.equal(1);
    expect(output).to.match(/DATABASE_URL must be set to postgres:/);
    expect(output).to.match(
      /ROTA_TIME_ZONE must be the name of an IANA time zone such as Europe\/Berlin, not "Mars"/,
    );
    expect(output).to.match(/ROTA_LOG_LEVEL must be one of error, warn, info, debug, not "loud"/);
  });

  it("names the setting of a port in use", async () => {
    const database = await createTestDatabase();
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as AddressInfo;
    try {
      const http = await runOperator({
        KUBECONFIG: kubeconfig,
        DATABASE_URL: database.url,
        ROTA_HTTP_PORT: String(port),
      });
      expect(http.status).to.equal(1);
      expect(http.output).to.contain(
        `cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE): set ROTA_HTTP_PORT`,
      );
      const elsewhere = await runOperator({
        KUBECONFIG: kubeconfig,
        DATABASE_URL: database.url,
        ROTA_HTTP_ADDRESS: "192.0.2.1",
      });
      expect(elsewhere.output).to.contain("set ROTA_HTTP_ADDRESS to a local address");
    } finally {
      holder.close();
      await database.drop();
    }
  });

  it("names an unreachable database", async () => {
    const { output } = await runOperator(
      {
        KUBECONFIG: kubeconfig,
        DATABASE_URL: "postgres://someone:secret-word@127.0.0.1:1/rota",
      },
      /cannot use the database 127\.0\.0\.1:1\/rota \(DATABASE_URL\); trying again/,
    );
    expect(output).to.match(/ECONNREFUSED/);
    expect(output).not.to.match(/secret-word/);
  });

  it("names the extensions that the user may not create", async () => {
    const database = await createTestDatabase();
    const admin = new Client({ connectionString: database.url });
    await admin.connect();
    try {
      await admin.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
      await admin.query("CREATE ROLE rota_startup_guest LOGIN PASSWORD 'guest'");
      await admin.query("GRANT ALL ON SCHEMA public TO rota_startup_guest");
      const url = new URL(database.url);
      url.username = "rota_startup_guest";
      url.password = "guest";
      const { status, output } = await runOperator({
        KUBECONFIG: kubeconfig,
        DATABASE_URL: url.href,
      });
      expect(status).to.equal(1);
      expect(output).to.match(/PostgreSQL lacks the extensions ltree and btree_gist/);
    } finally {
      await admin.query("DROP OWNED BY rota_startup_guest; DROP ROLE rota_startup_guest");
      await admin.end();
      await database.drop();
    }
  });

  it("names an unreachable cluster, or a missing KUBECONFIG", async () => {
    const database = await createTestDatabase();
    try {
      await runOperator(
        { KUBECONFIG: kubeconfig, DATABASE_URL: database.url },
        /cannot reach the API server https:\/\/127\.0\.0\.1:1\/ \(KUBECONFIG\); trying again/,
      );
      const missing = await runOperator({
        KUBECONFIG: join(directory, "no-such-file"),
        DATABASE_URL: database.url,
      });
      expect(missing.status).to.equal(1);
      expect(missing.output).to.match(/KUBECONFIG/);
      expect(missing.output).to.match(/no-such-file/);
    } finally {
      await database.drop();
    }
  });
});
