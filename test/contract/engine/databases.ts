/** The Postgres of a file of tests, and what its tests open there. */
import postgres, { type Sql } from 'postgres';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { PostgresEngine } from '../../../services/applier/postgres/engine.js';
import type { Pruner } from '../../../services/applier/postgres/pruner.js';
import type { StorageEngine } from '../../../shared/engine/port.js';
import { startTestPostgres, type TestPostgres } from '../../harness/index.js';
import { MemoryEngine } from '../../memory/engine.js';
import { WINDOW_MS } from './commands.js';

/**
 * Resolves when the removal of expired results that is under way has ended. The next one begins
 * with a batch.
 */
export const removalOf = (engine: PostgresEngine): Promise<void> => (Reflect.get(engine, 'pruner') as Pruner).end();

/** The name of an engine, and what opens a fresh one. */
export type Adapter = readonly [string, () => Promise<StorageEngine>];

export interface TestDatabases {
  /** Creates a database; gives its URL. */
  create(): Promise<string>;
  /** A connection to that database, until the end of the test. */
  admin(url: string): Sql;
  /** This engine is closed at the end of the test. */
  keep<Engine extends StorageEngine>(engine: Engine): Engine;
  /** Closes what is kept before that. */
  closeEngines(): Promise<void>;
  /** Every engine with the built-in state machine, on a state of its own. */
  readonly adapters: readonly Adapter[];
}

/** To be called at the top of the file: Postgres starts before its tests, and stops after them. */
export function testDatabases(prefix: string): TestDatabases {
  let server: TestPostgres;
  let created = 0;
  const engines: StorageEngine[] = [];
  const admins: Sql[] = [];

  const databases: TestDatabases = {
    async create() {
      const name = `${prefix}_${created++}`;
      await server.createDatabases([name]);
      return server.url(name);
    },
    admin(url) {
      const admin = postgres(url, { max: 1, onnotice: () => undefined });
      admins.push(admin);
      return admin;
    },
    keep(engine) {
      engines.push(engine);
      return engine;
    },
    async closeEngines() {
      await Promise.all(engines.splice(0).map((engine) => engine.close()));
    },
    adapters: [
      ['memory', async () => databases.keep(new MemoryEngine({ resultWindowMs: WINDOW_MS }))],
      [
        'postgres',
        async () => {
          const databaseUrl = await databases.create();
          return databases.keep(new PostgresEngine({ databaseUrl, server: 's1', resultWindowMs: WINDOW_MS }));
        },
      ],
    ],
  };

  beforeAll(async () => {
    server = await startTestPostgres();
  });
  afterEach(async () => {
    await databases.closeEngines();
    await Promise.all(admins.splice(0).map((admin) => admin.end()));
  });
  afterAll(() => server?.stop());
  return databases;
}
