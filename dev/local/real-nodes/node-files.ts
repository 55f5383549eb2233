/** The files of a real node: what an administrator would write below /etc. */
import { createHash } from "node:crypto";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { clusterDomain, dnsAddress, podAddresses, segment } from "./addresses.ts";
import { pauseImage } from "./programs.ts";

export interface NodeFilesOptions {
  readonly name: string;
  readonly ordinal: number;
  readonly address: string;
  /** Name of the cgroup that is the root for its kubelet. */
  readonly cgroup: string;
  readonly kubelet: KubeletOverrides;
}

/** Fields of KubeletConfiguration that differ from the node's own. */
export type KubeletOverrides = Readonly<Record<string, unknown>>;

export const staticPodFolder = "/etc/kubernetes/manifests";
export const gpuControlFolder = "/etc/gpus";
export const kubeletConfigFile = "/etc/kubernetes/kubelet.json";
export const kubeletKubeconfig = "/etc/kubernetes/kubelet.kubeconfig";
export const kubeletPort = 10_250;
export const certificateAuthority = "/etc/kubernetes/ca.crt";

export function writeNodeFiles(root: string, options: NodeFilesOptions): void {
  for (const [file, content] of Object.entries(filesOf(options))) {
    const path = join(root, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }
  for (const folder of [staticPodFolder, gpuControlFolder, "/var/lib"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
  try {
    symlinkSync("/run", join(root, "/var/run"));
  } catch {
    // A node that is switched on again has it.
  }
}

const filesOf = (options: NodeFilesOptions): Readonly<Record<string, string>> => ({
  "/etc/cni/net.d/10-pods.conflist": json(cniConfiguration(options.ordinal)),
  "/etc/containerd/config.toml": containerdConfiguration,
  "/etc/group": "root:x:0:\n",
  "/etc/hosts": `127.0.0.1 localhost\n${options.address} ${options.name}\n`,
  "/etc/machine-id": `${createHash("md5").update(options.cgroup).digest("hex")}\n`,
  "/etc/os-release": 'ID=rota\nPRETTY_NAME="a node of namespaces"\n',
  "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
  // The machine's resolver is neither known nor within reach here.
  "/etc/resolv.conf": `nameserver ${dnsAddress}\n`,
  [kubeletConfigFile]: json(kubeletConfiguration(options)),
});

const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

/** The bridge is there already, and pods need no gateway: all they may reach is on the segment. */
function cniConfiguration(ordinal: number): unknown {
  const [rangeStart, rangeEnd] = podAddresses(ordinal);
  const ipam = { type: "host-local", ranges: [[{ subnet: segment, rangeStart, rangeEnd }]] };
  const bridge = { type: "bridge", bridge: "cni0", isGateway: false, ipMasq: false, ipam };
  return { cniVersion: "1.0.0", name: "pods", plugins: [bridge] };
}

// restrict_oom_score_adj: without CAP_SYS_RESOURCE, as in most containers, runc may not lower that of a sandbox.
const containerdConfiguration = `version = 3
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs"]

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "${pauseImage}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = "/opt/node/bin/runc"
  SystemdCgroup = false

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["/opt/node/cni"]
  conf_dir = "/etc/cni/net.d"
`;

const kubeletConfiguration = ({ address, cgroup, kubelet }: NodeFilesOptions) => ({
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  address,
  port: kubeletPort,
  healthzPort: 0,
  readOnlyPort: 0,
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: certificateAuthority },
  },
  authorization: { mode: "Webhook" },
  containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
  cgroupDriver: "cgroupfs",
  cgroupRoot: `/${cgroup}`,
  failCgroupV1: false,
  failSwapOn: false,
  makeIPTablesUtilChains: false,
  enforceNodeAllocatable: ["pods"],
  // The disk and the memory are the machine's: others may have filled them.
  evictionHard: {
    "memory.available": "100Mi",
    "nodefs.available": "1%",
    "nodefs.inodesFree": "1%",
    "imagefs.available": "1%",
  },
  imageGCHighThresholdPercent: 100,
  nodeStatusUpdateFrequency: "4s",
  nodeStatusReportFrequency: "10s",
  nodeLeaseDurationSeconds: 10,
  staticPodPath: staticPodFolder,
  clusterDNS: [dnsAddress],
  clusterDomain,
  maxPods: 100,
  ...kubelet,
});
