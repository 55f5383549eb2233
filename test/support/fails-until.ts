/** Tests of a later issue: they run, are reported as pending while they fail, and fail once they pass. */
import { type Context, it, type Test } from "mocha";

/**
 * Declares a test that fails until an issue is solved. While it fails, mocha reports it as pending, with the issue in
 * its title. Once it passes, it fails with the request to remove the mark. A failing hook fails as usual.
 *
 * @param issue - the issue that makes the test pass, as "issue 15"
 * @returns the test, like `it`
 */
export function failsUntil(issue: string, title: string, body: (this: Context) => unknown): Test {
  return it(`${title} (fails until ${issue})`, async function () {
    const failure = await failureOf(this, body);
    if (failure === undefined) {
      throw new Error(`passes now: replace failsUntil("${issue}", ...) by it(...)`);
    }
    // The test skipped itself; it did not fail.
    if (this.test?.isPending() === true) throw failure.error;
    console.log(`      fails until ${issue}: ${String(failure.error).split("\n", 1)[0]}`);
    this.skip();
  });
}

/** The test's error, including a time-out; undefined if it passes. */
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
