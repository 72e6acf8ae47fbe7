/** What to do about what the database says. Pure. */

import { messageWithCause } from '../../shared/errors.js';
import { CONDITIONS } from '../../shared/health/conditions.js';
import { postgresErrorOf } from './postgres/sqlstate.js';

/** By SQLSTATE, or by its class. */
const REMEDIES: readonly (readonly [RegExp, string])[] = [
  [/^25006$/, 'make it writable: it is a standby, or default_transaction_read_only is on'],
  [/^53100$/, 'make room on the disk of Postgres'],
  [/^53300$/, 'raise max_connections of Postgres, or close other connections'],
  [/^53/, 'give Postgres more memory or disk'],
  [/^28/, 'check user and password in CRAFT_DATABASE_URL'],
  [/^3D000$/, 'create the database of CRAFT_DATABASE_URL'],
  [/^42501$/, 'give the user of CRAFT_DATABASE_URL its rights back: it must own the tables'],
  [
    /^(P0001|2[123]|44)/,
    'drop the trigger or the constraint of the database that refuses it: it is not of the state machine',
  ],
  [/^(57014|55P03|40P01)$/, CONDITIONS.applier.batch.remedy],
];

/** What the database has said, with its code, or why it says nothing. */
export function databaseWhy(error: unknown): string {
  const refusal = postgresErrorOf(error);
  if (refusal === undefined) return messageWithCause(error);
  return `the database refuses: ${refusal.message} (SQLSTATE ${refusal.code})`;
}

/** @param error what keeps the state from going on */
export function databaseRemedy(error: unknown, server: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'DAMAGED') {
    return `wait: a snapshot restores what is missing; if this lasts, take one: craft snapshot take, or run: craft rebuild ${server}`;
  }
  if (code === 'SNAPSHOT_FORMAT' || code === 'VERSION_MISSING') return 'see what the error says';
  const state = postgresErrorOf(error)?.code;
  const found = state === undefined ? undefined : REMEDIES.find(([pattern]) => pattern.test(state));
  return found?.[1] ?? CONDITIONS.applier.database.remedy;
}
