/** What can be set about the local cluster, by environment variables. */
import { z } from 'zod';
import { ConfigError } from '../../shared/config/config.js';
import type { LocalClusterOptions } from './cluster.js';

const port = z.coerce.number().int().min(1).max(65_535);

const fields = z.object({
  /** Everything that is kept, and the logs. */
  CRAFT_DATA_DIR: z.string().default('.craft'),
  CRAFT_NATS_PORT: port.default(4222),
  CRAFT_POSTGRES_PORT: port.default(54_320),
  /** Jaeger's pages. */
  CRAFT_JAEGER_PORT: port.default(16_686),
  /** Where Jaeger takes spans (OTLP over HTTP). */
  CRAFT_OTLP_PORT: port.default(4318),
  /** `none`; `installed`: when it is there; `find`: fetched as well; `build`: built with Go when there is no other way. */
  CRAFT_JAEGER: z.enum(['none', 'installed', 'find', 'build']).default('find'),
  CRAFT_CLUSTER: z.string().default('craft'),
  CRAFT_SERVERS: z.string().default('s1,s2,s3'),
  CRAFT_GROUPS: z.coerce.number().int().min(1).max(64).default(3),
  /** A Postgres server that runs already. */
  DATABASE_URL: z.string().optional(),
  /** A collector that runs already. */
  OTEL_EXPORTER_OTLP_ENDPOINT: z.string().optional(),
});

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
