/** Queries of a user's machine. */

import { asHandler } from '../../../shared/engine/handler-context.js';
import { rejectOf } from '../../../shared/engine/state-machine.js';
import { CraftError } from '../../../shared/wire/errors.js';
import type { Connection } from './connection.js';
import { drizzleOf } from './drizzle.js';
import type { Machine } from './handler-batch.js';
import { READ_POSITION, SHARE_STATE } from './position.js';
import type { Rows } from './rows.js';
import { inSchemas, NO_TIMEOUTS, NO_TRANSACTION_TIMEOUT, PLAIN_FORMS } from './settings.js';
import { describeFailure, describeRejection, isDeterministic, isEnvironment, isReadOnly } from './sqlstate.js';

const BEGIN_QUERY = `begin isolation level repeatable read read only; ${NO_TIMEOUTS}; ${SHARE_STATE}; ${NO_TRANSACTION_TIMEOUT}; ${PLAIN_FORMS}`;

/**
 * One state of the tables for all statements of a query, and no way to change them. `require`
 * throws when that state will not do.
 */
export async function queryMachine(
  connection: Connection,
  machine: Machine,
  name: string,
  input: unknown,
  path: string,
  require: (position: Rows) => void,
): Promise<unknown> {
  return connection.transaction(`${BEGIN_QUERY}; ${inSchemas(path)}`, async (transaction) => {
    require(await transaction.run(READ_POSITION, []));
    return asHandler(name, () => machine.queries[name]?.handle(drizzleOf(transaction), input));
  });
}

/**
 * What the client is told of an error of a query; the error itself when it is the environment's.
 */
export function queryFailure(error: unknown): unknown {
  // A query that tries to write has a defect: its transaction may only read.
  if (isEnvironment(error) && !isReadOnly(error)) return error;
  const reject = rejectOf(error);
  if (reject !== undefined) return new CraftError('REJECTED', reject.message, { cause: error });
  // What the data refuses is the input's fault, and no fault of the database.
  if (isDeterministic(error)) return new CraftError('INVALID_ARGUMENT', describeRejection(error), { cause: error });
  return new CraftError('INTERNAL', describeFailure('query', error), { cause: error });
}
