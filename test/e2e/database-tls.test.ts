/** TLS to PostgreSQL as DATABASE_URL asks for it, against a real server with certificates. */
import { chownSync, chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { ensureCertificates } from "../../dev/local/certificates.ts";
import { postgresAccount } from "../../dev/local/postgres-account.ts";
import { type Postgres, removePostgresData, startPostgres } from "../../dev/local/postgres.ts";
import { ensureToolchain } from "../../dev/local/control-plane-build.ts";
import { migrate } from "../../src/db/client/migrate.ts";
import { createPool } from "../../src/db/client/connection-pool.ts";

interface Connection {
  readonly ssl: boolean;
  readonly version: string | null;
}

/** What PostgreSQL says of the connection that an operator's pool makes with this URL. */
async function connect(url: string): Promise<Connection | undefined> {
  const pool = createPool(url);
  try {
    const statement = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    return (await pool.query<Connection>(statement)).rows[0];
  } finally {
    await pool.end();
  }
}

const failureOf = (attempt: Promise<unknown>): Promise<string> =>
  attempt.then(
    () => "no failure",
    (error: unknown) => String(error),
  );

describe("TLS to PostgreSQL", () => {
  let folder: string;
  let server: Postgres;
  let plain: Postgres;

  /** Certificates of an authority of its own; the server's one is for localhost and 127.0.0.1. */
  async function issue(name: string): Promise<string> {
    const directory = join(folder, name);
    await ensureCertificates((await ensureToolchain()).certs, directory);
    return directory;
  }

  /** PostgreSQL wants its key to be its own, and nobody else's. */
  function readableByServer(certificates: string): string {
    const directory = join(folder, "server");
    mkdirSync(directory);
    for (const file of ["apiserver.crt", "apiserver.key"]) {
      copyFileSync(join(certificates, file), join(directory, file));
      chmodSync(join(directory, file), 0o600);
      const account = postgresAccount();
      if (account) chownSync(join(directory, file), account.uid, account.gid);
    }
    return directory;
  }

  function urlWith(postgres: Postgres, host: string, parameters: Record<string, string>): string {
    const url = new URL(postgres.url);
    url.hostname = host;
    url.search = new URLSearchParams(parameters).toString();
    return url.href;
  }

  const ca = (name: string): string => join(folder, name, "ca.crt");
  const verified = (authority: string) => ({
    sslmode: "verify-full",
    sslrootcert: ca(authority),
  });

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), "rota-tls-"));
    chmodSync(folder, 0o755);
    const certificates = readableByServer(await issue("ours"));
    await issue("others");
    server = await startPostgres({
      directory: join(folder, "postgres"),
      settings: [
        "ssl=on",
        `ssl_cert_file=${join(certificates, "apiserver.crt")}`,
        `ssl_key_file=${join(certificates, "apiserver.key")}`,
        "listen_addresses=127.0.0.1,127.0.0.2",
      ],
    });
    plain = await startPostgres({ directory: join(folder, "plain") });
  });

  after(async () => {
    await Promise.all([server?.stop(), plain?.stop()]);
    removePostgresData(join(folder, "postgres"));
    removePostgresData(join(folder, "plain"));
    rmSync(folder, { recursive: true, force: true });
  });

  it("verifies the server's certificate by sslrootcert", async () => {
    for (const host of ["localhost", "127.0.0.1"]) {
      const connection = await connect(urlWith(server, host, verified("ours")));
      expect(connection).to.deep.include({ ssl: true });
      expect(connection?.version).to.match(/^TLSv1\.[23]$/);
    }
  });

  it("carries migrations, too", async () => {
    await migrate(urlWith(server, "localhost", verified("ours")));
  });

  it("refuses certificates of another authority, and of none", async () => {
    const other = urlWith(server, "localhost", verified("others"));
    expect(await failureOf(connect(other))).to.match(/certificate/);
    expect(await failureOf(migrate(other))).to.match(/certificate/);
    const unknown = urlWith(server, "localhost", { sslmode: "verify-full" });
    expect(await failureOf(connect(unknown))).to.match(/certificate/);
  });

  it("refuses a certificate for another host", async () => {
    const url = urlWith(server, "127.0.0.2", verified("ours"));
    expect(await failureOf(connect(url))).to.match(/does not match|not in the cert/);
  });

  it("refuses a server without TLS", async () => {
    const url = urlWith(plain, "localhost", verified("ours"));
    expect(await failureOf(connect(url))).to.match(/does not support SSL/);
  });

  it("names a missing certificate file of the authority", async () => {
    const url = urlWith(server, "localhost", verified("nobody"));
    expect(await failureOf(connect(url))).to.include(ca("nobody"));
    expect(await failureOf(migrate(url))).to.include(ca("nobody"));
  });

  it("is never plain text where PGSSLMODE asks for it", async () => {
    process.env["PGSSLMODE"] = "verify-full";
    try {
      expect(await failureOf(connect(plain.url))).to.match(/does not support SSL/);
      expect(await failureOf(connect(server.url))).to.match(/certificate/);
    } finally {
      delete process.env["PGSSLMODE"];
    }
  });
});
