/**
 * Configuration of the services, read once at start from environment variables, validated, typed. Every service takes the
 * part it needs. A wrong value ends the start with a ConfigError that names
 * the variable; nothing is started then.
 */
import { z } from 'zod';

const name = z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, 'letters, digits, _ and -, at most 32');
const milliseconds = z.coerce.number().int().min(1).max(3_600_000);
const bytes = z.coerce.number().int().min(1024);

const commonFields = {
  /** Name of the cluster: the first token of every subject; streams carry it in capitals. */
  CRAFT_CLUSTER: name.default('craft'),
  /** Name of this server, one of CRAFT_SERVERS. */
  CRAFT_SERVER: name,
  /** The servers that the cluster starts with, in order: group i prefers server i mod N as its leader. */
  CRAFT_SERVERS: z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(name).min(1).max(9))
    .refine((list) => new Set(list).size === list.length, 'names a server twice'),
  /** This server joins a cluster that exists: it has no say until it has been added (`craft members add`). */
  CRAFT_JOIN: z.enum(['true', 'false']).default('false'),
  /** Number of Raft groups; fixed for the life of the cluster. */
  CRAFT_GROUPS: z.coerce.number().int().min(1).max(64).default(3),
  /** NATS servers, separated by commas. Credentials may be part of the URL. */
  CRAFT_NATS_URL: z.string().min(1).default('nats://127.0.0.1:4222'),
  /**
   * Which of several NATS servers a connection is made to: `random`; or `listed`: the first of CRAFT_NATS_URL, the next ones when
   * it is away (each server of craft can have a NATS server of its own next to it then).
   */
  CRAFT_NATS_ORDER: z.enum(['random', 'listed']).default('random'),
  /** A NATS credentials file, where the server wants one. */
  CRAFT_NATS_CREDS: z.string().optional(),
  /** Level of the logs on standard output: trace, debug, info, warn, error or silent. */
  CRAFT_LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
  /** Port of the Prometheus metrics on 127.0.0.1 at /metrics; unset: none. */
  CRAFT_METRICS_PORT: z.coerce.number().int().min(1).max(65_535).optional(),
  /** The user's state machine module (its default export); unset: the built-in key-value machine. */
  CRAFT_STATE_MACHINE: z.string().optional(),
};

/** Replicas of the snapshots' bucket and of the register of log stores, for who makes them: as many as there are NATS servers, up to 5. */
const replicas = z.coerce.number().int().min(1).max(5).default(1);

export const LOG_STORES = ['segments', 'jetstream'] as const;
export type LogStoreKind = (typeof LOG_STORES)[number];
export const LOG_STORE_SYNCS = ['verify', 'vouched'] as const;
export type LogStoreSync = (typeof LOG_STORE_SYNCS)[number];

const replicaFields = {
  /** Folder of the log store, when that is `segments`. */
  CRAFT_DATA_DIR: z.string().default('.craft'),
  /** Where the groups' logs are: `segments`, files in CRAFT_DATA_DIR, or `jetstream`, a stream of a NATS server with `sync_interval: always`. */
  CRAFT_LOG_STORE: z.enum(LOG_STORES).default('segments'),
  /** Whether craft looks at the NATS server's `sync_interval` (`verify`), or the operator says that it is right (`vouched`). */
  CRAFT_LOG_STORE_SYNC: z.enum(LOG_STORE_SYNCS).default('verify'),
  /** Monitoring addresses (`http_port`) of the NATS servers, separated by commas: where `sync_interval` can be seen. */
  CRAFT_NATS_MONITOR_URL: z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(z.url({ protocol: /^https?$/ })))
    .optional(),
  /** A follower that has not heard from a leader for one to two times this stands for election (milliseconds). */
  CRAFT_ELECTION_TIMEOUT_MS: milliseconds.default(1_000),
  /** A leader with nothing to say still says so this often (milliseconds). */
  CRAFT_HEARTBEAT_MS: milliseconds.default(100),
  /** Largest command payload (bytes). */
  CRAFT_PAYLOAD_BYTES_MAX: bytes.default(256 * 1024),
  /** Uncommitted bytes a group may hold before its leader answers OVERLOADED. */
  CRAFT_UNCOMMITTED_BYTES_MAX: bytes.default(16 * 1024 * 1024),
  /** Largest distance of this server's clock from the cluster's reference time before it stops leading (milliseconds). */
  CRAFT_CLOCK_OFFSET_MAX_MS: milliseconds.default(500),
  CRAFT_SNAPSHOT_REPLICAS: replicas,
};

const applierFields = {
  /** The Postgres database of this server. */
  CRAFT_DATABASE_URL: z.string().min(1),
  /** Most commands in one Postgres transaction. */
  CRAFT_APPLY_COMMANDS_MAX: z.coerce.number().int().min(1).max(10_000).default(512),
  /** A snapshot is due after so many commands, so many bytes of their entries, or at this age (milliseconds) with anything new (T10). */
  CRAFT_SNAPSHOT_ENTRIES: z.coerce.number().int().min(1).default(100_000),
  CRAFT_SNAPSHOT_BYTES: bytes.default(64 * 1024 * 1024),
  CRAFT_SNAPSHOT_AGE_MS: z.coerce.number().int().min(1_000).default(3_600_000),
  CRAFT_SNAPSHOT_REPLICAS: replicas,
  /** All servers compare their rows this often while commands are applied (milliseconds). */
  CRAFT_VERIFY_MS: z.coerce.number().int().min(1_000).default(600_000),
  /** How long results are kept for duplicates, in entry time (milliseconds). */
  CRAFT_RESULT_WINDOW_MS: z.coerce.number().int().min(1_000).default(600_000),
};

