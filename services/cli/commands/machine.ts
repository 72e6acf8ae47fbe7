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
    .description('versions of the state machine: what the servers have, and the switch')
    .addHelpText('after', examples('craft machine status', 'craft machine switch 2'));
  machine
    .command('status')
    .description('for each server the version in force and those that are loaded, with fingerprints of their code')
    .addOption(jsonOption())
    .action(
      listing(program, machineTable, async (session, show) =>
        (await import('../machine.js')).machineStatus(session, show),
      ),
    );
  machine
    .command('switch')
    .description('have all servers go on with another version, from one place in the log')
    .argument('<version>', 'loaded by every member', integer(1))
    .addOption(waitOption('for all of it', SWITCH_MS))
    .action((version: number, options: { wait: number }) =>
      withSession(program, async (session) => {
        const { switchMachine } = await import('../machine.js');
        const switching = () => switchMachine(session, version, options.wait, print);
        await withProgress(`switching to version ${version}`, switching);
      }),
    );
}
