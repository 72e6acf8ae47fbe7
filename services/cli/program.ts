/** The commands and options of `craft`. */
import { Command, Option } from 'commander';
import { VERSION } from '../../shared/config/version.js';
import { addCalls } from './commands/calls.js';
import { addCluster } from './commands/cluster.js';
import { addCompletion } from './commands/completion.js';
import { addContext } from './commands/context.js';
import { addDev } from './commands/dev.js';
import { addDoctor } from './commands/doctor.js';
import { addInit } from './commands/init.js';
import { addMachine } from './commands/machine.js';
import { addMembers } from './commands/members.js';
import { addNatsConfig } from './commands/nats-config.js';
import { addRecover } from './commands/recover.js';
import { addSnapshots } from './commands/snapshots.js';
import { examples, inboxPrefix, integer, preferredServer } from './kit.js';

const EXIT_CODES = `Exit codes:
  0  done
  1  refused or unavailable: nothing was executed
  2  wrong usage
  3  the outcome is unknown: repeat with the same --id
Those of craft status and craft doctor say how bad it is: see their --help`;

const ADDS = [
  addCalls,
  addCluster,
  addDoctor,
  addRecover,
  addMachine,
  addMembers,
  addSnapshots,
  addContext,
  addCompletion,
  addDev,
  addInit,
  addNatsConfig,
];

/** All commands, none of them run. Wrong usage throws. */
export function createProgram(): Command {
  const program = new Command('craft');
  program
    .description('A client for a craft cluster')
    .version(VERSION)
    .addOption(new Option('--nats <urls>', 'NATS servers').env('CRAFT_NATS_URL').default('nats://127.0.0.1:4222'))
    .addOption(new Option('--creds <file>', 'NATS credentials file').env('CRAFT_NATS_CREDS'))
    .addOption(new Option('--nkey <file>', 'file with the seed of a NATS NKey').env('CRAFT_NATS_NKEY'))
    .addOption(new Option('--tls-ca <file>', 'authority of the certificates of NATS').env('CRAFT_NATS_TLS_CA'))
    .addOption(new Option('--tls-cert <file>', 'own certificate').env('CRAFT_NATS_TLS_CERT'))
    .addOption(new Option('--tls-key <file>', 'its key').env('CRAFT_NATS_TLS_KEY'))
    .addOption(
      new Option('--inbox-prefix <subject>', 'on which this user may hear answers')
        .env('CRAFT_NATS_INBOX_PREFIX')
        .argParser(inboxPrefix),
    )
    .addOption(new Option('--cluster <name>', 'name of the cluster').env('CRAFT_CLUSTER').default('craft'))
    .addOption(
      new Option('--prefer <server>', 'gets commands and queries first: its name, or nearest')
        .env('CRAFT_PREFER')
        .argParser(preferredServer),
    )
    .addOption(new Option('--context <name>', 'settings that craft context keeps').env('CRAFT_CONTEXT'))
    .option('--timeout <ms>', 'for the whole call, retries included (milliseconds)', integer(1), 10_000)
    .addHelpText(
      'after',
      `\n${EXIT_CODES}\n${examples('craft status', 'craft cmd kv.put \'{"key":"a","value":1}\'', 'craft log --follow')}`,
    );

  for (const add of ADDS) add(program);
  endByThrowing(program);
  return program;
}

/** Also all subcommands: wrong usage has an exit code of its own. */
function endByThrowing(command: Command): void {
  command.exitOverride();
  for (const one of command.commands) endByThrowing(one);
}
