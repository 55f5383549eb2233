/** `npm run format`: formats all TypeScript in place. */
import { run } from "./shell.ts";

process.exitCode = run("oxfmt", ["src", "test", "dev", "bench"]);
