/**
 * Installs a snapshot (T10), or says whether it could be installed. It must be of the right
 * machine, of a version that is loaded, and of the same tables. When the answer to the commit is
 * lost, the database is asked whether it has happened.
 */

import { setTimeout as delay } from 'node:timers/promises';
import {
  abandon,
  type EnginePosition,
  type EngineSnapshot,
  SnapshotFormatError,
  versionAt,
  versionField,
} from '../../../shared/engine/port.js';
import { framesOf, wrongFormat } from '../../../shared/engine/snapshot-frames.js';
import { readCatalog } from './catalog.js';
import { type Connection, ConnectionLostError } from './connection.js';
import { isSamePlace } from './known-state.js';
import type { MachineVersions } from './machine-versions.js';
import type { OwnState } from './own-state.js';
import { LOCK_POSITION, readPosition } from './position.js';
import type { QueryPool } from './query-pool.js';
import { formatOf, type RestoreSession, restoreSnapshot } from './restore.js';
import { BEGIN_PLAIN, NO_TIMEOUTS, PLAIN_SETTINGS } from './settings.js';

/**
 * Between two looks for a database that is away: doubles from the first to the second
 * (milliseconds).
 */
const LOOK_MS = 25;
const LOOK_MS_MAX = 5_000;

const BEGIN_LOOK = `begin isolation level repeatable read read only; ${NO_TIMEOUTS}; ${PLAIN_SETTINGS}`;

export interface InstallerOptions {
  readonly state: OwnState;
  readonly versions: MachineVersions;
  /** The one that batches are applied on. */
  readonly connection: Connection;
  readonly pool: QueryPool;
  readonly databaseUrl: string;
  readonly server: string;
}

export class Installer {
  constructor(private readonly options: InstallerOptions) {}

  /** Not while a batch is being applied. */
  async install(snapshot: EngineSnapshot, as?: (before: EnginePosition) => EnginePosition): Promise<EnginePosition> {
    const { state } = this.options;
    // Also when it fails: the commit may happen although its answer is lost.
    state.known.forgetContents();
    const version = versionAt(snapshot.position);
    let restored = as === undefined ? snapshot.position : undefined;
    const counted = (before: EnginePosition) => {
      restored ??= { ...(as?.(before) ?? snapshot.position), ...versionField(version) };
      return restored;
    };
    try {
      this.requireMachine(snapshot);
      await restoreSnapshot(this.session(version), snapshot, counted);
    } catch (error) {
      const isDone = error instanceof ConnectionLostError && restored !== undefined && (await this.isAt(restored));
      if (!isDone) throw await state.explain(error);
    } finally {
      await abandon(snapshot);
    }
    return state.replaced(restored ?? snapshot.position);
  }

  async verify(snapshot: EngineSnapshot): Promise<void> {
    try {
      this.requireMachine(snapshot);
      const version = versionAt(snapshot.position);
      const { known } = this.options.state;
      const expected = await (version === known.version ? this.currentFormat() : formatOf(this.session(version)));
      const { format, position, data } = snapshot;
      if (format !== expected) throw wrongFormat(format, expected);
      for await (const _ of framesOf(format, position, data));
    } finally {
      await abandon(snapshot);
    }
  }

  private currentFormat(): Promise<string> {
    const { pool, versions } = this.options;
    return pool.use((connection) =>
      connection.transaction(
        BEGIN_LOOK,
        async (transaction) => (await readCatalog(transaction, versions.scope)).format,
      ),
    );
  }

  /** @throws SnapshotFormatError, VersionMissingError */
  private requireMachine({ machine, position }: EngineSnapshot): void {
    const { versions } = this.options;
    const { name } = versions;
    if (machine !== undefined && machine !== name) {
      throw new SnapshotFormatError(
        `the snapshot is of the state machine ${JSON.stringify(machine)}, this is ${JSON.stringify(name)}`,
      );
    }
    versions.contractOf(versionAt(position));
  }

  private session(version: number): RestoreSession {
    const { databaseUrl: url, server, versions, state } = this.options;
    const { scope } = versions;
    return { url, name: `craft restore ${server}`, scope, epoch: state.epoch, sources: versions.sourcesOf(version) };
  }

  /**
   * Whether a commit without an answer has happened. This waits for the lock of that commit. A
   * database that stays away counts as no. If the state has moved all the same, the next batch
   * finds that out.
   */
  private async isAt(expected: EnginePosition): Promise<boolean> {
    const { connection, state } = this.options;
    for (let delayMs = LOOK_MS; delayMs < LOOK_MS_MAX; delayMs *= 2) {
      try {
        const found = readPosition(
          await connection.transaction(BEGIN_PLAIN, (transaction) => transaction.run(LOCK_POSITION, [])),
        );
        return found.epoch === state.epoch && isSamePlace(found, expected);
      } catch (error) {
        if (!(error instanceof ConnectionLostError)) return false;
        await delay(delayMs);
      }
    }
    return false;
  }
}
