/** `craft init`. */
import type { Command } from 'commander';
import { init } from '../init.js';
import { examples, print } from '../kit.js';

export function addInit(program: Command): void {
  program
    .command('init')
    .description('write a project with a state machine of its own, a test and a client')
    .argument('<folder>', 'a new folder; its last part is the name of the project')
    .option('--craft <source>', 'where npm gets craft from, as in package.json; default: this installation')
    .addHelpText('after', examples('craft init bank', 'craft init ../orders'))
    .action((folder: string, options: { craft?: string }) => init({ folder, ...options, print }));
}
