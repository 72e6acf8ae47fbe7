/** What may come next on a command line of `craft`: for the completion of shells. Pure. */
import type { Argument, Command, Option } from 'commander';

export interface Candidate {
  readonly word: string;
  readonly description: string;
}

export interface Completion {
  readonly candidates: readonly Candidate[];
  /** The name of a command or a query of the cluster belongs here. */
  readonly names?: 'commands' | 'queries' | 'both';
}

/** Commands whose first argument is a name that the cluster knows. */
const NAMED: Readonly<Record<string, Completion['names']>> = { cmd: 'commands', query: 'queries', commands: 'both' };

/**
 * @param words what stands behind `craft`, up to the cursor; the last one is the word to complete,
 *   and may be empty
 */
export function complete(program: Command, words: readonly string[]): Completion {
  const before = words.slice(0, -1);
  const word = words[words.length - 1] ?? '';
  let command = program;
  let argumentsGiven = 0;
  let pending: Option | undefined;
  for (const one of before) {
    if (pending !== undefined) {
      pending = undefined;
    } else if (one.startsWith('-') && one !== '-') {
      const option = optionsOf(command).find(({ short, long }) => one === short || one === long);
      if (option !== undefined && (option.required || option.optional)) pending = option;
    } else {
      const found = command.commands.find((sub) => sub.name() === one);
      if (found === undefined) argumentsGiven += 1;
      else command = found;
    }
  }
  return narrowed(next(command, pending, argumentsGiven, word), word);
}

function next(command: Command, pending: Option | undefined, argumentsGiven: number, word: string): Completion {
  if (pending?.required) return { candidates: choices(pending) };
  if (word.startsWith('-')) {
    const flags = optionsOf(command).filter(({ hidden }) => !hidden);
    return { candidates: flags.map(({ long, short, description }) => ({ word: long ?? short ?? '', description })) };
  }
  const below = command.createHelp().visibleCommands(command);
  const argument = command.registeredArguments[argumentsGiven];
  const candidates = [
    ...below.map((one) => ({ word: one.name(), description: one.description() })),
    ...(argument === undefined ? [] : choices(argument)),
  ];
  const names = argumentsGiven === 0 ? NAMED[command.name()] : undefined;
  return names === undefined ? { candidates } : { candidates, names };
}

/** Also those of the commands above, which count at each place. */
function optionsOf(command: Command): readonly Option[] {
  const own = command.createHelp().visibleOptions(command);
  return command.parent === null ? own : [...own, ...optionsOf(command.parent)];
}

function choices({ argChoices, description }: Option | Argument): Candidate[] {
  return (argChoices ?? []).map((word) => ({ word, description }));
}

function narrowed({ candidates, ...rest }: Completion, start: string): Completion {
  const seen = new Set<string>();
  const fitting = candidates.filter(({ word }) => word.startsWith(start) && !seen.has(word) && seen.add(word));
  return { candidates: fitting, ...rest };
}
