/**
 * The migrations of a folder, and what of them has run: told apart by `when`, held against each
 * other by their SHA-256. Every server must run the same statements in the same order. Therefore a
 * journal without a clear order is refused, and so is a migration that was changed after it ran. A
 * server that is made anew would run something else.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import { z } from 'zod';
import { messageOf, NamedError } from '../errors.js';
import { transactionControlIn } from './migration-text.js';

/** One file of drizzle-kit. */
export interface Migration {
  readonly tag: string;
  /**
   * Milliseconds since the Unix epoch, as the journal says; they order the migrations, and tell
   * them apart.
   */
  readonly when: number;
  /** SHA-256 of the file. */
  readonly hash: string;
  readonly statements: readonly string[];
}

/** What the database says of a migration that has run. */
export interface DoneMigration {
  readonly when: number;
  readonly hash: string;
}

/**
 * The journal does not say which migrations come in which order, or another order than that in
 * which they ran.
 */
export class MigrationJournalError extends NamedError {
  readonly code = 'MIGRATION_JOURNAL';
}

/** A migration is another one than the one that ran under its name. */
export class MigrationChangedError extends NamedError {
  readonly code = 'MIGRATION_CHANGED';
}

/** A migration would begin or end the transaction that all of them run in. */
class MigrationTransactionError extends NamedError {
  readonly code = 'MIGRATION_TRANSACTION';
}

const journal = z.object({ entries: z.array(z.object({ tag: z.string(), when: z.number().int().positive() })) });

/**
 * Where the migrations of one version are: those of a folder, up to the one with this tag, or all.
 */
export interface MigrationSource {
  readonly folder: string;
  readonly last?: string | undefined;
}

/**
 * In their order.
 * @throws MigrationJournalError when the folder has none, or not the last one, or when a later one
 *   has no larger `when`. MigrationTransactionError when one of them would begin or end a
 *   transaction.
 */
export function migrationsOf({ folder, last }: MigrationSource): Migration[] {
  const all = readMigrations(folder);
  if (last === undefined) return all;
  const at = all.findIndex(({ tag }) => tag === last);
  if (at >= 0) return all.slice(0, at + 1);
  throw new MigrationJournalError(
    `meta/_journal.json of ${folder} has no migration ${last}, which "lastMigration" names`,
  );
}

/** All of a folder. @throws MigrationJournalError, MigrationTransactionError */
export function readMigrations(folder: string): Migration[] {
  const migrations = readFiles(folder);
  for (const { tag, statements } of migrations) {
    for (const statement of statements) {
      const word = transactionControlIn(statement);
      if (word === undefined) continue;
      throw new MigrationTransactionError(
        `migration ${tag} of ${folder} has the statement "${word}": take it out, since all migrations of a version run in one transaction`,
      );
    }
  }
  return migrations;
}

function readFiles(folder: string): Migration[] {
  const { entries } = readJournal(folder);
  for (const [at, { tag, when }] of entries.entries()) {
    const before = entries[at - 1];
    if (before === undefined || before.when < when) continue;
    throw new MigrationJournalError(
      `migration ${tag} of ${folder} comes after ${before.tag}, but its "when" (${when}) is not larger (${before.when}). ` +
        'Correct meta/_journal.json: each "when" must be larger than the one before',
    );
  }
  try {
    return readMigrationFiles({ migrationsFolder: folder }).map(({ sql, hash }, at) => {
      const { tag = '', when = 0 } = entries[at] ?? {};
      return { tag, when, hash, statements: sql };
    });
  } catch (cause) {
    throw new MigrationJournalError(messageOf(cause), { cause });
  }
}

function readJournal(folder: string): z.output<typeof journal> {
  const path = join(folder, 'meta', '_journal.json');
  try {
    return journal.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : cause instanceof Error ? cause.message : cause;
    throw new MigrationJournalError(`${path} is no journal of migrations: ${why}`, { cause });
  }
}

/**
 * Those that have not run yet. `isOlder`: the database may have been opened with later ones, which
 * are left alone.
 * @throws MigrationChangedError, MigrationJournalError when what has run is not the beginning of
 *   `migrations`.
 */
export function missingMigrations(
  migrations: readonly Migration[],
  done: readonly DoneMigration[],
  { isOlder }: { readonly isOlder: boolean },
): Migration[] {
  const byWhen = new Map(migrations.map((one) => [one.when, one]));
  const newest = migrations[migrations.length - 1]?.when ?? 0;
  for (const { when, hash } of done) {
    const found = byWhen.get(when);
    if (found === undefined) {
      if (!isOlder || when < newest) throw unknownMigration(migrations, when, hash);
    } else if (found.hash !== hash) {
      throw new MigrationChangedError(
        `migration ${found.tag} was changed after it ran: put back the file that ran, and write the change as a new migration`,
      );
    }
  }
  const ran = new Set(done.map(({ when }) => when));
  const missing = migrations.filter(({ when }) => !ran.has(when));
  const last = Math.max(0, ...ran);
  const late = missing.find(({ when }) => when < last);
  if (late !== undefined && !isOlder) throw lateMigration(late, byWhen.get(last));
  return missing.filter(({ when }) => when > last);
}

function unknownMigration(migrations: readonly Migration[], when: number, hash: string): MigrationJournalError {
  const moved = migrations.find((one) => one.hash === hash);
  if (moved !== undefined) {
    return new MigrationJournalError(
      `migration ${moved.tag} ran when its "when" was ${when}; meta/_journal.json now says ${moved.when}: put back ${when}`,
    );
  }
  return new MigrationJournalError(
    `the database has run a migration (its "when" is ${when}) that meta/_journal.json does not have: ` +
      'start the state machine that has it',
  );
}

function lateMigration(late: Migration, last: Migration | undefined): MigrationJournalError {
  return new MigrationJournalError(
    `migration ${late.tag} has not run, but ${last?.tag}, which comes after it, has. ` +
      'Move it to the end of meta/_journal.json, with a "when" that is larger than all others',
  );
}
