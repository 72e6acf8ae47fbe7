/** The environment of one server's processes. */

export interface ServerEnvironment {
  readonly base: NodeJS.ProcessEnv;
  readonly cluster: string;
  readonly server: string;
  readonly servers: readonly string[];
  readonly groups: number;
  readonly natsUrl: string;
  readonly dataDir: string;
  readonly databaseUrl: string;
  /** Address of NATS' monitoring when the logs are in JetStream. */
  readonly monitorUrl: string | undefined;
  readonly otlpEndpoint: string | undefined;
  /** Counts the processes of the cluster, so that each has a metrics port of its own. */
  readonly processIndex: number;
  readonly more: NodeJS.ProcessEnv;
}

/**
 * Starts from the launcher's own environment, so that election timeouts, limits, log levels and
 * OTEL_ variables can be set there.
 */
export function serverEnvironment(about: ServerEnvironment): NodeJS.ProcessEnv {
  const { CRAFT_METRICS_PORT: metricsPort, OTEL_EXPORTER_OTLP_ENDPOINT: _given, ...base } = about.base;
  return {
    ...base,
    CRAFT_CLUSTER: about.cluster,
    CRAFT_SERVER: about.server,
    CRAFT_SERVERS: about.servers.join(','),
    CRAFT_GROUPS: String(about.groups),
    CRAFT_NATS_URL: about.natsUrl,
    CRAFT_DATA_DIR: about.dataDir,
    CRAFT_DATABASE_URL: about.databaseUrl,
    ...(metricsPort && { CRAFT_METRICS_PORT: String(Number(metricsPort) + about.processIndex) }),
    ...(about.monitorUrl !== undefined && { CRAFT_LOG_STORE: 'jetstream', CRAFT_NATS_MONITOR_URL: about.monitorUrl }),
    ...(about.otlpEndpoint !== undefined && { OTEL_EXPORTER_OTLP_ENDPOINT: about.otlpEndpoint }),
    ...about.more,
  };
}
