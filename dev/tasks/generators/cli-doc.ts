/** Makes docs/reference/cli.md from the plugin's own definitions. */
import type { Argument, Command, Option } from "commander";
import { exitCodes } from "../../../src/cli/errors.ts";
import { createProgram } from "../../../src/cli/program.ts";
import type { GeneratedFile } from "./types.ts";

const cell = (text: string): string => text.replaceAll("|", String.raw`\|`);

const choicesText = (choices: readonly string[] | undefined): string =>
  choices === undefined ? "" : `; ${choices.join(", ")}`;

const defaultText = (value: unknown): string =>
  value === undefined ? "" : `; default ${JSON.stringify(value)}`;

const optionRow = ({ flags, description, argChoices, defaultValue }: Option): string =>
  `| \`${flags}\` | ${cell(description + choicesText(argChoices) + defaultText(defaultValue))} |`;

const argumentRow = (argument: Argument): string => {
  const name = argument.required ? `<${argument.name()}>` : `[${argument.name()}]`;
  const { description, argChoices, defaultValue } = argument;
  return `| \`${name}\` | ${cell(description + choicesText(argChoices) + defaultText(defaultValue))} |`;
};

function commandText(command: Command, path: string): string[] {
  const name = `${path} ${command.name()}`;
  if (command.commands.length > 0) {
    return command.commands.flatMap((inner) => commandText(inner, name));
  }
  const words = command.registeredArguments.map((one) =>
    one.required ? `<${one.name()}>` : `[${one.name()}]`,
  );
  const rows = [...command.registeredArguments.map(argumentRow), ...command.options.map(optionRow)];
  const table = rows.length === 0 ? [] : ["", "| | |", "|---|---|", ...rows];
  return [`### ${[name, ...words].join(" ")}`, "", `${command.description()}.`, ...table, ""];
}

const meanings: Readonly<Record<keyof typeof exitCodes, string>> = {
  failed: "something went wrong; `can`: no",
  usage: "the command is not written as it should be",
  unreachable: "the cluster or the operator does not answer",
  notPermitted: "you may not",
  notFound: "there is no such thing, or you may not know of it",
};

export function generateCliDoc(): Promise<readonly GeneratedFile[]> {
  const program = createProgram(() => undefined);
  const codes = Object.entries(exitCodes).map(
    ([name, code]) => `| ${code} | ${meanings[name as keyof typeof exitCodes]} |`,
  );
  const content = [
    "# kubectl rota",
    "",
    "Generated from src/cli by `npm run docs`; do not edit. A tour with real output: [Asking Rota](../asking.md).",
    "",
    "## Options of every command",
    "",
    "| | |",
    "|---|---|",
    ...program.options.map(optionRow),
    "",
    "Colours are for terminals only; `NO_COLOR` switches them off.",
    "",
    "## Commands",
    "",
    ...program.commands.flatMap((command) => commandText(command, "kubectl rota")),
    "## Exit status",
    "",
    "| status | meaning |",
    "|---|---|",
    "| 0 | it worked; `can`: yes |",
    ...codes,
    "",
  ].join("\n");
  return Promise.resolve([{ path: "docs/reference/cli.md", content }]);
}
