/** What can be chosen about a local cluster. */
import type { LogStoreKind } from '../../shared/config/config.js';
import type { JaegerEffort } from './tools/jaeger.js';

export interface LocalClusterOptions {
  /** Everything that is kept, and the logs. */
  readonly dataDir: string;
  /** Default `craft`. */
  readonly cluster?: string;
  /** Default s1, s2, s3. */
  readonly servers?: readonly string[];
  /** Default 3. */
  readonly groups?: number;
  /** Default: a free port. */
  readonly natsPort?: number;
  /** NATS servers that run already, with commas between, instead of one of our own. */
  readonly natsUrl?: string;
  /**
   * Most that JetStream keeps on the disk, for example `64MB`. Default: what the NATS server finds
   * free.
   */
  readonly natsFileStoreMax?: string;
  /** Default: a free port. */
  readonly postgresPort?: number;
  /**
   * Where the replicas keep their logs. Default: CRAFT_LOG_STORE, else `segments`; for `jetstream`
   * NATS syncs every message.
   */
  readonly logStore?: LogStoreKind;
  /**
   * A Postgres server that runs already, instead of one of our own; its user must be allowed to
   * create databases.
   */
  readonly databaseUrl?: string;
  /**
   * Prefix of the databases' names; the server's name follows. Default: name of the cluster and
   * `_`.
   */
  readonly databasePrefix?: string;
  /** Whether Jaeger is started, and what may be done to get it. Default `none`. */
  readonly jaeger?: 'none' | JaegerEffort;
  readonly jaegerUiPort?: number;
  readonly otlpPort?: number;
  /** A collector that runs already; then no Jaeger is started. */
  readonly otlpEndpoint?: string;
  /**
   * Port of the metrics of the first process of a server; the others follow. Default:
   * CRAFT_METRICS_PORT, else no metrics.
   */
  readonly metricsPort?: number;
  /** A process for each server (default), or one for each service of each server. */
  readonly layout?: 'server' | 'service';
  /** More environment variables for the services; they win. */
  readonly environment?: NodeJS.ProcessEnv;
  /** And more for one server, asked for at each of its starts; they win over those. */
  readonly environmentOf?: (server: string) => NodeJS.ProcessEnv;
  /**
   * Another build of services/main.js for one server, asked for at each of its starts; undefined:
   * that of this project.
   */
  readonly programOf?: (server: string) => string | undefined;
  /** Arguments for Node itself before the services' program. */
  readonly nodeArguments?: readonly string[];
  /** Write what the services log to standard output as well. */
  readonly print?: boolean;
  /** Start services again that end by themselves. */
  readonly supervise?: boolean;
  /** Told what goes on, a line at a time. */
  readonly onNotice?: (line: string) => void;
}
