/** Reads the state while batches go on: queries, the position, and outcomes. */

import {
  type EnginePosition,
  type KeptOutcomes,
  type OnDatabaseCall,
  VersionMissingError,
} from '../../../shared/engine/port.js';
import { validateQuery } from '../../../shared/engine/registry.js';
import type { LogIndex, MergedIndex } from '../../../shared/raft/entry.js';
import { CraftError } from '../../../shared/wire/errors.js';
import type { Machine } from './handler-batch.js';
import { kvAnswer, kvStatement } from './kv-query.js';
import type { KvSender } from './kv-sender.js';
import { queryFailure, queryMachine } from './machine-query.js';
import type { MachineVersions } from './machine-versions.js';
import { readOutcomes } from './outcomes.js';
import { isAboutState, type OwnState } from './own-state.js';
import { plainPosition, READ_POSITION, readPosition } from './position.js';
import type { QueryPool } from './query-pool.js';
import type { Rows } from './rows.js';
import { requireTables } from './state-tables.js';

export class Reads {
  constructor(
    private readonly state: OwnState,
    private readonly versions: MachineVersions,
    private readonly pool: QueryPool,
    private readonly kvSender: KvSender,
  ) {}

  async query(name: string, given: unknown, atLeast: readonly LogIndex[], onCall?: OnDatabaseCall): Promise<unknown> {
    const { state, versions } = this;
    const contract = versions.find(state.known.version);
    if (contract === undefined) {
      throw new CraftError('UNAVAILABLE', new VersionMissingError(versions.name, state.known.version).message);
    }
    const input = validateQuery(contract, name, given);
    const machine = versions.isBuiltIn ? undefined : (contract as Machine);
    const require = (rows: Rows) => state.require(readPosition(rows), atLeast);
    try {
      return await this.pool.use(async (connection) => {
        if (machine !== undefined) return queryMachine(connection, machine, name, input, state.prepared.path, require);
        // One session runs both, in this order: what the second sees is at least what the first
        // found.
        const statements = [[READ_POSITION, []], kvStatement(state.prepared.kvTable, name, input)] as const;
        const [found = [], rows = []] = await this.kvSender.read(connection, ...statements);
        require(found);
        return kvAnswer(name, rows);
      }, onCall);
    } catch (error) {
      const explained = await state.explain(error);
      if (machine === undefined || isAboutState(explained)) throw explained;
      throw queryFailure(explained);
    }
  }

  locate(atLeast: readonly LogIndex[]): Promise<EnginePosition> {
    return this.state.read(async (connection) => {
      const [found] = await Promise.all([connection.run(READ_POSITION, []), requireTables(connection)]);
      const position = readPosition(found);
      this.state.require(position, atLeast);
      return plainPosition(position);
    });
  }

  outcomes(from: MergedIndex, to: MergedIndex): Promise<KeptOutcomes> {
    return this.state.read((connection) => readOutcomes(connection, from, to));
  }
}
