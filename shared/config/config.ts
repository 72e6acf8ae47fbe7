/**
 * Configuration of the services, read once at start from environment variables, validated, typed.
 * Every service takes the part it needs. A wrong value ends the start with a ConfigError that names
 * the variable; nothing is started then.
 */

import { z } from 'zod';
import { DEFAULT_PAYLOAD_BYTES_MAX } from '../engine/registry.js';
import { NamedError } from '../errors.js';
import type { NatsAccess } from '../wire/access.js';
import { INBOX_PREFIX, INBOX_PREFIX_DEFAULT } from '../wire/inbox-prefix.js';
import { SERVER_NAME } from '../wire/subjects.js';

const name = z.string().regex(SERVER_NAME, 'letters, digits, _ and -, at most 32');
const milliseconds = z.coerce.number().int().min(1).max(3_600_000);
const bytes = z.coerce.number().int().min(1024);

// `npm run docs` makes the tables of settings in deploy/README.md of these: descriptions are
// Markdown, names end with the unit.
const commonFields = {
  CRAFT_CLUSTER: name
    .default('craft')
    .describe('Name of the cluster: the first token of every subject. Streams have it in capitals.'),
  CRAFT_SERVER: name.describe('Name of this server: one of `CRAFT_SERVERS`.'),
  CRAFT_SERVERS: z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(name).min(1).max(9))
    .refine((list) => new Set(list).size === list.length, 'names a server twice')
    .describe(
      'The servers that the cluster starts with, in order, for example `s1,s2,s3`. Group i prefers server i mod N as its leader.',
    ),
  CRAFT_JOIN: z
    .enum(['true', 'false'])
    .default('false')
    .describe(
      '`true`: this server joins an existing cluster. It starts as a non-member and cannot vote until `craft members add`.',
    ),
  CRAFT_GROUPS: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(3)
    .describe('Number of Raft groups; fixed for the life of the cluster.'),
  CRAFT_NATS_URL: z
    .string()
    .min(1)
    .default('nats://127.0.0.1:4222')
    .describe('NATS servers, separated by commas. A URL may contain user and password.'),
  CRAFT_NATS_ORDER: z
    .enum(['random', 'listed'])
    .default('random')
    .describe(
      'Which NATS server a connection uses. `listed`: the first one of `CRAFT_NATS_URL` that answers, for a NATS server next to each server of craft.',
    ),
  CRAFT_NATS_INBOX_PREFIX: z
    .string()
    .regex(INBOX_PREFIX, 'tokens of letters, digits, _ and -, with a dot between')
    .default(INBOX_PREFIX_DEFAULT)
    .describe(
      'Prefix of the inboxes on which answers arrive. The NATS user must be allowed to subscribe below it. Give services a prefix that no client has: they refuse to answer clients there.',
    ),
  CRAFT_NATS_STREAM_TAGS: z
    .string()
    .transform((text) => text.split(',').map((tag) => tag.trim()))
    .pipe(z.array(z.string().regex(/^\S+$/, 'tags without spaces, with commas between')))
    .optional()
    .describe(
      'Where the streams of this server are made: on a NATS server with all of these `server_tags`, separated by commas. For a NATS cluster that is stretched over several sites. Streams that exist stay where they are.',
    ),
  CRAFT_NATS_CREDS: z.string().optional().describe('A NATS credentials file.'),
  CRAFT_NATS_NKEY: z.string().optional().describe('A file with the seed of a NATS NKey.'),
  CRAFT_NATS_TOKEN: z.string().optional().describe('A NATS token.'),
  CRAFT_NATS_TLS_CA: z
    .string()
    .optional()
    .describe(
      'PEM file of the authority that has signed the certificates of the NATS servers. Unset: those of Node.js.',
    ),
  CRAFT_NATS_TLS_CERT: z
    .string()
    .optional()
    .describe('PEM file of a certificate of its own, where NATS verifies those.'),
  CRAFT_NATS_TLS_KEY: z.string().optional().describe('PEM file of the key of `CRAFT_NATS_TLS_CERT`.'),
  CRAFT_LOG_LEVEL: z
    .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'])
    .default('info')
    .describe(
      'Level of the JSON logs on standard output: `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`.',
    ),
  CRAFT_METRICS_PORT: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe('Port of `/metrics` (Prometheus), `/healthz` and `/readyz`. Unset: no metrics.'),
  CRAFT_METRICS_ADDRESS: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe(
      'Address of this machine for that port. `0.0.0.0`: all of its IPv4 addresses; everyone who reaches the port can read the metrics.',
    ),
  CRAFT_STATE_MACHINE: z
    .string()
    .optional()
    .describe('Module of your own state machine (its default export). Unset: the built-in key-value machine.'),
};

