/** Makes a database ready for an engine: its tables, the machine's, and whose state it is. */

import { OtherClusterError } from '../../../shared/config/other-cluster.js';
import { ENGINE_MIGRATIONS, migrationsFolder } from '../../../shared/engine/engine-migrations.js';
import { DamagedError, OtherMachineError } from '../../../shared/engine/port.js';
import type { MachineVersion } from '../../../shared/engine/state-machine.js';
import { requireDeterminism } from '../../../shared/postgres/determinism.js';
import { Connection } from './connection.js';
import type { MachineVersions } from './machine-versions.js';
import { MACHINE_MIGRATIONS, migrate } from './migrate.js';
import { KEEP_OWNERS, readPosition } from './position.js';
import { recordNewSequences } from './sequences.js';
import {
  KEEP_SCHEMAS,
  NO_TIMEOUTS,
  NO_TRANSACTION_TIMEOUT,
  PLAIN_FORMS,
  PLAIN_SETTINGS,
  PRESET_SCHEMAS,
} from './settings.js';
import { ensurePosition, kvTableOf, listTablesOnce, requireTables } from './state-tables.js';
import type { Transaction } from './transaction.js';

export interface Prepared {
  /** The state's schemas, as SQL has them. */
  readonly path: string;
  /** The table kv of the built-in machine, qualified. */
  readonly kvTable: string;
  /** The tables that are missing, if any. */
  readonly damage: DamagedError | undefined;
}

export interface PrepareOptions {
  readonly databaseUrl: string;
  readonly server: string;
  /** The name of the cluster; '' when any will do. */
  readonly cluster: string;
}

/** Excludes others that open the same database. */
const BEGIN_MIGRATING = `begin isolation level read committed; ${NO_TIMEOUTS}; lock table craft.${ENGINE_MIGRATIONS} in exclusive mode`;

/**
 * Runs the migrations that are missing, the engine's and those of the version in force. On a
 * session of its own: a migration may leave settings behind.
 *
 * @throws OtherClusterError, OtherMachineError before any migration of the machine has run
 */
export async function prepareDatabase(options: PrepareOptions, versions: MachineVersions): Promise<Prepared> {
  const { databaseUrl: url, server, cluster } = options;
  const { scope } = versions;
  const connection = new Connection({ url, name: `craft migrations ${server}` });
  const engine = { folder: migrationsFolder() };
  try {
    await migrate(connection, engine, ENGINE_MIGRATIONS);
    const machine = await connection.transaction(
      `${BEGIN_MIGRATING}; ${NO_TRANSACTION_TIMEOUT}; ${PLAIN_FORMS}; ${PRESET_SCHEMAS}`,
      async (transaction) => {
        await ensurePosition(transaction, scope, [engine]);
        return keepOwners(transaction, versions.name, cluster);
      },
    );
    const [, own] = versions.sourcesOf(machine.version);
    if (own !== undefined) await migrate(connection, own, MACHINE_MIGRATIONS);
    const tables = await connection.transaction(`${BEGIN_MIGRATING}; ${PLAIN_SETTINGS}`, async (transaction) => {
      const [kept] = await transaction.run(KEEP_SCHEMAS, []);
      await listTablesOnce(transaction, scope);
      const kvTable = await kvTableOf(transaction);
      if (scope === 'search-path') {
        await requireDeterminism(transaction);
        await recordNewSequences(transaction);
      }
      return { path: String(kept?.[0] ?? 'public'), kvTable };
    });
    return { ...tables, damage: await findDamage(connection) };
  } finally {
    await connection.close();
  }
}

/**
 * The state is this cluster's and this machine's from now on. @throws OtherClusterError,
 * OtherMachineError when it is another one's.
 */
async function keepOwners(transaction: Transaction, name: string, given: string): Promise<MachineVersion> {
  const { machine, cluster } = readPosition(await transaction.run(KEEP_OWNERS, [name, given]));
  if (given !== '' && cluster !== undefined && cluster !== given) {
    const wayOut = `give another database, or make it this cluster's: update craft.position set cluster = '${given}'`;
    throw new OtherClusterError('the database', cluster, given, wayOut);
  }
  if (machine?.name !== name) throw new OtherMachineError(machine?.name ?? '', name);
  return machine;
}

async function findDamage(connection: Connection): Promise<DamagedError | undefined> {
  try {
    await requireTables(connection);
    return undefined;
  } catch (error) {
    if (error instanceof DamagedError) return error;
    throw error;
  }
}
