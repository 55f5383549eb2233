/** A program that logs more than a pipe holds and then ends for a reason: last-words-fixture.ts rejects|fails. */
import { writeSync } from "node:fs";
import { exitWhenLogged, loggedProcess } from "../../../src/observability/flush-on-exit.ts";
import { createLogger } from "../../../src/observability/logs.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { createLifecycle } from "../../../src/runtime/lifecycle.ts";

const logger = createLogger("info", "pretty");
const lifecycle = createLifecycle({ clock: systemClock, logger, process: loggedProcess });
lifecycle.add({
  name: "talker",
  start: async () => {
    for (let line = 0; line < 4_000; line += 1)
      logger.info("talk", { line, words: "x".repeat(80) });
    // Whoever listens may begin to: by now the pipe is full.
    writeSync(process.stdout.fd, "full\n");
    if (process.argv[2] === "fails") throw new Error("the last words");
    void Promise.reject(new Error("the last words"));
    await new Promise(() => {});
  },
});
exitWhenLogged(await lifecycle.run());
