/** A network of one's own: addresses that nobody else sees, where a test may listen beyond loopback. */
import { spawn, spawnSync } from "node:child_process";

/** Root needs no user namespace; for others it gives the rights to set up the network inside. */
const unshare = process.getuid?.() === 0 ? ["-n"] : ["-rn"];
/** The API server looks for the interface of the default route, and for an address there that is not of loopback. */
const setUp =
  "ip link set lo up && ip address add 192.0.2.1/24 dev lo && ip route add default dev lo";

/** Why there can be none here; undefined when there can. */
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

/** Runs a command in a new network with nothing but loopback, until it ends. */
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

/** Makes the address one of this machine's; inside a network namespace only. */
export function addLocalAddress(address: string): void {
  const { status, stderr } = spawnSync("ip", ["address", "add", `${address}/32`, "dev", "lo"], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`ip address add ${address}: ${stderr}`);
}
