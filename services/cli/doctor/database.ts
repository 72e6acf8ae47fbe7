/** What is wrong with the database of a server. Pure. */
import { type Check, failure, type Sighting } from './check.js';
import { type DatabaseFacts, type DatabaseSetting, type Facts, factOf, type StateFacts } from './facts.js';

/** The oldest release that craft is meant for. */
const VERSION_MIN = 14;
/**
 * What an applier opens: one for commands, three for reads, one for migrations, and one for this
 * look.
 */
const CONNECTIONS_MIN = 6;
/** What the applier runs before it lifts time-outs takes less (milliseconds). */
const STATEMENT_MS_MIN = 5_000;

const about =
  (look: (database: DatabaseFacts, facts: Facts) => readonly Omit<Sighting, 'where'>[]) =>
  (facts: Facts): Sighting[] => {
    const database = factOf(facts.database);
    return database === undefined ? [] : look(database, facts).map((seen) => ({ where: database.place, ...seen }));
  };
const aboutState = (look: (state: StateFacts, facts: Facts) => readonly Omit<Sighting, 'where'>[]) =>
  about((database, facts) => {
    const state = factOf(database.state);
    return state === undefined ? [] : look(state, facts);
  });

export const DATABASE_CHECKS: readonly Check[] = [
  {
    code: 'database-unreachable',
    level: 'error',
    about: 'Postgres cannot be reached, or does not let this role in.',
    find: ({ database }) => failure('database', database),
  },
  {
    code: 'database-version',
    level: 'warning',
    about: `Postgres is older than ${VERSION_MIN}.`,
    find: about(({ versionNumber, version }) =>
      versionNumber >= VERSION_MIN * 10_000
        ? []
        : [
            {
              what: `Postgres ${version} is older than craft supports`,
              remedy: `upgrade to Postgres ${VERSION_MIN} or newer`,
            },
          ],
    ),
  },
  {
    code: 'database-superuser',
    level: 'warning',
    about: 'The role is a superuser: a handler could change everything in that Postgres server.',
    find: about(({ isSuperuser, role }) =>
      isSuperuser
        ? [
            {
              what: `the role ${role} is a superuser`,
              remedy: 'give craft a role of its own: deploy/README.md, "Postgres"',
            },
          ]
        : [],
    ),
  },
  {
    code: 'database-right',
    level: 'error',
    about: 'The role lacks a right that the applier needs.',
    find: about(({ missingRights, role }) =>
      (factOf(missingRights) ?? []).map(({ right, grant }) => ({
        what: `the role ${role} lacks the right to ${right}`,
        remedy: grant,
      })),
    ),
  },
  {
    code: 'database-encoding',
    level: 'error',
    about: 'The encoding is not UTF8: texts would be refused here that other servers take.',
    find: about(({ encoding }) =>
      encoding === 'UTF8'
        ? []
        : [{ what: `its encoding is ${encoding}`, remedy: "create it anew with encoding 'UTF8' template template0" }],
    ),
  },
  {
    code: 'database-read-only',
    level: 'error',
    about: 'The database may only be read.',
    find: about((database) => {
      const { isReadOnly, isStandby, settings } = database;
      if (isStandby)
        return [{ what: 'it is a standby, and may only be read', remedy: 'give the address of the primary' }];
      if (!isReadOnly) return [];
      const name = 'default_transaction_read_only';
      const setting = settings.find((one) => one.name === name) ?? { name, value: 'on', source: '' };
      return [{ what: 'transactions are read-only by default', remedy: resetOf(setting, 'off', database) }];
    }),
  },
  {
    code: 'database-durability',
    level: 'warning',
    about: '`fsync` or `full_page_writes` is off: a crash of the machine can damage the database unnoticed.',
    find: about(({ settings }) =>
      settings.flatMap(({ name, value }) =>
        ['fsync', 'full_page_writes'].includes(name) && value === 'off'
          ? [
              {
                what: `${name} is off: a crash of the machine can damage it`,
                remedy: `set ${name} = on in postgresql.conf, or accept it where the storage guarantees the same`,
              },
            ]
          : [],
      ),
    ),
  },
  {
    code: 'database-timeouts',
    level: 'warning',
    about: `A preset ends idle sessions, or statements within ${STATEMENT_MS_MIN / 1_000} s: connections of the applier are lost.`,
    find: about((database) =>
      database.settings.flatMap((setting) =>
        isShort(setting)
          ? [
              {
                what: `${setting.name} is preset to ${setting.value} ms`,
                remedy: resetOf(setting, '0', database),
              },
            ]
          : [],
      ),
    ),
  },
  {
    code: 'database-connections',
    level: 'warning',
    about: 'There are too few connections left for an applier.',
    find: about(({ connections }) => {
      const { limits = [], hasApplier = false } = factOf(connections) ?? {};
      return limits.flatMap(({ what, max, used }) => {
        const needed = hasApplier ? 1 : CONNECTIONS_MIN;
        if (max - used >= needed) return [];
        const remedy = 'raise the limit, or end sessions that are not needed: select * from pg_stat_activity';
        return [{ what: `${used} of ${max} connections of the ${what} are taken, ${needed} are needed`, remedy }];
      });
    }),
  },
  {
    code: 'database-plain',
    level: 'warning',
    about: 'The connection to Postgres has no TLS although it leaves this machine.',
    find: about(({ isTls, isLocal }) =>
      isTls || isLocal
        ? []
        : [
            {
              what: 'rows cross the network unencrypted, without TLS',
              remedy: 'add sslmode=verify-full to its address',
            },
          ],
    ),
  },
  {
    code: 'database-of-another',
    level: 'error',
    about: 'The database is the state of another cluster, server or state machine.',
    find: aboutState(({ cluster, server, machine }, facts) => {
      const given = facts.environment['CRAFT_SERVER'] ?? '';
      const running = (factOf(facts.servers)?.servers ?? []).find(({ state }) => state?.machine !== undefined);
      const own = running?.state?.machine?.name;
      const remedy = 'correct CRAFT_DATABASE_URL, or give this server an empty database';
      const found = [];
      if (cluster !== undefined && cluster !== facts.cluster)
        found.push({ what: `it belongs to the cluster ${cluster}, not to ${facts.cluster}`, remedy });
      if (given !== '' && server !== '' && server !== given)
        found.push({ what: `it belongs to the server ${server}, not to ${given}`, remedy });
      if (machine !== undefined && own !== undefined && machine !== own)
        found.push({ what: `it belongs to the state machine ${machine}, and the cluster runs ${own}`, remedy });
      return found;
    }),
  },
  {
    code: 'database-migrations',
    level: 'warning',
    about: "The engine's tables are of another release of craft, or their migrations were changed.",
    find: aboutState(({ missingMigrations, unknownMigrations, migrationProblem }) => {
      if (migrationProblem !== undefined)
        return [{ what: migrationProblem, remedy: 'install the release of craft that has opened it before' }];
      if (unknownMigrations > 0)
        return [{ what: 'a newer release of craft has opened it', remedy: 'upgrade craft on this machine' }];
      if (missingMigrations.length === 0) return [];
      const what = `it lacks migrations of this release: ${missingMigrations.join(', ')}`;
      return [{ what, remedy: 'restart the applier with this release: it runs them' }];
    }),
  },
  {
    code: 'database-nondeterminism',
    level: 'error',
    about: 'A default, check, trigger or rule gives other values on every server.',
    find: aboutState(({ nondeterminism }) =>
      nondeterminism.map(({ where, why, remedy }) => ({ what: `${where} ${why}`, remedy })),
    ),
  },
  {
    code: 'database-trigger',
    level: 'warning',
    about: 'The table of the built-in state machine has a trigger that craft did not create.',
    find: aboutState(({ triggers }) =>
      triggers.map((name) => ({
        what: `the table kv has the trigger ${name}, which can change or refuse rows`,
        remedy: `drop trigger ${name} on kv`,
      })),
    ),
  },
];

/**
 * The engine lifts all time-outs of statements and transactions itself, but for what it runs before
 * that.
 */
function isShort({ name, value }: DatabaseSetting): boolean {
  const ms = Number(value);
  return ms > 0 && (name === 'idle_session_timeout' || (name === 'statement_timeout' && ms < STATEMENT_MS_MIN));
}

/** @param value for this role alone, where the setting is one of the whole server */
function resetOf({ name, source }: DatabaseSetting, value: string, { quoted }: DatabaseFacts): string {
  if (source === 'user') return `alter role ${quoted.role} reset ${name}`;
  if (source === 'database user') return `alter role ${quoted.role} in database ${quoted.database} reset ${name}`;
  if (source === 'database') return `alter database ${quoted.database} reset ${name}`;
  return `set it for this role alone: alter role ${quoted.role} set ${name} = ${value}`;
}
