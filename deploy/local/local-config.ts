/** What can be set about the local cluster, by environment variables. */
import { z } from 'zod';
import { ConfigError } from '../../shared/config/config.js';
import type { LocalClusterOptions } from './cluster.js';

const port = z.coerce.number().int().min(1).max(65_535);

const fields = z.object({
  CRAFT_DATA_DIR: z.string().default('.craft').describe('Folder of all data and logs.'),
  CRAFT_NATS_PORT: port.default(4222).describe('Port of NATS.'),
  CRAFT_POSTGRES_PORT: port.default(54_320).describe('Port of Postgres.'),
  CRAFT_JAEGER_PORT: port.default(16_686).describe("Port of Jaeger's pages."),
  CRAFT_OTLP_PORT: port.default(4318).describe('Port where Jaeger takes spans (OTLP over HTTP).'),
  CRAFT_JAEGER: z
    .enum(['none', 'installed', 'find', 'build'])
    .default('find')
    .describe(
      '`find`: use Jaeger, or download it. `installed`: use it when it is there. `build`: build it with Go (minutes, once) when nothing else works. `none`: no Jaeger.',
    ),
  CRAFT_CLUSTER: z.string().default('craft').describe('Name of the cluster.'),
  CRAFT_SERVERS: z.string().default('s1,s2,s3').describe('Names of the servers, separated by commas.'),
  CRAFT_GROUPS: z.coerce.number().int().min(1).max(64).default(3).describe('Number of Raft groups.'),
  DATABASE_URL: z
    .string()
    .optional()
    .describe('A Postgres server that runs already. Its user must be allowed to create databases.'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z
    .string()
    .optional()
    .describe('A collector that runs already. Then no Jaeger is started.'),
});

/** By variable, for the documentation. */
export const LOCAL_SETTINGS = fields.shape;

/** Throws ConfigError, which names each wrong variable. */
export function localConfig(environment: NodeJS.ProcessEnv = process.env): LocalClusterOptions {
  const given = Object.fromEntries(Object.keys(fields.shape).map((key) => [key, environment[key] || undefined]));
  const parsed = fields.safeParse(given);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new ConfigError(`wrong configuration: ${problems.join('; ')}`);
  }
  const value = parsed.data;
  return {
    dataDir: value.CRAFT_DATA_DIR,
    cluster: value.CRAFT_CLUSTER,
    servers: value.CRAFT_SERVERS.split(',').map((name) => name.trim()),
    groups: value.CRAFT_GROUPS,
    natsPort: value.CRAFT_NATS_PORT,
    postgresPort: value.CRAFT_POSTGRES_PORT,
    jaeger: value.CRAFT_JAEGER,
    jaegerUiPort: value.CRAFT_JAEGER_PORT,
    otlpPort: value.CRAFT_OTLP_PORT,
    ...(value.DATABASE_URL !== undefined && { databaseUrl: value.DATABASE_URL }),
    ...(value.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined && { otlpEndpoint: value.OTEL_EXPORTER_OTLP_ENDPOINT }),
  };
}
