import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureApiEndpoint } from "../../dev/local/api-endpoint.ts";
import { environmentScript, quote, writeEnvironment } from "../../dev/local/env-file.ts";
import {
  externalDatabaseUrl,
  externalKubeconfig,
  withoutPassword,
} from "../../dev/local/user-provided.ts";

const inShell = (script: string): string =>
  execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", env: { PATH: "/bin:/usr/bin" } });

const api = {
  url: "https://127.0.0.1:20001",
  port: 20_001,
  certFile: "/a/tls.crt",
  keyFile: "/a/tls.key",
};

describe("local environment file", () => {
  it("quotes what a shell would read otherwise", () => {
    const nasty = 'a\'b $HOME "c" `d` \\ e';
    expect(inShell(`printf %s ${quote(nasty)}`)).to.equal(nasty);
  });

  it("sets the variables, and PATH only once", () => {
    const script = environmentScript(
      { kubeconfig: "/a b/kubeconfig", databaseUrl: "postgres://u:p@h/d", kubectl: "/k", api },
      "/a b/bin",
    );
    const seen = inShell(`${script}${script}printf '%s|' "$KUBECONFIG" "$DATABASE_URL" "$PATH"`);
    expect(seen).to.equal("/a b/kubeconfig|postgres://u:p@h/d|/a b/bin:/bin:/usr/bin|");
  });

  it("puts the API where kubectl rota finds it", () => {
    const script = environmentScript(
      { kubeconfig: "/k", databaseUrl: "postgres://h/d", api },
      "/b",
    );
    const shown =
      '"$ROTA_API_PORT" "$ROTA_SERVER" "$ROTA_API_CERT_FILE" "$ROTA_CERTIFICATE_AUTHORITY"';
    expect(inShell(`${script}printf '%s|' ${shown}`)).to.equal(
      "20001|https://127.0.0.1:20001|/a/tls.crt|/a/tls.crt|",
    );
  });

  it("comes with a kubectl rota that needs no installation", () => {
    const folder = mkdtempSync(join(tmpdir(), "rota-env-"));
    try {
      const file = writeEnvironment(folder, {
        kubeconfig: "/k",
        databaseUrl: "postgres://h/d",
        api,
      });
      const text = inShell(`. ${quote(file)}; kubectl-rota --version`);
      expect(text).to.match(/^\d+\.\d+\.\d+\n$/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("keeps the API's port and certificate", async () => {
    const folder = mkdtempSync(join(tmpdir(), "rota-api-"));
    try {
      const first = await ensureApiEndpoint(folder);
      const certificate = new X509Certificate(readFileSync(first.certFile));
      expect(certificate.checkIP("127.0.0.1")).to.equal("127.0.0.1");
      expect(await ensureApiEndpoint(folder)).to.deep.equal(first);
      expect(new X509Certificate(readFileSync(first.certFile)).serialNumber).to.equal(
        certificate.serialNumber,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("a cluster and database of the user's own", () => {
  let folder: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "rota-local-"));
    mkdirSync(join(folder, "postgres"));
    writeFileSync(join(folder, "postgres", "password"), "secret\n");
  });
  after(() => rmSync(folder, { recursive: true }));

  it("are used when the variables name them", () => {
    expect(externalKubeconfig({ KUBECONFIG: "/mine" }, folder)).to.equal("/mine");
    const url = "postgres://me:other@127.0.0.1:5432/rota";
    expect(externalDatabaseUrl({ DATABASE_URL: url }, folder)).to.equal(url);
  });

  it("are absent when the variables are empty or our own", () => {
    const own = join(folder, "cluster", "kubeconfig");
    const url = "postgres://postgres:secret@127.0.0.1:20000/rota";
    expect(externalKubeconfig({}, folder)).to.equal(undefined);
    expect(externalKubeconfig({ KUBECONFIG: "" }, folder)).to.equal(undefined);
    expect(externalKubeconfig({ KUBECONFIG: own }, folder)).to.equal(undefined);
    expect(externalDatabaseUrl({ DATABASE_URL: url }, folder)).to.equal(undefined);
  });

  it("are named without their password", () => {
    expect(withoutPassword("postgres://me:p@ss@host:1/d")).to.equal("postgres://me@host:1/d");
    expect(withoutPassword("postgres://host/d")).to.equal("postgres://host/d");
  });
});
