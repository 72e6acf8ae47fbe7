/** The cluster as any NATS client sees it: subjects, headers and JSON, nothing of this project. */
import { randomUUID } from 'node:crypto';
import { connect, headers, type Msg, type NatsConnection } from 'nats';
import postgres from 'postgres';
import { expect } from 'vitest';
import { eventually } from '../../harness/index.js';

export interface Answer {
  readonly body: Record<string, unknown>;
  readonly header: (name: string) => string;
}

export interface KvRow {
  readonly value: unknown;
  readonly version: number;
  readonly mergedIndex: number;
  /** Microseconds since the Unix epoch. */
  readonly updatedAtUs: number;
}

/** What `<c>.admin.status` must say. */
interface Status {
  readonly server: string;
  readonly groups: { group: number; role: string; leader: string | null; term: number; lastIndex: number }[];
  readonly protocol?: { readonly refused: readonly { server: string; protocol: number; since: string }[] };
  readonly malformed?: number;
}

/** All that one has to know. */
export interface ClusterAddress {
  readonly natsUrl: string;
  readonly cluster: string;
  readonly servers: readonly string[];
  databaseUrl(server: string): string;
}

export class PlainClient {
  private constructor(
    readonly nats: NatsConnection,
    private readonly databases: readonly postgres.Sql[],
    private readonly cluster: string,
    private readonly servers: number,
  ) {}

  static async open(address: ClusterAddress): Promise<PlainClient> {
    const { natsUrl, cluster, servers } = address;
    const databases = servers.map((server) =>
      postgres(address.databaseUrl(server), { max: 1, onnotice: () => undefined }),
    );
    return new PlainClient(await connect({ servers: natsUrl }), databases, cluster, servers.length);
  }

  async close(): Promise<void> {
    await this.nats.close();
    await Promise.all(this.databases.map((sql) => sql.end()));
  }

  raw(subject: string, payload: string | Uint8Array, header: Record<string, string> = {}): Promise<Msg> {
    const all = headers();
    for (const [name, value] of Object.entries(header)) all.set(name, value);
    return this.nats.request(subject, payload, { timeout: 10_000, headers: all });
  }

  /** `subject` without the cluster's name. An object is sent as JSON. */
  async request(subject: string, input: object | string, header: Record<string, string> = {}): Promise<Answer> {
    const payload = typeof input === 'string' ? input : JSON.stringify(input);
    const message = await this.raw(`${this.cluster}.${subject}`, payload, header);
    return { body: message.json(), header: (name) => message.headers?.get(name) ?? '' };
  }

  /**
   * The same, as clients have to do it: again with the same id while the answer says that this may
   * help, or none comes. A group may have no leader for a moment on a busy machine.
   */
  async surely(subject: string, input: object | string, header: Record<string, string> = {}): Promise<Answer> {
    const id = header['Nats-Msg-Id'] ?? randomUUID();
    return eventually(
      `an answer to ${subject}`,
      async () => {
        const answer = await this.request(subject, input, { ...header, 'Nats-Msg-Id': id });
        const { ok, error } = answer.body as { ok: boolean; error?: { code: string; retryable: boolean } };
        return !ok && (error?.retryable === true || error?.code === 'TIMEOUT_UNKNOWN') ? undefined : answer;
      },
      { timeoutMs: 30_000 },
    );
  }

  async status(): Promise<Status[]> {
    const options = { strategy: 'count', maxMessages: this.servers, maxWait: 5_000 } as const;
    const statuses: Status[] = [];
    for await (const message of await this.nats.requestMany(`${this.cluster}.admin.status`, '{}', options)) {
      statuses.push(message.json());
    }
    return statuses.sort((a, b) => (a.server < b.server ? -1 : 1));
  }

  /** What must not change when nothing is appended and no leader changes. */
  async logs(): Promise<unknown> {
    return (await this.status()).map(({ server, groups }) => ({
      server,
      groups: groups.map(({ group, leader, term, lastIndex }) => ({ group, leader, term, lastIndex })),
    }));
  }

  async malformed(): Promise<number> {
    return (await this.status()).reduce((sum, { malformed }) => sum + (malformed ?? 0), 0);
  }

  /** The row of a key in each database. */
  async rows(key: string): Promise<(KvRow | undefined)[]> {
    return (await this.rowsLike(key.replaceAll(/[\\%_]/g, '\\$&'))).map((rows) => rows.get(key));
  }

  /** Rows of keys of this pattern of SQL, by key, in each database. */
  rowsLike(pattern: string): Promise<Map<string, KvRow>[]> {
    return Promise.all(
      this.databases.map(async (sql) => {
        const rows = await sql<(KvRow & { key: string })[]>`
          select key, value, version::float8 as version, merged_index::float8 as "mergedIndex",
            extract(epoch from updated_at)::numeric * 1000000 as "updatedAtUs"
          from kv where key like ${pattern}`;
        return new Map(rows.map(({ key, ...row }) => [key, { ...row, updatedAtUs: Number(row.updatedAtUs) }]));
      }),
    );
  }

  /** Waits up to a second for the same row in all databases. */
  async rowEverywhere(key: string, matches: (row: KvRow) => boolean = () => true): Promise<KvRow> {
    let rows: (KvRow | undefined)[] = [];
    await expect
      .poll(
        async () => {
          rows = await this.rows(key);
          return rows.every((row) => row !== undefined && matches(row));
        },
        { timeout: 1_000, interval: 20, message: `${key} in all databases` },
      )
      .toBe(true);
    expect(new Set(rows.map((row) => JSON.stringify(row))).size).toBe(1);
    const [row] = rows;
    if (row === undefined) throw new Error(`no row for ${key}`);
    return row;
  }
}
