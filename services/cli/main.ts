#!/usr/bin/env node
/**
 * `craft`: the command line client. Exit codes: 0 done, 1 refused or unavailable (nothing was
 * executed), 2 wrong usage, 3 the outcome is unknown (repeat with the same --id). Those of
 * `craft status` say how healthy the cluster is.
 */
import { CommanderError } from 'commander';
import { CraftError, OutcomeUnknownError } from '../../shared/client/errors.js';
import { messageOf } from '../../shared/errors.js';
import { ContextError } from './contexts.js';
import { InitError } from './init.js';
import { NatsConfigError } from './nats-files.js';
import { createProgram } from './program.js';

const EXIT = { done: 0, refused: 1, usage: 2, unknown: 3 } as const;

async function main(): Promise<number> {
  try {
    await createProgram().parseAsync();
    return EXIT.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const code = error instanceof CraftError ? `${error.code}: ` : '';
    const id = error instanceof OutcomeUnknownError && error.id !== '' ? ` (id ${error.id})` : '';
    process.stderr.write(`craft: ${code}${messageOf(error)}${id}\n`);
    if (error instanceof ContextError || error instanceof InitError || error instanceof NatsConfigError)
      return EXIT.usage;
    return error instanceof OutcomeUnknownError ? EXIT.unknown : EXIT.refused;
  }
}

// A reader that has seen enough (`craft log | head`) closes the pipe.
process.stdout.on('error', () => process.exit(EXIT.done));
const exitCode = await main();
if (exitCode !== EXIT.done) process.exitCode = exitCode;
