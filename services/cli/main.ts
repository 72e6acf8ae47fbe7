#!/usr/bin/env node
/**
 * `craft`: the command line client. Exit codes: 0 done, 1 refused or unavailable (nothing was executed), 2 wrong usage, 3 the outcome is
 * unknown (repeat with the same --id). Those of `craft status` say how healthy the cluster is.
 */
import { Command, CommanderError, Option } from 'commander';
import { CraftError, OutcomeUnknownError } from '../../shared/client/index.js';
import { VERSION } from '../../shared/config/version.js';
import { addCalls } from './commands/calls.js';
import { addCluster } from './commands/cluster.js';
import { addCompletion } from './commands/completion.js';
import { addContext } from './commands/context.js';
import { addDev } from './commands/dev.js';
import { addInit } from './commands/init.js';
import { addMachine } from './commands/machine.js';
import { addMembers } from './commands/members.js';
import { addNatsConfig } from './commands/nats-config.js';
import { addRecover } from './commands/recover.js';
import { addSnapshots } from './commands/snapshots.js';
import { ContextError } from './contexts.js';
import { InitError } from './init.js';
import { examples, inboxPrefix, integer } from './kit.js';
import { NatsConfigError } from './nats-files.js';

const EXIT = { done: 0, refused: 1, usage: 2, unknown: 3 } as const;

const EXIT_CODES = `Exit codes:
  0  done
  1  refused or unavailable: nothing was executed
  2  wrong usage
  3  the outcome is unknown: repeat with the same --id
Those of craft status say how healthy the cluster is: craft status --help`;

const ADDS = [
  addCalls,
  addCluster,
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

function createProgram(): Command {
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

async function main(): Promise<number> {
  try {
    await createProgram().parseAsync();
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const code = error instanceof CraftError ? `${error.code}: ` : '';
    const id = error instanceof OutcomeUnknownError && error.id !== '' ? ` (id ${error.id})` : '';
    process.stderr.write(`craft: ${code}${error instanceof Error ? error.message : String(error)}${id}\n`);
    if (error instanceof ContextError || error instanceof InitError || error instanceof NatsConfigError)
      return EXIT.usage;
    return error instanceof OutcomeUnknownError ? EXIT.unknown : EXIT.refused;
  }
}

// A reader that has seen enough (`craft log | head`) closes the pipe.
process.stdout.on('error', () => process.exit(EXIT.done));
const exitCode = await main();
if (exitCode !== EXIT.done) process.exitCode = exitCode;
