import { DATABASE_CHECKS } from '../../../../services/cli/doctor/database.js';
import { database, failed, known, setting, state } from './facts.js';
import { itFinds } from './sightings.js';

itFinds(DATABASE_CHECKS, [
  ['database-unreachable', { database: failed('it is away') }, /^database: it is away; try again$/],
  [
    'database-version',
    database({ versionNumber: 130_022, version: '13.22' }),
    /^db:5432\/craft_s1: Postgres 13\.22 is older than craft supports; upgrade to Postgres 14/,
  ],
  [
    'database-superuser',
    database({ isSuperuser: true }),
    /the role craft_s1 is a superuser; give craft a role of its own/,
  ],
  [
    'database-right',
    database({ missingRights: known([{ right: 'connect', grant: 'grant connect' }]) }),
    /lacks the right to connect; grant connect$/,
  ],
  [
    'database-encoding',
    database({ encoding: 'LATIN1' }),
    /its encoding is LATIN1; create it anew with encoding 'UTF8'/,
  ],
  [
    'database-read-only',
    database({
      settings: [{ name: 'default_transaction_read_only', value: 'on', source: 'database' }],
      isReadOnly: true,
    }),
    /read-only by default; alter database "bank-1" reset default_transaction_read_only/,
  ],
  ['database-read-only', database({ isStandby: true, isReadOnly: true }), /a standby.*address of the primary/],
  [
    'database-durability',
    setting('full_page_writes', 'off', 'configuration file'),
    /full_page_writes is off.*set full_page_writes = on .*, or accept it where the storage guarantees/,
  ],
  [
    'database-timeouts',
    setting('statement_timeout', '90', 'user'),
    /statement_timeout is preset to 90 ms; alter role craft_s1 reset statement_timeout/,
  ],
  [
    'database-timeouts',
    setting('statement_timeout', '5', 'database'),
    /alter database "bank-1" reset statement_timeout/,
  ],
  [
    'database-timeouts',
    setting('idle_session_timeout', '86400000', 'database user'),
    /alter role craft_s1 in database "bank-1" reset idle_session_timeout/,
  ],
  [
    'database-timeouts',
    setting('idle_session_timeout', '5', 'configuration file'),
    /alter role craft_s1 set idle_session_timeout = 0/,
  ],
  [
    'database-connections',
    database({ connections: known({ limits: [{ what: 'role', max: 5, used: 1 }], hasApplier: false }) }),
    /1 of 5 connections of the role are taken, 6 are needed; raise/,
  ],
  ['database-plain', database({ isTls: false }), /without TLS; add sslmode=verify-full/],
  [
    'database-of-another',
    state({ cluster: 'bank' }),
    /it belongs to the cluster bank, not to craft; correct CRAFT_DATABASE_URL/,
  ],
  ['database-of-another', state({ server: 's2' }), /it belongs to the server s2, not to s1/],
  ['database-of-another', state({ machine: 'bank' }), /state machine bank, and the cluster runs kv/],
  [
    'database-migrations',
    state({ missingMigrations: ['0006_cluster'] }),
    /lacks migrations of this release: 0006_cluster; restart the applier/,
  ],
  ['database-migrations', state({ unknownMigrations: 1 }), /a newer release of craft has opened it; upgrade/],
  [
    'database-migrations',
    state({ migrationProblem: 'migration 0001 was changed' }),
    /0001 was changed; install the release/,
  ],
  [
    'database-nondeterminism',
    state({ nondeterminism: [{ where: 'the default of x', why: 'uses now()', remedy: 'give the value' }] }),
    /the default of x uses now\(\); give the value/,
  ],
  ['database-trigger', state({ triggers: ['audit'] }), /kv has the trigger audit.*drop trigger audit on kv/],
]);
