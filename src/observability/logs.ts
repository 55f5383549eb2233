/** Logs through winston to standard error: JSON lines, or short lines for a terminal. */
import winston from "winston";
import type { LogFields, Logger } from "../runtime/logger.ts";

const fieldText = (value: unknown): string =>
  typeof value === "string" && !/[\s"]/.test(value) ? value : JSON.stringify(value);

function prettyLine(info: winston.Logform.TransformableInfo): string {
  const { level, message, timestamp, ...fields } = info;
  const tail = Object.entries(fields).map(([name, value]) => ` ${name}=${fieldText(value)}`);
  return `${String(timestamp).slice(11, 23)} ${level.padEnd(5)} ${String(message)}${tail.join("")}`;
}

/** Errors in fields would be serialised as {}. */
const readable = (fields: LogFields | undefined): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields ?? {}).map(([name, value]) => [
      name,
      value instanceof Error ? (value.stack ?? value.message) : value,
    ]),
  );

/** A logger that writes lines of the level and above. */
export function createLogger(level: string, format: "json" | "pretty"): Logger {
  const logger = winston.createLogger({
    level,
    format: winston.format.combine(
      winston.format.timestamp(),
      format === "json" ? winston.format.json() : winston.format.printf(prettyLine),
    ),
    transports: [
      new winston.transports.Console({ stderrLevels: ["error", "warn", "info", "debug"] }),
    ],
  });
  const write = (name: string) => (message: string, fields?: LogFields) => {
    logger.log(name, message, readable(fields));
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}
