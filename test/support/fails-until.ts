/** Tests that wait for a later issue: they run, are reported as pending while they fail, and turn red once they pass. */
import { type Context, it, type Test } from "mocha";

/**
 * Declares a test that fails until the issue is solved. While it fails, mocha reports it as pending, with the issue in
 * its title; once it passes, it fails with the request to remove the mark. A failing hook is red as everywhere.
 *
 * @param issue - the issue that makes the test pass, as "issue 15"
 * @returns the test, as `it` does
 */
export function failsUntil(issue: string, title: string, body: (this: Context) => unknown): Test {
  return it(`${title} (fails until ${issue})`, async function () {
    const failure = await failureOf(this, body);
    if (failure === undefined) {
      throw new Error(`passes now: replace failsUntil("${issue}", ...) by it(...)`);
    }
    // Skipped by the test itself, not failed.
    if (this.test?.isPending() === true) throw failure.error;
    console.log(`      fails until ${issue}: ${String(failure.error).split("\n", 1)[0]}`);
    this.skip();
  });
}

/** What the test fails with, a timeout included; undefined when it passes. */
async function failureOf(
  context: Context,
  body: (this: Context) => unknown,
): Promise<{ readonly error: unknown } | undefined> {
  const timeoutMs = context.timeout();
  // Mocha's own timer would report the test as failed.
  context.timeout(0);
  const { promise: late, reject } = Promise.withResolvers<never>();
  const giveUp = () => reject(new Error(`no end within ${timeoutMs / 1000} s`));
  const timer = timeoutMs > 0 ? setTimeout(giveUp, timeoutMs) : undefined;
  try {
    await Promise.race([Promise.resolve().then(() => body.call(context)), late]);
    return undefined;
  } catch (error) {
    return { error };
  } finally {
    clearTimeout(timer);
  }
}
