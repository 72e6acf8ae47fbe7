/**
 * The conditions of the services: a closed list, so that metrics, alerts and documentation can name
 * each one. A condition is ok, or it says why not and what to do.
 */

export const SERVICES = ['replica', 'merger', 'applier'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface ConditionKind {
  /** When it is not ok. */
  readonly about: string;
  /** What to do, in the imperative, unless the report knows better. */
  readonly remedy: string;
  /** The service does not do its work meanwhile: the process is not ready. */
  readonly stops: boolean;
  /**
   * That is so only once it has lasted so long (milliseconds): until then it is told, and traffic
   * stays.
   */
  readonly stopsAfterMs?: number;
}

const RUNNING: ConditionKind = {
  about: 'The service cannot start, or has ended; its process tries again.',
  remedy: 'fix what the error says; the service starts again automatically',
  stops: true,
};
const NATS: ConditionKind = {
  about: 'The service has no connection to NATS.',
  remedy: 'check that the NATS servers run and can be reached from here, and that CRAFT_NATS_URL is right',
  stops: true,
};
const LAME_DUCK: ConditionKind = {
  about: 'The NATS server is in lame duck mode: it takes no new connections, and closes those that it has.',
  remedy: 'start it again, or give CRAFT_NATS_URL another NATS server of its cluster as well',
  stops: false,
};

/** By service, then by code. */
export const CONDITIONS = {
  replica: {
    running: RUNNING,
    nats: NATS,
    'lame-duck': LAME_DUCK,
    'log-store': {
      about: 'The log store does not take writes: the disk fails, is full or hangs. The replica leads nothing.',
      remedy: 'make room on the disk of CRAFT_DATA_DIR, or replace it',
      stops: true,
    },
    clock: {
      about: 'The clock of the server is too far off to lead.',
      remedy: 'set it right (chrony, NTP)',
      stops: false,
    },
    leader: {
      about: 'A group has no leader that this server knows: a quorum is lost, or elections fail.',
      remedy: 'start the servers that are missing; when a quorum is lost for good, see craft recover --help',
      stops: true,
    },
    protocol: {
      about: 'Messages of another server are of a version that this one cannot read.',
      remedy: 'run neighbouring releases of craft',
      stops: false,
    },
    'max-payload': {
      about: 'The NATS server takes smaller messages than CRAFT_PAYLOAD_BYTES_MAX needs.',
      remedy: 'raise max_payload of the NATS servers, or lower CRAFT_PAYLOAD_BYTES_MAX',
      stops: false,
    },
    snapshot: {
      about: 'The logs of the leaders do not go back to where this one ends, and there is no snapshot yet.',
      remedy: 'take one: craft snapshot take',
      stops: false,
    },
  },
  merger: {
    running: RUNNING,
    nats: NATS,
    'lame-duck': LAME_DUCK,
    stream: {
      about: 'The merged-log stream cannot be opened.',
      remedy: 'run nats stream report and nats server report jetstream',
      stops: true,
    },
    publish: {
      about: 'The merged-log stream does not take what is merged: it is full, sealed, limited or gone.',
      remedy: 'run nats stream info, and remove the limit that it shows',
      stops: true,
    },
    limits: {
      about: 'The merged-log stream has limits that craft did not set: entries are dropped or refused.',
      remedy: 'remove the limits: nats stream edit',
      stops: false,
    },
    feed: {
      about: 'The replica does not feed the merger.',
      remedy: 'check that the replica of this server runs',
      stops: true,
    },
    group: {
      about: 'A group is silent, and the merged log waits for it.',
      remedy: 'find out which servers of that group are missing or slow',
      stops: false,
    },
    position: {
      about: 'The logs do not go back to the end of the stream, and the applier does not say where to go on.',
      remedy: 'check that the applier of this server runs; take a snapshot: craft snapshot take',
      stops: true,
    },
  },
  applier: {
    running: RUNNING,
    nats: NATS,
    'lame-duck': LAME_DUCK,
    database: {
      about: 'The database is away, cannot be written, or refuses what is applied.',
      remedy: 'check that Postgres runs and can be written, and that CRAFT_DATABASE_URL is right',
      stops: true,
    },
    batch: {
      about: 'A batch has been under way for seconds: a lock, or a slow handler.',
      remedy:
        'look at pg_stat_activity and pg_locks; end the transaction that holds the lock: select pg_terminate_backend(PID)',
      stops: true,
      stopsAfterMs: 10_000,
    },
    stream: {
      about: 'The merged-log stream cannot be read.',
      remedy: 'run nats stream report and nats server report jetstream',
      stops: false,
    },
    gap: {
      about: 'The stream lacks entries that the database needs next, and there is no snapshot beyond them yet.',
      remedy: 'take a snapshot on a server that has them: craft snapshot take',
      stops: true,
    },
    behind: {
      about: 'The database stands still although the merged log has more.',
      remedy: 'read the log of the applier; restart it if this lasts',
      stops: true,
    },
    machine: {
      about: 'The next command needs a version of the state machine that is not loaded.',
      remedy: 'start this server with a module that has this version',
      stops: true,
    },
    differs: {
      about: 'The state differs from that of the other servers: nothing is read from it.',
      remedy: 'find out how they differ: craft verify; then rebuild it: craft rebuild SERVER',
      stops: true,
    },
    snapshots: {
      about: 'The object store of the snapshots does not work: none is taken or found.',
      remedy: 'run nats object info and nats server report jetstream',
      stops: false,
    },
  },
} as const satisfies Readonly<Record<ServiceName, Readonly<Record<string, ConditionKind>>>>;

export type ConditionCode<S extends ServiceName = ServiceName> = S extends ServiceName
  ? keyof (typeof CONDITIONS)[S] & string
  : never;

/** What to do about errors with which a service cannot start or go on, by their code. */
const REMEDIES: Readonly<Record<string, string>> = {
  DATABASE: CONDITIONS.applier.database.remedy,
  CONNECTION_LOST: CONDITIONS.applier.database.remedy,
  MIGRATION: 'fix the migration, or what it finds in the database; the applier tries again automatically',
  LOG_MISMATCH: 'give this server an empty database, then restart its applier',
  OTHER_MACHINE: 'set CRAFT_STATE_MACHINE to the machine of this cluster, or give another database',
  FENCED: 'end the second copy of this server',
  MERGER_REPLACED: 'end the second copy of this server',
};

/**
 * What to do about an error of a service, as far as its code says; undefined: what the error itself
 * says.
 */
export function remedyOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return REMEDIES[String(error.code)];
}
