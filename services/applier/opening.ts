/** Why a database cannot be opened, in one line for the operator. */

import { migrationsFolder } from '../../shared/engine/engine-migrations.js';
import { readMigrations } from '../../shared/engine/migrations.js';
import { messageOf, NamedError } from '../../shared/errors.js';
import { ConnectionLostError } from './postgres/connection.js';
import { postgresErrorOf } from './postgres/sqlstate.js';

/** There is no database that answers, or it refuses. */
export class DatabaseError extends NamedError {
  readonly code = 'DATABASE';
}

/** A migration fails; nothing of it has been kept. */
export class MigrationError extends NamedError {
  readonly code = 'MIGRATION';
}

export interface OpenedMachine {
  readonly name: string;
  /** Folder of its migrations. */
  readonly migrations?: string;
}

/**
 * What the opening of the engine has rejected with, in words; what is no error of the database
 * stays as it is.
 */
export function explainOpening(error: unknown, server: string, machine: OpenedMachine): unknown {
  if (error instanceof ConnectionLostError) {
    return new DatabaseError(`the database of server ${server} does not answer: ${reasonOf(error.cause ?? error)}`, {
      cause: error,
    });
  }
  const refusal = postgresErrorOf(error);
  if (refusal === undefined) return error;
  const why = `${refusal.message} (SQLSTATE ${refusal.code})`;
  // The driver keeps the statement on each error, where it is not enumerated.
  const { query } = refusal as { query?: string };
  const migration = query === undefined ? undefined : migrationWith(query, machine);
  if (migration !== undefined) return new MigrationError(`migration ${migration} failed: ${why}`, { cause: error });
  return new DatabaseError(`the database of server ${server} refuses: ${why}`, { cause: error });
}

/** The migration that has this statement. */
function migrationWith(statement: string, { name, migrations }: OpenedMachine): string | undefined {
  const own = migrations === undefined ? undefined : tagOf(migrations, statement);
  if (own !== undefined) return `${own} of state machine ${name}`;
  const engine = tagOf(migrationsFolder(), statement);
  return engine === undefined ? undefined : `${engine} of the engine`;
}

function tagOf(folder: string, statement: string): string | undefined {
  return readMigrations(folder).find(({ statements }) => statements.includes(statement))?.tag;
}

/** Of an address with several ways to it, Node says only something about each. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return reasonOf(error.errors[0]);
  const refusal = postgresErrorOf(error);
  if (refusal !== undefined) return `${refusal.message} (SQLSTATE ${refusal.code})`;
  return messageOf(error);
}
