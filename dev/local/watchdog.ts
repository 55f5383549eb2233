/**
 * Ends child processes when this process dies, however it dies.
 *
 * A small shell holds the reading end of a pipe to us and a list of process
 * groups. When we are gone (SIGKILL included) the pipe ends, and it kills them.
 * It is no Go program, since PostgreSQL is guarded where Go may be missing, and
 * it needs nothing of Linux (PR_SET_PDEATHSIG would).
 */
import { type ChildProcess, spawn } from "node:child_process";

const script = `
guarded=''
while read -r verb pid signal; do
  rest=''
  for entry in $guarded; do [ "\${entry%%:*}" = "$pid" ] || rest="$rest $entry"; done
  guarded=$rest
  [ "$verb" = guard ] && guarded="$guarded $pid:$signal"
done
[ -z "$guarded" ] && exit 0
for entry in $guarded; do kill -"\${entry#*:}" -"\${entry%%:*}"; done
sleep 2
for entry in $guarded; do kill -KILL -"\${entry%%:*}"; done
exit 0
`;

let shell: ChildProcess | undefined;

function tell(line: string): void {
  if (shell === undefined || shell.exitCode !== null || shell.signalCode !== null) shell = start();
  shell.stdin?.write(`${line}\n`);
}

function start(): ChildProcess {
  // A group of its own: Ctrl-C on the terminal must not end the watchdog before what it guards.
  const child = spawn("/bin/sh", ["-c", script], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  child.on("error", () => undefined);
  child.stdin?.on("error", () => undefined);
  child.unref();
  if (child.stdin && "unref" in child.stdin && typeof child.stdin.unref === "function") {
    child.stdin.unref();
  }
  return child;
}

/** From now on the process group of this pid gets the signal, and soon after SIGKILL, when we die. */
export function guard(pid: number, signal: "KILL" | "QUIT"): void {
  tell(`guard ${pid} ${signal}`);
}

export function release(pid: number): void {
  if (shell) tell(`release ${pid}`);
}
