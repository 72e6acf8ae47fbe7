/**
 * What all contestants share: a folder, one Postgres server with one set of settings, and what the
 * command line says.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import type { ManagedProcess } from '../../../deploy/local/managed-process.js';
import { freeLowPorts } from '../../../deploy/local/ports.js';
import { localDatabaseUrl, startPostgres, withDatabase } from '../../../deploy/local/postgres.js';
import { runCommand } from '../../../deploy/local/tools/command.js';
import { temporaryFolder } from '../../harness/index.js';

export interface StageOptions {
  /** A process for each craft server, or one for each of its services. */
  readonly layout: 'server' | 'service';
  /** NATS servers under craft. */
  readonly craftNats: 1 | 3;
  /** Where craft servers write V8 processor profiles when they end. */
  readonly profileFolder?: string | undefined;
}

const SYNC_MS_MAX = 120_000;

export class Stage {
  private turns = 0;

  private constructor(
    readonly options: StageOptions,
    private readonly root: string,
    private readonly server: ManagedProcess,
    private readonly port: number,
    private readonly remove: () => Promise<void>,
  ) {}

  static async start(options: StageOptions): Promise<Stage> {
    const { path, remove } = await temporaryFolder('bench');
    const [port = 0] = await freeLowPorts(1);
    const server = await startPostgres({ dataDir: join(path, 'postgres'), port });
    return new Stage(options, path, server, port, remove);
  }

  get postgresPid(): number {
    return this.server.pid;
  }

  get databaseUrl(): string {
    return localDatabaseUrl(this.port, 'postgres');
  }

  /**
   * An empty folder for the next contestant, whose turn begins with nothing left to write of those
   * before.
   */
  async nextTurn(): Promise<string> {
    await this.admin((sql) => sql`checkpoint`);
    await runCommand('sync', [], { timeoutMs: SYNC_MS_MAX });
    this.turns += 1;
    const folder = join(this.root, `turn-${this.turns}`);
    await mkdir(folder);
    return folder;
  }

  /** Makes empty databases; returns their addresses. */
  async createDatabases(names: readonly string[]): Promise<string[]> {
    await this.dropDatabases(names);
    await this.admin(async (sql) => {
      for (const name of names) await sql`create database ${sql(name)}`;
    });
    return names.map((name) => withDatabase(this.databaseUrl, name));
  }

  /** Also those that are in use. */
  dropDatabases(names: readonly string[]): Promise<void> {
    return this.admin(async (sql) => {
      for (const name of names) await sql`drop database if exists ${sql(name)} with (force)`;
    });
  }

  postgresVersion(): Promise<string> {
    return this.admin(async (sql) => {
      const [row] = await sql<{ version: string }[]>`select current_setting('server_version') as version`;
      return row?.version ?? '';
    });
  }

  async stop(): Promise<void> {
    await this.server.stop();
    await this.remove();
  }

  private async admin<T>(use: (sql: postgres.Sql) => Promise<T>): Promise<T> {
    const sql = postgres(this.databaseUrl, { max: 1, onnotice: () => undefined });
    try {
      return await use(sql);
    } finally {
      await sql.end();
    }
  }
}
