/** Runs a command and prints its result, with --watch again after each change. */
import { connect } from "./connection.ts";
import { cliErrorOf } from "./errors.ts";
import { printableLines, structured } from "./output.ts";
import { createRotaApi } from "./rota-api.ts";
import type { GlobalOptions, Session, View } from "./session.ts";

export type Show = (session: Session) => Promise<View>;

const watchSeconds = 2;
const clearScreen = "\u001B[2J\u001B[H";

const rendered = (view: View, { output }: GlobalOptions): string =>
  output === "table" ? view.text() : structured(view.data, output);

/** Waits until the text is written: the reader of a pipe may be slow, and process.exit would cut the text off. */
export function write(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => {
    stream.write(text === "" ? "" : `${text}\n`, () => resolve());
  });
}

async function warn({ warning }: View): Promise<void> {
  if (warning !== undefined) await write(process.stderr, `warning: ${printableLines(warning)}`);
}

async function watch(session: Session, show: Show): Promise<number> {
  let shown: string | undefined;
  for (;;) {
    const view = await show(session);
    const text = rendered(view, session.options);
    if (text !== shown) {
      await write(process.stdout, `${process.stdout.isTTY ? clearScreen : ""}${text}`);
      await warn(view);
      shown = text;
    }
    await new Promise((resolve) => {
      setTimeout(resolve, watchSeconds * 1000);
    });
  }
}

/** Returns the exit status. */
export async function run(options: GlobalOptions, show: Show): Promise<number> {
  let server = options.server ?? "";
  try {
    const connection = connect(options);
    ({ server } = connection);
    const api = createRotaApi(connection, options);
    const namespace = options.namespace ?? connection.namespace;
    const session: Session = { options, connection, namespace, api };
    try {
      if (options.watch === true) return await watch(session, show);
      const view = await show(session);
      await write(process.stdout, rendered(view, options));
      await warn(view);
      return view.exitCode ?? 0;
    } finally {
      await Promise.all([api.close(), connection.client.close()]);
    }
  } catch (error) {
    const problem = cliErrorOf(error, server);
    await write(process.stderr, `error: ${printableLines(problem.message)}`);
    return problem.exitCode;
  }
}
