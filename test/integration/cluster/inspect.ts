/** Looking at a whole cluster from outside: tables, positions and merged logs of every server. */
import { DeliverPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import postgres from 'postgres';
import type { LocalCluster } from '../../../deploy/local/cluster.js';
import { natsAddress } from '../../../shared/wire/connection.js';
import { decodeMergedBatch } from '../../../shared/wire/merged-batch.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { eventually } from '../../harness/index.js';

export interface Database {
  readonly mergedIndex: number;
  readonly checksum: string;
  readonly resultsChecksum: string;
  readonly keys: number;
  /** A hash over all rows in order of their keys. */
  readonly rowsHash: string;
}

export async function readDatabase(url: string): Promise<Database> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    const [found] = await sql<Database[]>`
      select p.merged_index::float8 as "mergedIndex", p.checksum, p.results_checksum as "resultsChecksum",
        (select count(*)::int from kv) as keys,
        (select md5(coalesce(string_agg(row(key, value, version, merged_index, updated_at)::text, ';' order by key), ''))
         from kv) as "rowsHash"
      from craft.position p`;
    if (found === undefined) throw new Error('no position yet');
    return found;
  } finally {
    await sql.end();
  }
}

/** How many puts the keys have seen, when none was deleted. */
export async function sumOfVersions(url: string): Promise<number> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    const [found] = await sql<{ sum: number }[]>`select coalesce(sum(version), 0)::float8 as sum from kv`;
    return found?.sum ?? 0;
  } finally {
    await sql.end();
  }
}

/**
 * Waits until every server's database is at the same place, at least `mergedIndex`, and returns
 * them.
 */
export function converged(cluster: LocalCluster, mergedIndex: number, timeoutMs = 30_000): Promise<Database[]> {
  return eventually(
    `all databases at one place from ${mergedIndex} on`,
    async () => {
      const all = await Promise.all(cluster.servers.map((server) => readDatabase(cluster.databaseUrl(server))));
      const places = new Set(all.map((one) => one.mergedIndex));
      return places.size === 1 && (all[0]?.mergedIndex ?? 0) >= mergedIndex ? all : undefined;
    },
    { timeoutMs, everyMs: 100 },
  );
}

export interface MergedLog {
  /** Merged index, group, index in the group and timestamp of every entry. */
  readonly entries: readonly { mergedIndex: number; group: number; index: number; timestamp: number }[];
  readonly checksum: string;
}

/**
 * The whole merged log of one server, read from its stream as soon as that has everything that the
 * database has.
 */
export async function readMergedLog(cluster: LocalCluster, server: string): Promise<MergedLog> {
  const connection = await connect(natsAddress(cluster.natsUrl));
  try {
    const name = new Subjects(cluster.cluster).logStream(server);
    const manager = await jetstreamManager(connection);
    const { mergedIndex } = await readDatabase(cluster.databaseUrl(server));
    // It is written behind.
    const state = await eventually(`the stream of ${server} at ${mergedIndex}`, async () => {
      const found = (await manager.streams.info(name)).state;
      const last = found.messages === 0 ? null : await manager.streams.getMessage(name, { seq: found.last_seq });
      const stored = last === null ? 0 : decodeMergedBatch(last.data).after.mergedIndex;
      return stored >= mergedIndex ? found : undefined;
    });
    const entries: MergedLog['entries'][number][] = [];
    let checksum = '';
    if (state.messages === 0) return { entries, checksum };
    const consumer = await jetstream(connection).consumers.get(name, { deliver_policy: DeliverPolicy.All });
    for await (const message of await consumer.consume()) {
      const batch = decodeMergedBatch(message.data);
      for (const [i, { index, timestamp }] of batch.entries.entries()) {
        entries.push({ mergedIndex: batch.firstMergedIndex + i, group: batch.groups[i] ?? -1, index, timestamp });
      }
      checksum = batch.after.checksum;
      if (message.seq >= state.last_seq) break;
    }
    return { entries, checksum };
  } finally {
    await connection.close();
  }
}
