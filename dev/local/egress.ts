/** The API server's way to the kubelets of real nodes, whose network nothing else of the machine reaches. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Where the segment's proxy listens; see dev/local/real-nodes/segment.ts. */
export const egressSocket = (clusterDirectory: string): string =>
  join(clusterDirectory, "segment.sock");

export const egressFile = (clusterDirectory: string): string =>
  join(clusterDirectory, "egress.json");

export function writeEgressConfiguration(clusterDirectory: string): void {
  const udsName = egressSocket(clusterDirectory);
  const connection = { proxyProtocol: "HTTPConnect", transport: { uds: { udsName } } };
  const configuration = {
    apiVersion: "apiserver.k8s.io/v1beta1",
    kind: "EgressSelectorConfiguration",
    egressSelections: [{ name: "cluster", connection }],
  };
  writeFileSync(egressFile(clusterDirectory), `${JSON.stringify(configuration)}\n`);
}
