/** The help of every command fits into a terminal of 80 columns. */
import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { createProgram } from '../../../services/cli/program.js';

/** As `--help` prints it. */
function helpOf(command: Command): string {
  const said: string[] = [];
  command.configureOutput({ writeOut: (text) => void said.push(text), getOutHelpWidth: () => 80 });
  command.outputHelp();
  return said.join('');
}

const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];

it('the help of every command has lines of 80 columns at most', () => {
  const commands = all(createProgram());
  expect(commands.length).toBeGreaterThan(25);
  const wide = commands.flatMap((command) =>
    helpOf(command)
      .split('\n')
      .filter((line) => line.length > 80)
      .map((line) => `${command.name()}: ${line}`),
  );
  expect(wide).toEqual([]);
});
