/** A program with one component that never stops: lifecycle-fixture.ts [reject]. Prints "up" when it runs. */
import { systemClock } from "../../../src/runtime/clock.ts";
import { createLifecycle } from "../../../src/runtime/lifecycle.ts";

const say = (message: string, fields: object = {}): void =>
  console.log(`${message} ${JSON.stringify(fields)}`);
const logger = { debug: say, info: say, warn: say, error: say };
const lifecycle = createLifecycle({ clock: systemClock, logger, graceSeconds: 60 });
const keepAlive = setInterval(() => {}, 1000);
lifecycle.add({ name: "stuck", stop: () => new Promise(() => {}) });
lifecycle.add({
  name: "last",
  start: () => {
    if (process.argv[2] === "reject") void Promise.reject(new Error("nobody caught this"));
    else say("up");
  },
});
process.exitCode = await lifecycle.run();
clearInterval(keepAlive);
