import { describe, expect, it } from 'vitest';
import { LogMismatchError } from '../../../services/applier/core/queue.js';
import { DatabaseError, MigrationError } from '../../../services/applier/opening.js';
import { ConnectionLostError } from '../../../services/applier/postgres/connection.js';
import { StreamLostError } from '../../../services/merger/stream.js';
import { DamagedLogError } from '../../../services/replica/damage.js';
import { ConfigError } from '../../../shared/config/config.js';
import { exitCodeOf, isFinal, staysDown } from '../../../shared/config/service.js';
import { MigrationChangedError, MigrationJournalError } from '../../../shared/engine/migrations.js';
import { FencedError } from '../../../shared/engine/port.js';
import { MergerReplacedError } from '../../../shared/link/feed.js';
import * as stores from '../../../shared/log-store/errors.js';
import { LogStoreCorruptError, LogStoreWriteError } from '../../../shared/log-store/port.js';
import { InvariantError } from '../../../shared/raft/assert.js';

const IDENTITY = { cluster: 'c', server: 's1', groups: 3 };
const CORRUPT = new LogStoreCorruptError('log/1', 'damaged');

describe('an error of a service', () => {
  it('is final when no other try mends it', () => {
    const all = [
      new ConfigError('wrong'),
      new FencedError('another applier has taken over'),
      new MergerReplacedError('s1', 'old', 'new'),
      new stores.LogStoreLockedError('log'),
      new stores.LogStoreFencedError('LOG'),
      new DamagedLogError('s1', CORRUPT),
      CORRUPT,
      new stores.LogStoreGoneError('s1', 'log'),
      new stores.LogStoreIdentityError('log', IDENTITY, IDENTITY),
      new stores.LogStoreFormatError('log', 2, 1),
      new stores.LogStoreLegacyError('log'),
      new stores.LogStoreSyncError('it does not sync'),
      new InvariantError('two leaders'),
    ];
    for (const error of all) expect(isFinal(error), error.name).toBe(true);
    expect(all.map(exitCodeOf)).toEqual([2, ...all.slice(1).map(() => 1)]);
  });

  it('is not when it may pass', () => {
    const cause = new Error('connect ECONNREFUSED');
    const all = [
      new Error('the NATS connection is closed for good'),
      new DatabaseError('the database does not answer', { cause }),
      new MigrationError('migration 0001 failed', { cause }),
      new MigrationJournalError('migration 0001 has not run'),
      new MigrationChangedError('migration 0001 was changed'),
      new ConnectionLostError(cause),
      new LogStoreWriteError('disk full'),
      new StreamLostError('emptied'),
      Object.assign(new Error('no port'), { code: 'EADDRINUSE' }),
      'not even an error',
    ];
    for (const error of all) {
      expect(isFinal(error), String(error)).toBe(false);
      expect(staysDown(error), String(error)).toBe(false);
      expect(exitCodeOf(error)).toBe(1);
    }
  });

  it('keeps its service down when the state is not that of the log', () => {
    const error = new LogMismatchError('another log');
    expect(staysDown(error)).toBe(true);
    expect(isFinal(error)).toBe(false);
  });
});
