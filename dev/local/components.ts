/** The command line of each component of a local cluster. */
import { join } from "node:path";
import type { ClusterLayout } from "./cluster-layout.ts";
import { egressFile } from "./egress.ts";
import { simulatedNode } from "./nodes.ts";
import { projectRoot } from "./paths.ts";
import type { PlaneSettings } from "./plane-settings.ts";

export const componentNames = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kwok",
] as const;

export type ComponentName = (typeof componentNames)[number];

/** The user as whom the API server calls kubelets. */
export const kubeletClient = "kube-apiserver-kubelet-client";

/** Nobody shares a local cluster, so nothing is throttled. */
const unthrottled = ["--kube-api-qps=2000", "--kube-api-burst=2000"];

type Arguments = (layout: ClusterLayout, settings: PlaneSettings) => readonly string[];

const argumentsOf: Readonly<Record<ComponentName, Arguments>> = {
  etcd: ({ directory, ports }) => [
    "--name=local",
    `--data-dir=${join(directory, "etcd")}`,
    `--listen-client-urls=${loopback(ports.etcdClient)}`,
    `--advertise-client-urls=${loopback(ports.etcdClient)}`,
    `--listen-peer-urls=${loopback(ports.etcdPeer)}`,
    `--initial-advertise-peer-urls=${loopback(ports.etcdPeer)}`,
    `--initial-cluster=local=${loopback(ports.etcdPeer)}`,
    // A crash of the machine may lose a local cluster; a crash of etcd does not.
    "--unsafe-no-fsync",
    `--quota-backend-bytes=${8 * 1024 ** 3}`,
    "--log-level=warn",
  ],
  "kube-apiserver": ({ certificates, directory, ports }, settings) => [
    `--etcd-servers=${loopback(ports.etcdClient)}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${ports.apiServer}`,
    `--tls-cert-file=${join(certificates, "apiserver.crt")}`,
    `--tls-private-key-file=${join(certificates, "apiserver.key")}`,
    `--client-ca-file=${join(certificates, "ca.crt")}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${join(certificates, "service-account.key")}`,
    `--service-account-signing-key-file=${join(certificates, "service-account.key")}`,
    "--service-cluster-ip-range=10.0.0.0/24",
    ...(settings.realNodes ? kubeletFlags(directory, certificates) : ["--authorization-mode=RBAC"]),
    ...tolerationFlags(settings),
    "--allow-privileged=true",
    "--enable-priority-and-fairness=false",
    "--max-requests-inflight=0",
    "--max-mutating-requests-inflight=0",
    "--event-ttl=15m",
    "--profiling=false",
    // There is one API server and no endpoint to advertise: no leases to renew while idle.
    "--endpoint-reconciler-type=none",
    "--feature-gates=APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false",
  ],
  "kube-controller-manager": ({ certificates, kubeconfig }, settings) => [
    `--kubeconfig=${kubeconfig}`,
    "--leader-elect=false",
    `--service-account-private-key-file=${join(certificates, "service-account.key")}`,
    `--root-ca-file=${join(certificates, "ca.crt")}`,
    "--use-service-account-credentials",
    "--secure-port=0",
    "--profiling=false",
    ...monitoringFlags(settings),
    ...unthrottled,
  ],
  "kube-scheduler": ({ kubeconfig }) => [
    `--kubeconfig=${kubeconfig}`,
    "--leader-elect=false",
    "--secure-port=0",
    "--profiling=false",
    ...unthrottled,
  ],
  kwok: ({ kubeconfig, ports }, { realNodes }) => [
    `--kubeconfig=${kubeconfig}`,
    `--manage-all-nodes=${!realNodes}`,
    ...(realNodes ? [`--manage-nodes-with-annotation-selector=${simulatedNode.join("=")}`] : []),
    `--config=${join(projectRoot, "dev", "cluster", "stages.yaml")}`,
    `--server-address=127.0.0.1:${ports.kwok}`,
    // Beside real nodes the controller manager may wait for heartbeats.
    `--node-lease-duration-seconds=${realNodes ? 40 : 0}`,
    // Pod addresses: KWOK does not reuse those outside of its range, and its default holds 254.
    "--cidr=10.128.0.0/9",
  ],
};

/** The API server and kubelets know each other by certificates; a kubelet may change its own node and pods alone. */
const kubeletFlags = (directory: string, certificates: string): string[] => [
  "--authorization-mode=Node,RBAC",
  "--enable-admission-plugins=NodeRestriction",
  `--kubelet-client-certificate=${join(certificates, `${kubeletClient}.crt`)}`,
  `--kubelet-client-key=${join(certificates, `${kubeletClient}.key`)}`,
  // By default it asks a resolver for the node's name.
  "--kubelet-preferred-address-types=InternalIP",
  `--egress-selector-config-file=${egressFile(directory)}`,
];

const tolerationFlags = ({ nodeMonitoring }: PlaneSettings): string[] =>
  nodeMonitoring === undefined
    ? []
    : ["not-ready", "unreachable"].map(
        (taint) => `--default-${taint}-toleration-seconds=${nodeMonitoring.tolerationSeconds}`,
      );

/** Without heartbeats (see dev/cluster/stages.yaml) nodes must never stop to be ready by themselves. */
const monitoringFlags = ({ nodeMonitoring }: PlaneSettings): string[] =>
  nodeMonitoring === undefined
    ? ["--node-monitor-grace-period=87600h", "--node-startup-grace-period=87600h"]
    : [
        `--node-monitor-grace-period=${nodeMonitoring.gracePeriodSeconds}s`,
        `--node-monitor-period=${nodeMonitoring.periodSeconds}s`,
      ];

const loopback = (port: number): string => `http://127.0.0.1:${port}`;

export const componentArguments = (
  name: ComponentName,
  layout: ClusterLayout,
  settings: PlaneSettings,
): readonly string[] => argumentsOf[name](layout, settings);
