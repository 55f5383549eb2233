/** A private network namespace: its addresses are invisible to others, so a test may listen beyond loopback. */
import { spawn, spawnSync } from "node:child_process";

/** Root needs no user namespace; others need one for the right to configure the network inside. */
const unshare = process.getuid?.() === 0 ? ["-n"] : ["-rn"];
/** The API server reads the default route's interface and requires a non-loopback address on it. */
const setUp =
  "ip link set lo up && ip address add 192.0.2.1/24 dev lo && ip route add default dev lo";

/** Why network namespaces are not available here; undefined if they are. */
export function whyNoNetworkNamespace(): string | undefined {
  const { status, error, stderr } = spawnSync("unshare", [...unshare, "sh", "-c", setUp], {
    encoding: "utf8",
  });
  if (status === 0) return undefined;
  return `no network namespace can be made: ${error?.message ?? stderr.trim()}`;
}

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
}

/** Runs a command to its end in a new network namespace with only loopback. */
export function runInNetworkNamespace(
  command: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Outcome> {
  const args = [...unshare, "sh", "-c", `${setUp} && exec "$@"`, "sh", ...command];
  const child = spawn("unshare", args, { env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status) => resolve({ status, output }));
  });
}

/** Adds the address to this machine; only inside a network namespace. */
export function addLocalAddress(address: string): void {
  const { status, stderr } = spawnSync("ip", ["address", "add", `${address}/32`, "dev", "lo"], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`ip address add ${address}: ${stderr}`);
}
