/** The variables of the environment that craft reads, and what is wrong with given ones. Pure. */
import type { ZodType } from 'zod';
import { ConfigError, replicaConfig, SETTINGS } from '../../../shared/config/config.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** Of the command line, of `npm start`, and of tests. Those of services are in their schemas. */
const OTHERS = [
  ...['CRAFT_CONTEXT', 'CRAFT_TOOLS_DIR', 'CRAFT_NATS_PORT', 'CRAFT_NATS_MONITOR_PORT', 'CRAFT_POSTGRES_PORT'],
  ...['CRAFT_JAEGER', 'CRAFT_JAEGER_PORT', 'CRAFT_OTLP_PORT', 'CRAFT_TEST_CLOCK_OFFSET_MS'],
];
/** What `craft nats-config` takes: one for each user. */
const PASSWORD = /^CRAFT_[A-Z0-9_]+_PASSWORD$/;

const FIELDS: Readonly<Record<string, ZodType>> = Object.assign({}, ...Object.values(SETTINGS));
export const SETTING_NAMES: readonly string[] = [...Object.keys(FIELDS), ...OTHERS];

/** Every setting that names a file. */
export const FILE_SETTINGS: readonly string[] = [
  ...['CRAFT_STATE_MACHINE', 'CRAFT_NATS_CREDS', 'CRAFT_NATS_NKEY'],
  ...['CRAFT_NATS_TLS_CA', 'CRAFT_NATS_TLS_CERT', 'CRAFT_NATS_TLS_KEY'],
];

/** Names that nothing reads. */
export function unknownSettings(environment: Environment): string[] {
  const given = Object.keys(environment).filter((name) => name.startsWith('CRAFT_') && environment[name] !== undefined);
  return given.filter((name) => !SETTING_NAMES.includes(name) && !PASSWORD.test(name)).sort();
}

export interface WrongSetting {
  readonly name: string;
  /** Without the value, which may be a secret. */
  readonly why: string;
}

/** Values that do not parse, each by itself. As for the services, an empty one is none. */
export function wrongSettings(environment: Environment): WrongSetting[] {
  return Object.entries(FIELDS).flatMap(([name, field]) => {
    const value = environment[name] || undefined;
    if (value === undefined) return [];
    const parsed = field.safeParse(value);
    return parsed.success ? [] : [{ name, why: parsed.error.issues.map(({ message }) => message).join('; ') }];
  });
}

/** Whether this is the environment of a server, not only that of an operator or a client. */
export function isOfServer(environment: Environment): boolean {
  return Boolean(environment['CRAFT_SERVER'] || environment['CRAFT_SERVERS']);
}

/** Why values that parse do not fit together, or what is missing. */
export function settingsConflict(environment: Environment): string | undefined {
  if (wrongSettings(environment).length > 0) return undefined;
  for (const [name, other] of [
    ['CRAFT_SERVER', 'CRAFT_SERVERS'],
    ['CRAFT_SERVERS', 'CRAFT_SERVER'],
  ] as const) {
    if (!environment[name] && environment[other]) return `${name} is not set, and ${other} is: a server needs both`;
  }
  try {
    replicaConfig({ CRAFT_SERVER: 's1', CRAFT_SERVERS: 's1', ...environment });
    return undefined;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.replace(/^wrong configuration: /, '');
  }
}

/**
 * The value of a number of the replica or the applier: the given one, or the default. @throws
 * ConfigError for a name without a number.
 */
function numberSetting(environment: Environment, name: NumberSetting): number {
  const field = { ...SETTINGS['the replica'], ...SETTINGS['the applier'] }[name];
  return field.safeParse(environment[name] || undefined).data ?? field.parse(undefined);
}

/**
 * The same for what the servers have: undefined where this environment neither is one of a server
 * nor gives the value.
 */
export function serverNumber(environment: Environment, name: NumberSetting): number | undefined {
  return isOfServer(environment) || environment[name] ? numberSetting(environment, name) : undefined;
}

export type NumberSetting =
  | 'CRAFT_PAYLOAD_BYTES_MAX'
  | 'CRAFT_CLOCK_OFFSET_MAX_MS'
  | 'CRAFT_SNAPSHOT_REPLICAS'
  | 'CRAFT_SNAPSHOT_ENTRIES'
  | 'CRAFT_SNAPSHOT_AGE_MS';
