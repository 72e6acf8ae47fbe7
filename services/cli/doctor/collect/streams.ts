/** Facts of the streams and of the snapshots, by reading alone. */
import { jetstreamManager } from '@nats-io/jetstream';
import { SnapshotBucket } from '../../../../shared/snapshot/bucket.js';
import type { Session } from '../../session.js';
import type { SnapshotsFacts, StreamFacts, StreamsFacts } from '../facts.js';
import { JETSTREAM_MS_MAX } from './nats.js';

/** More are not looked at. */
const STREAMS_MAX = 1_000;

export async function streamsFacts({ connection }: Session): Promise<StreamsFacts> {
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: JETSTREAM_MS_MAX });
  const streams: StreamFacts[] = [];
  for await (const { config, cluster } of manager.streams.list()) {
    if (streams.length === STREAMS_MAX) return { streams, isCut: true };
    streams.push({ config, ...(cluster !== undefined && { cluster }) });
  }
  return { streams, isCut: false };
}

/** `streams`: a bucket that is not there has no snapshots, and is not made. */
export async function snapshotsFacts(session: Session, { streams }: StreamsFacts): Promise<SnapshotsFacts> {
  const { connection, subjects } = session;
  const nowMs = Date.now();
  const bucket = `OBJ_${subjects.snapshotBucket()}`;
  if (!streams.some(({ config }) => config.name === bucket)) return { snapshots: [], nowMs };
  return { snapshots: await (await SnapshotBucket.find(connection, subjects)).list(), nowMs };
}
