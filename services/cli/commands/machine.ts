/** `craft machine`. */
import type { Command } from 'commander';
import { examples, integer, print, waitOption, withSession } from '../kit.js';
import { machineStatus, switchMachine } from '../machine.js';

/** Every server runs the migrations of the version (milliseconds). */
const SWITCH_MS = 600_000;

export function addMachine(program: Command): void {
  const machine = program
    .command('machine')
    .description('versions of the state machine: what the servers have, and the switch')
    .addHelpText('after', examples('craft machine status', 'craft machine switch 2'));
  machine
    .command('status')
    .description(
      'the version in force and those that are loaded, with fingerprints of their code, a server a line, as JSON',
    )
    .action(() => withSession(program, (session) => machineStatus(session, print)));
  machine
    .command('switch')
    .description('have all servers go on with another version, from one place in the log')
    .argument('<version>', 'loaded by every member', integer(1))
    .addOption(waitOption('for all of it', SWITCH_MS))
    .action((version: number, options: { wait: number }) =>
      withSession(program, (session) => switchMachine(session, version, options.wait, print)),
    );
}
