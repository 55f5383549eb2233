/** The plugin as users run it: its bundle as a process, with a user's kubeconfig. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { loadKubeconfig } from "../../dev/local/kube-client.ts";
import { projectRoot } from "../../dev/local/paths.ts";

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Plugin {
  /** Runs the plugin to its end. */
  run(kubeconfig: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Outcome>;
  readonly path: string;
  remove(): void;
}

const maxRunMilliseconds = 60_000;

/** Builds the bundle. */
export async function buildPlugin(): Promise<Plugin> {
  const folder = mkdtempSync(join(tmpdir(), "rota-plugin-"));
  const script = join(projectRoot, "dev", "tasks", "bundle-cli.ts");
  await promisify(execFile)(process.execPath, [script, `--output=${folder}`]);
  const path = join(folder, "kubectl-rota.mjs");
  return {
    path,
    run: (kubeconfig, args, env = {}) =>
      new Promise((resolve) => {
        execFile(
          process.execPath,
          [path, ...args],
          {
            env: { PATH: process.env["PATH"], HOME: folder, KUBECONFIG: kubeconfig, ...env },
            timeout: maxRunMilliseconds,
          },
          (error, stdout, stderr) => {
            const status = typeof error?.code === "number" ? error.code : error === null ? 0 : -1;
            resolve({ status, stdout, stderr });
          },
        );
      }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A token, or certificate and key as base64 of PEM. */
type User = { readonly token: string } | { readonly certData: string; readonly keyData: string };

/** A copy of the administrator's kubeconfig with another user. */
export function writeUserKubeconfig(admin: string, user: User, file: string): void {
  const cluster = loadKubeconfig(admin).getCurrentCluster();
  if (cluster === null) throw new Error(`${admin} has no current cluster`);
  const config = loadKubeconfig(admin);
  config.loadFromOptions({
    clusters: [cluster],
    users: [{ name: "holder", ...user }],
    contexts: [{ name: "local", cluster: cluster.name, user: "holder", namespace: "other" }],
    currentContext: "local",
  });
  writeFileSync(file, config.exportConfig(), { mode: 0o600 });
}
