/** How far the databases of a cluster are, and snapshots of them. */
import type { NatsConnection } from 'nats';
import type { SnapshotBucket } from '../../../shared/snapshot/bucket.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import { eventually } from '../../harness/index.js';

const SYNC_MS_MAX = 10_000;

/**
 * Resolves, with the merged index, when the database of `server` shows every write that was
 * acknowledged before.
 */
export function synced(connection: NatsConnection, server: string, timeoutMs: number): Promise<number> {
  const subject = new Subjects('craft').sync(server);
  return eventually(
    `the database of ${server} is up to date`,
    async () => {
      const reply = await connection.request(subject, '', { timeout: SYNC_MS_MAX });
      return reply.json<{ index?: number }>().index;
    },
    { timeoutMs },
  );
}

/**
 * Every server is asked; resolves when one that covers everything up to now is in the bucket.
 * Milliseconds.
 */
export async function takeSnapshot(
  connection: NatsConnection,
  bucket: SnapshotBucket,
  timeoutMs: number,
): Promise<number> {
  const wanted = await synced(connection, 's1', timeoutMs);
  const startMs = performance.now();
  connection.publish(new Subjects('craft').admin('snapshot'));
  await eventually(
    'a snapshot',
    async () => ((await bucket.list()).at(-1)?.position.mergedIndex ?? 0) >= wanted || undefined,
    { timeoutMs },
  );
  return performance.now() - startMs;
}
