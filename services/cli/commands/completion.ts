/**
 * `craft completion`: scripts for shells; they ask the hidden `craft complete` what may come next.
 */
import { Argument, type Command } from 'commander';
import { type Candidate, type Completion, complete } from '../completion.js';
import { print, withSession } from '../kit.js';
import type { GlobalOptions } from '../session.js';

/** A person waits for it (milliseconds). */
const NAMES_MS_MAX = 1_000;

/** Each shows files where `craft complete` knows nothing. */
const SCRIPTS = {
  bash: `_craft() {
  local IFS=$'\\n'
  COMPREPLY=($(craft complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _craft craft`,
  zsh: `#compdef craft
_craft() {
  local -a found
  found=("\${(@f)$(craft complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then
    found=("\${(@)found//$'\\t'/:}")
    _describe craft found
  else
    _files
  fi
}
compdef _craft craft`,
  fish: `function __craft_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (craft complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c craft -f -a '(__craft_complete)'`,
} as const;

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print the script that completes craft in a shell')
    .addArgument(new Argument('<shell>').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      `
To use it now and from now on:
  bash: echo 'source <(craft completion bash)' >> ~/.bashrc
  zsh:  echo 'source <(craft completion zsh)' >> ~/.zshrc    (after compinit)
  fish: craft completion fish > ~/.config/fish/completions/craft.fish`,
    )
    .action((shell: keyof typeof SCRIPTS) => print(SCRIPTS[shell]));
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .allowUnknownOption()
    .action(async (words: string[]) => {
      const { candidates, names } = complete(program, words);
      const all = names === undefined ? candidates : [...candidates, ...(await namesOf(program, names, words.at(-1)))];
      for (const { word, description } of all) print(`${word}\t${description}`);
    });
}

/** Names that the cluster knows; none when it cannot be asked. */
async function namesOf(
  program: Command,
  which: NonNullable<Completion['names']>,
  start = '',
): Promise<readonly Candidate[]> {
  const found: Candidate[] = [];
  try {
    program.setOptionValueWithSource('timeout', Math.min(program.opts<GlobalOptions>().timeout, NAMES_MS_MAX), 'cli');
    await withSession(program, async ({ client }) => {
      const { commands, queries } = await client.describe();
      const named = (calls: object, description: string) => Object.keys(calls).map((word) => ({ word, description }));
      if (which !== 'queries') found.push(...named(commands, 'command'));
      if (which !== 'commands') found.push(...named(queries, 'query'));
    });
  } catch {
    return [];
  }
  return found.filter(({ word }) => word.startsWith(start));
}