/** Wrong or missing configuration; the message names each variable. */
export class ConfigError extends Error {
  readonly code = 'CONFIG';
  constructor(message: string) {
    super(message);
    this.name = 'ConfigError';
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

function parse<S extends z.ZodRawShape>(fields: S, environment: Environment): z.output<z.ZodObject<S>> {
  const given = Object.fromEntries(Object.keys(fields).map((key) => [key, environment[key] || undefined]));
  const parsed = z.object(fields).safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new ConfigError(`wrong configuration: ${problems.join('; ')}`);
}

export interface CommonConfig {
  readonly cluster: string;
  readonly server: string;
  readonly servers: readonly string[];
  /** It has no say until it has been added to the cluster (T11). */
  readonly join: boolean;
  readonly groups: number;
  readonly natsUrl: string;
  readonly natsOrder: 'random' | 'listed';
  readonly natsCreds: string | undefined;
  readonly logLevel: string;
  readonly metricsPort: number | undefined;
  readonly stateMachine: string | undefined;
}

export interface ReplicaConfig extends CommonConfig {
  readonly dataDir: string;
  readonly logStore: LogStoreKind;
  readonly logStoreSync: LogStoreSync;
  readonly natsMonitorUrls: readonly string[];
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly payloadBytesMax: number;
  readonly uncommittedBytesMax: number;
  readonly clockOffsetMaxMs: number;
  /** Of the register of log stores. */
  readonly registerReplicas: number;
}

export interface ApplierConfig extends CommonConfig {
  readonly databaseUrl: string;
  readonly applyCommandsMax: number;
  readonly resultWindowMs: number;
  readonly verifyEveryMs: number;
  readonly snapshots: {
    readonly entries: number;
    readonly bytes: number;
    readonly ageMs: number;
    readonly replicas: number;
  };
}

export function commonConfig(environment: Environment = process.env): CommonConfig {
  const value = parse(commonFields, environment);
  const join = value.CRAFT_JOIN === 'true';
  if (!join && !value.CRAFT_SERVERS.includes(value.CRAFT_SERVER)) {
    throw new ConfigError(`wrong configuration: CRAFT_SERVER: ${value.CRAFT_SERVER} is not one of CRAFT_SERVERS`);
  }
  return {
    cluster: value.CRAFT_CLUSTER,
    server: value.CRAFT_SERVER,
    servers: value.CRAFT_SERVERS,
    join,
    groups: value.CRAFT_GROUPS,
    natsUrl: value.CRAFT_NATS_URL,
    natsOrder: value.CRAFT_NATS_ORDER,
    natsCreds: value.CRAFT_NATS_CREDS,
    logLevel: value.CRAFT_LOG_LEVEL,
    metricsPort: value.CRAFT_METRICS_PORT,
    stateMachine: value.CRAFT_STATE_MACHINE,
  };
}

export function replicaConfig(environment: Environment = process.env): ReplicaConfig {
  const common = commonConfig(environment);
  const value = parse(replicaFields, environment);
  if (value.CRAFT_HEARTBEAT_MS * 3 > value.CRAFT_ELECTION_TIMEOUT_MS) {
    throw new ConfigError(
      'wrong configuration: CRAFT_ELECTION_TIMEOUT_MS must be at least three times CRAFT_HEARTBEAT_MS',
    );
  }
  return {
    ...common,
    dataDir: value.CRAFT_DATA_DIR,
    logStore: value.CRAFT_LOG_STORE,
    logStoreSync: value.CRAFT_LOG_STORE_SYNC,
    natsMonitorUrls: value.CRAFT_NATS_MONITOR_URL ?? [],
    electionTimeoutMs: value.CRAFT_ELECTION_TIMEOUT_MS,
    heartbeatMs: value.CRAFT_HEARTBEAT_MS,
    payloadBytesMax: value.CRAFT_PAYLOAD_BYTES_MAX,
    uncommittedBytesMax: value.CRAFT_UNCOMMITTED_BYTES_MAX,
    clockOffsetMaxMs: value.CRAFT_CLOCK_OFFSET_MAX_MS,
    registerReplicas: value.CRAFT_SNAPSHOT_REPLICAS,
  };
}

export function applierConfig(environment: Environment = process.env): ApplierConfig {
  const common = commonConfig(environment);
  const value = parse(applierFields, environment);
  return {
    ...common,
    databaseUrl: value.CRAFT_DATABASE_URL,
    applyCommandsMax: value.CRAFT_APPLY_COMMANDS_MAX,
    resultWindowMs: value.CRAFT_RESULT_WINDOW_MS,
    verifyEveryMs: value.CRAFT_VERIFY_MS,
    snapshots: {
      entries: value.CRAFT_SNAPSHOT_ENTRIES,
      bytes: value.CRAFT_SNAPSHOT_BYTES,
      ageMs: value.CRAFT_SNAPSHOT_AGE_MS,
      replicas: value.CRAFT_SNAPSHOT_REPLICAS,
    },
  };
}
