import { expect } from "chai";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { environmentScript, quote } from "../../dev/local/env-file.ts";
import {
  externalDatabaseUrl,
  externalKubeconfig,
  withoutPassword,
} from "../../dev/local/user-provided.ts";

const inShell = (script: string): string =>
  execFileSync("/bin/sh", ["-c", script], { encoding: "utf8", env: { PATH: "/bin:/usr/bin" } });

describe("local environment file", () => {
  it("quotes what a shell would read otherwise", () => {
    const nasty = 'a\'b $HOME "c" `d` \\ e';
    expect(inShell(`printf %s ${quote(nasty)}`)).to.equal(nasty);
  });

  it("sets the variables, and PATH only once", () => {
    const script = environmentScript(
      { kubeconfig: "/a b/kubeconfig", databaseUrl: "postgres://u:p@h/d", kubectl: "/k" },
      "/a b/bin",
    );
    const seen = inShell(`${script}${script}printf '%s|' "$KUBECONFIG" "$DATABASE_URL" "$PATH"`);
    expect(seen).to.equal("/a b/kubeconfig|postgres://u:p@h/d|/a b/bin:/bin:/usr/bin|");
  });

  it("leaves PATH alone for a cluster from elsewhere", () => {
    const script = environmentScript({ kubeconfig: "/k", databaseUrl: "postgres://h/d" }, "/bin2");
    expect(script).not.to.include("PATH");
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