const replicas = z.coerce
  .number()
  .int()
  .min(1)
  .max(5)
  .default(1)
  .describe(
    'Replicas of the object store of snapshots and of the registry of log stores: as many as there are NATS servers, up to 5.',
  );

export const LOG_STORES = ['segments', 'jetstream'] as const;
export type LogStoreKind = (typeof LOG_STORES)[number];
export const LOG_STORE_SYNCS = ['verify', 'vouched'] as const;
export type LogStoreSync = (typeof LOG_STORE_SYNCS)[number];

const replicaFields = {
  CRAFT_DATA_DIR: z.string().default('.craft').describe('Folder of the log store, when that is `segments`.'),
  CRAFT_LOG_STORE: z
    .enum(LOG_STORES)
    .default('segments')
    .describe(
      'Where the logs of the groups are. `segments`: append-only files in `CRAFT_DATA_DIR`, on a local disk. `jetstream`: a stream of a NATS server with `sync_interval: always`, for hosts without a local disk.',
    ),
  CRAFT_LOG_STORE_SYNC: z
    .enum(LOG_STORE_SYNCS)
    .default('verify')
    .describe(
      'For `jetstream`. `verify`: check `sync_interval` of the NATS server at the start. `vouched`: skip the check.',
    ),
  CRAFT_NATS_MONITOR_URL: z
    .string()
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(z.url({ protocol: /^https?$/ })))
    .optional()
    .describe('For `verify`: monitoring addresses (`http_port`) of the NATS servers, separated by commas.'),
  CRAFT_ELECTION_TIMEOUT_MS: milliseconds
    .default(1_000)
    .describe(
      'A follower that has not heard from a leader for one to two times this stands for election. At least three times `CRAFT_HEARTBEAT_MS`.',
    ),
  CRAFT_HEARTBEAT_MS: milliseconds
    .default(100)
    .describe('How often an idle leader sends a heartbeat. A leader that was killed is replaced after about four.'),
  CRAFT_PAYLOAD_BYTES_MAX: bytes
    .default(DEFAULT_PAYLOAD_BYTES_MAX)
    .describe('Largest payload of a command, as it is sent and as plain JSON.'),
  CRAFT_UNCOMMITTED_BYTES_MAX: bytes
    .default(16 * 1024 * 1024)
    .describe('Uncommitted bytes that a group may hold. Beyond it, its leader answers `OVERLOADED`.'),
  CRAFT_CLOCK_OFFSET_MAX_MS: milliseconds
    .default(500)
    .describe("Largest distance of this server's clock from the cluster's reference time with which it leads."),
  CRAFT_SNAPSHOT_REPLICAS: replicas,
};

/**
 * Of several hosts, with commas between, only the first one is looked at. What is wrong with it is
 * not said: it has a password.
 */
function isPostgresUrl(text: string): boolean {
  return /^postgres(?:ql)?:\/\//.test(text) && URL.canParse(text.replace(/,[^/?]*/, ''));
}

const applierFields = {
  CRAFT_DATABASE_URL: z
    .string()
    .min(1)
    .refine(isPostgresUrl, 'is not an address like postgres://user:password@host:5432/database')
    .describe('The Postgres database of this server.'),
  CRAFT_APPLY_COMMANDS_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(512)
    .describe('Most commands in one Postgres transaction.'),
  CRAFT_SNAPSHOT_ENTRIES: z.coerce
    .number()
    .int()
    .min(1)
    .default(100_000)
    .describe('A snapshot is due after so many commands. After a large one, it waits until they take twice its bytes.'),
  CRAFT_SNAPSHOT_BYTES: bytes.default(64 * 1024 * 1024).describe('The same after so many bytes of commands.'),
  CRAFT_SNAPSHOT_AGE_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .default(3_600_000)
    .describe('A snapshot is due at this age of the last one, when there are newer commands.'),
  CRAFT_SNAPSHOT_REPLICAS: replicas,
  CRAFT_VERIFY_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .default(600_000)
    .describe('How often all servers compare their rows, while commands are applied.'),
  CRAFT_RESULT_WINDOW_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .default(600_000)
    .describe('How long results are kept for duplicates, in entry time.'),
};

