/** Shell completion, generated from the commands' definitions. */
import type { Command, Option } from "commander";

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

interface Suggestion {
  readonly word: string;
  readonly about: string;
}

function commandAt(program: Command, words: readonly string[]): Command {
  let current = program;
  for (const word of words) {
    const found = current.commands.find((command) => command.name() === word);
    if (found) current = found;
  }
  return current;
}

const optionsOf = (command: Command): readonly Option[] =>
  command.parent === null ? command.options : [...command.options, ...optionsOf(command.parent)];

/** The option whose value is typed. */
function openOption(command: Command, last: string | undefined): Option | undefined {
  if (last === undefined || !last.startsWith("-")) return undefined;
  return optionsOf(command).find(
    ({ short, long, required, optional }) =>
      (short === last || long === last) && (required || optional),
  );
}

function argumentChoices(command: Command): Suggestion[] {
  return command.registeredArguments.flatMap(({ argChoices = [], description }) =>
    argChoices.map((word) => ({ word, about: description })),
  );
}

/** Candidates for the last word, which may be empty. */
export function suggestions(program: Command, words: readonly string[]): Suggestion[] {
  const typed = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  const command = commandAt(program, before);
  const open = openOption(command, before.at(-1));
  const all = open
    ? (open.argChoices ?? []).map((word) => ({ word, about: open.description }))
    : [
        ...command.commands.map((one) => ({ word: one.name(), about: one.description() })),
        ...argumentChoices(command),
        ...(typed.startsWith("-")
          ? optionsOf(command).flatMap(({ long, description }) =>
              long === undefined || long === null ? [] : [{ word: long, about: description }],
            )
          : []),
      ];
  return all.filter(({ word }) => word.startsWith(typed));
}

/** Cobra's form, which kubectl expects of its plugins: words, then a directive (4: no file names). */
export const answerText = (found: readonly Suggestion[]): string =>
  [...found.map(({ word, about }) => `${word}\t${about}`), ":4"].join("\n");

const bash = `# bash: source <(kubectl-rota completion bash)
_kubectl_rota() {
  local IFS=$'\\n'
  COMPREPLY=($(kubectl-rota __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | grep -v '^:' | cut -f1))
}
complete -o default -F _kubectl_rota kubectl-rota
`;

const zsh = `#compdef kubectl-rota
# zsh: source <(kubectl-rota completion zsh)
_kubectl_rota() {
  local -a found
  local line
  for line in "\${(@f)$(kubectl-rota __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ $line == :* ]] || found+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe 'kubectl rota' found
}
compdef _kubectl_rota kubectl-rota
`;

const fish = `# fish: kubectl-rota completion fish | source
complete -c kubectl-rota -f -a "(kubectl-rota __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null | string match -v ':*')"
`;

export const scripts: Readonly<Record<Shell, string>> = { bash, zsh, fish };
