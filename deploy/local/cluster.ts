/**
 * A whole craft cluster on this machine: NATS, Postgres, perhaps Jaeger, and the services of every
 * server as processes.
 *
 *     const cluster = new LocalCluster({ dataDir });
 *     await cluster.start();
 *     await cluster.waitReady();
 *     await cluster.kill('s1', 'SIGKILL');
 *     await cluster.restart('s1');
 *     await cluster.stop();
 *
 * Parts are called `nats`, `postgres`, `jaeger`, and `s1`, `s2` …; with a process for each service
 * also `s1.replica`, `s1.merger`, `s1.applier`, and then `s1` means all three.
 */
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { connect, type NatsConnection } from 'nats';
import { type CraftClient, connectCraft, type ServerStatus } from '../../shared/client/index.js';
import { natsAddress } from '../../shared/wire/connection.js';
import type { LocalClusterOptions } from './cluster-options.js';
import { startJaeger } from './jaeger.js';
import type { ManagedProcess } from './managed-process.js';
import { startNats } from './nats.js';
import { Part, type PartEnd } from './part.js';
import { PidFolder } from './pid-file.js';
import { freePorts, requireFreePort } from './ports.js';
import { createDatabases, localDatabaseUrl, startPostgres, withDatabase } from './postgres.js';
import { servicesProgram } from './project.js';
import { agreement } from './readiness.js';
import { serverEnvironment } from './server-environment.js';
import { serverProcesses, startServerProcess } from './server-process.js';
import { ToolUnavailableError } from './tools/errors.js';
import { findJaeger } from './tools/jaeger.js';
import { findNatsServer } from './tools/nats-server.js';

export type { LocalClusterOptions } from './cluster-options.js';

/** `stop` was called before the cluster was ready. */
export class StoppedError extends Error {
  readonly code = 'STOPPED';
  constructor() {
    super('stopped while it started');
    this.name = 'StoppedError';
  }
}

/** No server is left: each has ended in the same way again and again. */
export class GivenUpError extends Error {
  readonly code = 'GIVEN_UP';
  constructor(why: string) {
    super(`no server runs any more: ${why}`);
    this.name = 'GivenUpError';
  }
}

/** What becomes of a part that has ended. */
const NEXT: Readonly<Record<PartEnd['next'], string>> = {
  again: '; starting it again',
  'given-up':
    '; it failed like this several times and is not started again: fix the cause, then start the cluster again',
  none: '',
};

export class LocalCluster {
  readonly cluster: string;
  /** Those that it began with, and those added since. */
  readonly servers: string[];
  readonly groups: number;
  readonly dataDir: string;
  private readonly parts = new Map<string, Part>();
  private readonly pidFolders: PidFolder[] = [];
  /** Processes of servers, as long as this cluster has lived. */
  private processes = 0;
  private readonly endpoints = new Map<string, string>();
  private natsPort = 0;
  /** Of NATS' monitoring, where the replicas see that it syncs; only for logs in JetStream. */
  private monitorPort: number | undefined;
  private postgresPort = 0;
  private jaegerPort: number | undefined;
  private otlp: string | undefined;
  private isStopping = false;
  /** Resolves when every server has been given up, for the first time. */
  readonly givenUp: Promise<GivenUpError>;
  private giveUp: (error: GivenUpError) => void = () => undefined;
  /** Made when it is first asked for, once for all who ask at the same time. */
  private session: Promise<{ connection: NatsConnection; client: CraftClient }> | undefined;

  constructor(private readonly options: LocalClusterOptions) {
    this.cluster = options.cluster ?? 'craft';
    this.servers = [...(options.servers ?? ['s1', 's2', 's3'])];
    this.groups = options.groups ?? 3;
    this.dataDir = resolve(options.dataDir);
    this.givenUp = new Promise((resolve) => {
      this.giveUp = resolve;
    });
  }

  /**
   * For NATS clients; of several servers with commas between (`natsAddress` of
   * shared/wire/connection.ts).
   */
  get natsUrl(): string {
    return this.options.natsUrl ?? `nats://127.0.0.1:${this.natsPort}`;
  }

  /** Jaeger's pages and API, when it runs. */
  get jaegerUrl(): string | undefined {
    return this.jaegerPort === undefined ? undefined : `http://127.0.0.1:${this.jaegerPort}`;
  }