/** The settings of each part, by variable, for the documentation. */
export const SETTINGS = {
  'every service': commonFields,
  'the replica': replicaFields,
  'the applier': applierFields,
} as const;

/** Wrong or missing configuration; the message names each variable. */
export class ConfigError extends NamedError {
  readonly code = 'CONFIG';
}

type Environment = Readonly<Record<string, string | undefined>>;

function parse<S extends z.ZodRawShape>(fields: S, environment: Environment): z.output<z.ZodObject<S>> {
  const given = Object.fromEntries(Object.keys(fields).map((key) => [key, environment[key] || undefined]));
  const parsed = z.object(fields).safeParse(given);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  throw new ConfigError(`wrong configuration: ${problems.join('; ')}`);
}

export interface CommonConfig extends NatsAccess {
  readonly cluster: string;
  readonly server: string;
  readonly servers: readonly string[];
  /** It has no say until it has been added to the cluster (T11). */
  readonly join: boolean;
  readonly groups: number;
  readonly natsUrl: string;
  readonly natsOrder: 'random' | 'listed';
  readonly natsInboxPrefix: string;
  /** Of the NATS server that this server's streams are made on; none: any. */
  readonly natsStreamTags?: readonly string[];
  readonly logLevel: string;
  readonly metricsPort: number | undefined;
  /** Default 127.0.0.1. */
  readonly metricsAddress?: string | undefined;
  readonly stateMachine: string | undefined;
}

export type ReplicaConfig = Readonly<ReturnType<typeof replicaConfig>>;
export type ApplierConfig = Readonly<ReturnType<typeof applierConfig>>;

export function commonConfig(environment: Environment = process.env): CommonConfig {
  const value = parse(commonFields, environment);
  const join = value.CRAFT_JOIN === 'true';
  if (!join && !value.CRAFT_SERVERS.includes(value.CRAFT_SERVER)) {
    throw new ConfigError(`wrong configuration: CRAFT_SERVER: ${value.CRAFT_SERVER} is not one of CRAFT_SERVERS`);
  }
  if (value.CRAFT_NATS_INBOX_PREFIX.split('.')[0] === value.CRAFT_CLUSTER) {
    throw new ConfigError('wrong configuration: CRAFT_NATS_INBOX_PREFIX must not begin with the name of the cluster');
  }
  if ((value.CRAFT_NATS_TLS_CERT === undefined) !== (value.CRAFT_NATS_TLS_KEY === undefined)) {
    throw new ConfigError('wrong configuration: CRAFT_NATS_TLS_CERT and CRAFT_NATS_TLS_KEY belong together');
  }
  return {
    cluster: value.CRAFT_CLUSTER,
    server: value.CRAFT_SERVER,
    servers: value.CRAFT_SERVERS,
    join,
    groups: value.CRAFT_GROUPS,
    natsUrl: value.CRAFT_NATS_URL,
    natsOrder: value.CRAFT_NATS_ORDER,
    natsInboxPrefix: value.CRAFT_NATS_INBOX_PREFIX,
    natsStreamTags: value.CRAFT_NATS_STREAM_TAGS ?? [],
    natsCreds: value.CRAFT_NATS_CREDS,
    natsNkey: value.CRAFT_NATS_NKEY,
    natsToken: value.CRAFT_NATS_TOKEN,
    natsTlsCa: value.CRAFT_NATS_TLS_CA,
    natsTlsCert: value.CRAFT_NATS_TLS_CERT,
    natsTlsKey: value.CRAFT_NATS_TLS_KEY,
    logLevel: value.CRAFT_LOG_LEVEL,
    metricsPort: value.CRAFT_METRICS_PORT,
    metricsAddress: value.CRAFT_METRICS_ADDRESS,
    stateMachine: value.CRAFT_STATE_MACHINE,
  };
}

export function replicaConfig(environment: Environment = process.env) {
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
    /** Of the registry of log stores. */
    registryReplicas: value.CRAFT_SNAPSHOT_REPLICAS,
  };
}

export function applierConfig(environment: Environment = process.env) {
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
