/**
 * mocha's usual report, which also adds the titles and errors of failed tests to the file that ROTA_FAILED_TESTS names: of
 * a long run the output is often cut, so `npm test` repeats them at its end.
 */
import { appendFileSync } from "node:fs";
import Mocha from "mocha";

/** Of an error's message; a counterexample of a random test may be very long. */
const maxMessageLength = 2000;

export default class SpecReporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const file = process.env["ROTA_FAILED_TESTS"];
    if (file === undefined) return;
    runner.on("fail", (test: Mocha.Runnable, { message, stack }: Error) => {
      const text = (stack ?? message).slice(0, maxMessageLength);
      appendFileSync(file, `${test.fullTitle()}\n${text}\n\n`);
    });
  }
}