  /** Where the services send their spans to, when anywhere. */
  get otlpEndpoint(): string | undefined {
    return this.otlp;
  }

  /**
   * Where each process of a server serves its metrics; none unless the port of the first one is
   * given.
   */
  get metricsUrls(): ReadonlyMap<string, string> {
    return this.endpoints;
  }

  /** The database of one server. */
  databaseUrl(server: string): string {
    const database = `${this.options.databasePrefix ?? `${this.cluster}_`}${server}`;
    return this.options.databaseUrl === undefined
      ? localDatabaseUrl(this.postgresPort, database)
      : withDatabase(this.options.databaseUrl, database);
  }

  /** Process ids of the parts that run, by name. */
  get pids(): Readonly<Record<string, number>> {
    const running = [...this.parts.values()].flatMap(({ name, process }) =>
      process ? [[name, process.pid] as const] : [],
    );
    return Object.fromEntries(running);
  }

  /**
   * Starts everything; the services may not have found a leader yet. Rejects, with everything
   * stopped again, with AlreadyRunningError, PortBusyError, ToolUnavailableError,
   * PostgresUnavailableError or ProcessFailedError.
   */
  async start(): Promise<void> {
    this.isStopping = false;
    try {
      await mkdir(this.dataDir, { recursive: true });
      const pidFolder = await PidFolder.open(join(this.dataDir, 'run'), (name, pid) =>
        this.notice(`ended ${name} (process ${pid}), left behind by an earlier start`),
      );
      this.pidFolders.push(pidFolder);
      await this.choosePorts();
      await Promise.all([this.startNats(pidFolder), this.startPostgres(pidFolder), this.startJaeger(pidFolder)]);
      this.refuseWhenStopping();
      this.addServers(pidFolder, this.servers);
      await Promise.all(this.serverParts().map((part) => part.start()));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Stops everything that runs, services first. */
  async stop(): Promise<void> {
    this.isStopping = true;
    const session = await this.session?.catch(() => undefined);
    await session?.connection.close();
    await Promise.all(this.serverParts().map((part) => part.stop()));
    await Promise.all([...this.parts.values()].map((part) => part.stop()));
    for (const folder of this.pidFolders.splice(0)) folder.close();
  }

  /**
   * Sends a signal to a part; resolves after its end when the signal is one that ends processes.
   */
  async kill(target: string, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await Promise.all(this.partsOf(target).map((part) => part.kill(signal)));
  }

  /** Starts what does not run of a part, on the ports and data that it had. */
  async restart(target: string): Promise<void> {
    await Promise.all(this.partsOf(target).map((part) => part.start()));
  }

  /**
   * Starts one more server, which joins: it has no say until it has been added to the groups
   * (`craft members add`, T11). With a database of its own, empty the first time.
   */
  async addServer(server: string): Promise<void> {
    const [pidFolder] = this.pidFolders;
    if (pidFolder === undefined) throw new Error('the cluster has not been started');
    if (this.servers.includes(server)) throw new Error(`there is a server ${server} already`);
    await this.createDatabases([server]);
    this.servers.push(server);
    this.addServers(pidFolder, [server], { CRAFT_JOIN: 'true' });
    await this.restart(server);
  }

  /**
   * A server that has been taken out of the groups and stopped belongs to this cluster no longer.
   */
  forget(server: string): void {
    const at = this.servers.indexOf(server);
    if (at < 0) throw new Error(`this cluster has no server ${server}`);
    this.servers.splice(at, 1);
    for (const { name } of this.partsOf(server)) this.parts.delete(name);
  }

  /** What the servers that answer within a second say. */
  async status(): Promise<ServerStatus[]> {
    this.refuseWhenStopping();
    this.session ??= this.connect().catch((error: unknown) => {
      this.session = undefined;
      throw error;
    });
    const { client } = await this.session;
    return client.status();
  }

  private async connect(): Promise<{ connection: NatsConnection; client: CraftClient }> {
    const connection = await connect({
      ...natsAddress(this.natsUrl),
      name: 'craft launcher',
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
    });
    return { connection, client: await connectCraft({ connection, cluster: this.cluster }) };
  }

  /**
   * Resolves with the leader of each group when every group has one that all of `servers` (default:
   * all that run) agree on. Rejects after `timeoutMs` milliseconds with what is missing.
   */
  async waitReady(options: { timeoutMs?: number; servers?: readonly string[] } = {}): Promise<string[]> {
    const timeoutMs = options.timeoutMs ?? 60_000;
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const servers = options.servers ?? this.servers.filter((server) => this.isRunning(server));
      const { leaders, missing } = agreement(await this.status().catch(() => []), servers, this.groups);
      if (missing.length === 0) return leaders;
      this.refuseWhenStopping();
      if (Date.now() > deadline) {
        throw new Error(`not ready after ${timeoutMs / 1000} s: ${missing.join('; ')}; logs are in ${this.dataDir}`);
      }
      await delay(50);
    }
  }

  private get logStore(): string | undefined {
    const { logStore, environment = {} } = this.options;
    return logStore ?? environment['CRAFT_LOG_STORE'] ?? process.env['CRAFT_LOG_STORE'];
  }

  /** The log of a server, or of one of its processes. */
  logOf(server: string, name: string = server): string {
    return join(this.dataDir, server, `${name}.log`);
  }

  private isRunning(server: string): boolean {
    return this.partsOf(server).every((part) => part.process !== undefined);
  }

  private notice(line: string): void {
    this.options.onNotice?.(line);
  }

  private async choosePorts(): Promise<void> {
    const { natsPort, natsUrl, postgresPort, databaseUrl, jaeger, jaegerUiPort, otlpPort, otlpEndpoint } = this.options;
    const [freeNats = 0, freePostgres = 0, freeUi = 0, freeOtlp = 0, freeMonitor = 0] = await freePorts(5);
    this.natsPort = natsPort ?? freeNats;
    this.postgresPort = postgresPort ?? freePostgres;
    this.otlp = otlpEndpoint;
    if (this.logStore === 'jetstream') {
      if (natsUrl !== undefined) throw new Error('logs in JetStream need a NATS server of the local cluster itself');
      this.monitorPort = freeMonitor;
    }
    if (natsUrl === undefined) await requireFreePort(this.natsPort, 'NATS', 'CRAFT_NATS_PORT');
    if (databaseUrl === undefined) await requireFreePort(this.postgresPort, 'Postgres', 'CRAFT_POSTGRES_PORT');
    if (otlpEndpoint !== undefined || jaeger === undefined || jaeger === 'none') return;
    this.jaegerPort = jaegerUiPort ?? freeUi;
    const otlp = otlpPort ?? freeOtlp;
    await requireFreePort(this.jaegerPort, "Jaeger's pages", 'CRAFT_JAEGER_PORT');
    await requireFreePort(otlp, 'OTLP', 'CRAFT_OTLP_PORT');
    this.otlp = `http://127.0.0.1:${otlp}`;
  }

  private async startNats(pidFolder: PidFolder): Promise<void> {
    if (this.options.natsUrl !== undefined) return;
    const tool = await findNatsServer({ onFetch: (method) => this.notice(`fetching nats-server (${method}), once …`) });
    const options = {
      program: tool.path,
      dataDir: join(this.dataDir, 'nats'),
      port: this.natsPort,
      monitorPort: this.monitorPort,
      syncAlways: this.monitorPort !== undefined,
      fileStoreMax: this.options.natsFileStoreMax,
      pidFolder,
    };
    await this.startPart('nats', () => startNats(options));
  }

  private async startPostgres(pidFolder: PidFolder): Promise<void> {
    if (this.options.databaseUrl === undefined) {
      const options = { dataDir: join(this.dataDir, 'postgres'), port: this.postgresPort, pidFolder };
      await this.startPart('postgres', () => startPostgres(options));
    }
    await this.createDatabases(this.servers);
  }

  private createDatabases(servers: readonly string[]): Promise<void> {
    const url = this.options.databaseUrl ?? localDatabaseUrl(this.postgresPort, 'postgres');
    return createDatabases(
      url,
      servers.map((server) => new URL(this.databaseUrl(server)).pathname.slice(1)),
    );
  }

  /** Best effort: a cluster without it does all the same. */
  private async startJaeger(pidFolder: PidFolder): Promise<void> {
    const { jaeger: effort = 'none' } = this.options;
    if (this.jaegerPort === undefined || effort === 'none') return;
    try {
      const tool = await findJaeger(effort, {
        onFetch: (method) => this.notice(`fetching Jaeger (${method}), once …`),
      });
      const otlpPort = Number(new URL(this.otlp ?? '').port);
      const options = { tool, dataDir: join(this.dataDir, 'jaeger'), uiPort: this.jaegerPort, otlpPort, pidFolder };
      await this.startPart('jaeger', () => startJaeger(options));
    } catch (error) {
      this.jaegerPort = undefined;
      this.otlp = undefined;
      const reason =
        error instanceof ToolUnavailableError ? 'it is not installed and could not be fetched' : String(error);
      this.notice(`no Jaeger, so no traces are kept: ${reason} (see CRAFT_JAEGER in deploy/README.md)`);
    }
  }

  private addServers(pidFolder: PidFolder, servers: readonly string[], besides: Record<string, string> = {}): void {
    const program = servicesProgram();
    const { metricsPort } = this.options;
    for (const one of serverProcesses(servers, this.options.layout ?? 'server')) {
      const environment = serverEnvironment({
        base: metricsPort === undefined ? process.env : { ...process.env, CRAFT_METRICS_PORT: `${metricsPort}` },
        cluster: this.cluster,
        server: one.server,
        servers: this.servers,
        groups: this.groups,
        natsUrl: this.natsUrl,
        dataDir: join(this.dataDir, one.server),
        databaseUrl: this.databaseUrl(one.server),
        monitorUrl: this.monitorPort === undefined ? undefined : `http://127.0.0.1:${this.monitorPort}`,
        otlpEndpoint: this.otlp,
        processIndex: this.processes,
        more: { ...this.options.environment, ...besides },
      });
      this.processes += 1;
      const { nodeArguments = [], print = false, supervise = false, environmentOf, programOf } = this.options;
      const { CRAFT_METRICS_PORT: ownPort } = environment;
      if (ownPort) this.endpoints.set(one.name, `http://127.0.0.1:${ownPort}/metrics`);
      const logFile = this.logOf(one.server, one.name);
      const launch = (): Promise<ManagedProcess> =>
        startServerProcess(one, {
          program: programOf?.(one.server) ?? program,
          nodeArguments,
          environment: { ...environment, ...environmentOf?.(one.server) },
          logFile,
          print,
          pidFolder,
        });
      this.add(one.name, launch, supervise);
    }
  }

  private startPart(name: string, launch: () => Promise<ManagedProcess>): Promise<void> {
    this.refuseWhenStopping();
    return this.add(name, launch).start();
  }

  /** Finding and fetching take a while, in which `stop` may have been called. */
  private refuseWhenStopping(): void {
    if (this.isStopping) throw new StoppedError();
  }

  private add(name: string, launch: () => Promise<ManagedProcess>, supervise = false): Part {
    const known = this.parts.get(name);
    if (known) return known;
    const onEnd = (_name: string, end: PartEnd): void => {
      const what = `${name} ${inWords(end)}`;
      this.notice(`${what}${NEXT[end.next]}`);
      if (this.servers.every((server) => this.isGivenUp(server))) this.giveUp(new GivenUpError(what));
    };
    const part = new Part(name, launch, { supervise, onEnd });
    this.parts.set(name, part);
    return part;
  }

  private serverParts(): Part[] {
    return this.servers.flatMap((server) => this.partsOfServer(server));
  }

  private partsOfServer(server: string): Part[] {
    return [...this.parts.values()].filter(({ name }) => belongs(name, server));
  }

  /** Not before it was started. */
  private isGivenUp(server: string): boolean {
    const parts = this.partsOfServer(server);
    return parts.length > 0 && parts.every(({ lastWord }) => lastWord !== undefined);
  }

  private partsOf(target: string): Part[] {
    const parts = [...this.parts.values()].filter(({ name }) => belongs(name, target));
    if (parts.length === 0) throw new Error(`this cluster has no part ${target}; it has ${[...this.parts.keys()]}`);
    return parts;
  }
}

function inWords({ status, reason }: PartEnd): string {
  return `ended with ${status.signal ?? `code ${status.code}`}${reason === undefined ? '' : `: ${reason}`}`;
}

function belongs(part: string, target: string): boolean {
  return part === target || part.startsWith(`${target}.`);
}
