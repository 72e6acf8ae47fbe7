/** `craft machine`. */
import type { Command } from 'commander';
import { examples, integer, jsonOption, listing, print, waitOption, withSession } from '../kit.js';
import { withProgress } from '../progress.js';
import { machineTable } from '../table.js';

/** Every server runs the migrations of the version (milliseconds). */
const SWITCH_MS = 600_000;

export function addMachine(program: Command): void {
  const machine = program
    .command('machine')
    .description('show the versions of the state machine, and switch to another one')
    .addHelpText('after', examples('craft machine status', 'craft machine switch 2'));
  machine
    .command('status')
    .description('list the versions that each server has loaded, and the one in force, with fingerprints of their code')
    .addOption(jsonOption())
    .action(
      listing(program, machineTable, async (session, show) =>
        (await import('../machine.js')).machineStatus(session, show),
      ),
    );
  machine
    .command('switch')
    .description('switch all servers to another version, at one place in the log')
    .argument('<version>', 'every member must have loaded it', integer(1))
    .addOption(waitOption('for all of it', SWITCH_MS))
    .action((version: number, options: { wait: number }) =>
      withSession(program, async (session) => {
        const { switchMachine } = await import('../machine.js');
        const switching = () => switchMachine(session, version, options.wait, print);
        await withProgress(`switching to version ${version}`, switching);
      }),
    );
}
