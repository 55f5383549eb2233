/** Kubeconfig files of a local cluster, written as JSON, which is YAML too. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Identity {
  readonly server: string;
  /** Folder that holds ca.crt and the user's NAME.crt and NAME.key. */
  readonly certificates: string;
  readonly user: string;
}

const readBase64 = (file: string): string => readFileSync(file).toString("base64");

/** Complete in itself: it can be copied elsewhere. */
export function writeKubeconfig(file: string, { server, certificates, user }: Identity): void {
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "local",
        cluster: {
          server,
          "certificate-authority-data": readBase64(join(certificates, "ca.crt")),
        },
      },
    ],
    users: [
      {
        name: user,
        user: {
          "client-certificate-data": readBase64(join(certificates, `${user}.crt`)),
          "client-key-data": readBase64(join(certificates, `${user}.key`)),
        },
      },
    ],
    contexts: [{ name: "local", context: { cluster: "local", user } }],
    "current-context": "local",
  };
  writeFileSync(file, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
}
