/**
 * How long a server needs to be there again, and what clients feel of it: restart, catching up, a
 * snapshot, its installation.
 */
import type { NatsConnection } from 'nats';
import { SnapshotBucket } from '../../../shared/snapshot/bucket.js';
import { Subjects } from '../../../shared/wire/subjects.js';
import type { LoadProcess } from '../load/driver.js';
import type { LoadRun } from '../load/protocol.js';
import type { CraftSystem } from '../systems/craft.js';
import { synced, takeSnapshot } from '../systems/state.js';
import type { Dimension, Setting } from './dimensions.js';
import type { Recovery } from './table.js';

const AWAY = 's3';
const OTHER = 's1';
const WAIT_MS_MAX = 600_000;
const UNWATCHED = { processes: {}, monitors: [] };

export interface RecoveryGiven {
  readonly dimension: Dimension;
  readonly size: number;
  readonly setting: Setting;
  readonly connection: NatsConnection;
  readonly system: CraftSystem;
  readonly load: LoadProcess;
  /** One run of the load: while the server is away. */
  readonly run: LoadRun;
  /** The same load goes on until the server has caught up, or for so long. */
  readonly catchUpSecondsMax: number;
}

export async function recover(given: RecoveryGiven): Promise<Recovery> {
  const { dimension, size, setting, connection, system } = given;
  const restartMs = await restart(connection, system);
  const catchUp = await catchUpUnderLoad(given);
  const bucket = await SnapshotBucket.open(connection, new Subjects(system.cluster.cluster), 1);
  const snapshotMs = await takeSnapshot(connection, bucket, WAIT_MS_MAX);
  const snapshotBytes = (await bucket.list()).at(-1)?.bytes ?? 0;
  const installMs = await install(connection, system);
  return { dimension, size, restartMs, catchUp, keys: setting.keys, snapshotBytes, snapshotMs, installMs };
}

async function restart(connection: NatsConnection, { cluster }: CraftSystem): Promise<number> {
  await cluster.kill(AWAY, 'SIGTERM');
  return (await startedAgain(connection, { cluster })).ms;
}

/**
 * `ms`: from the start of its process until its database shows everything. `index`: the merged
 * index then.
 */
async function startedAgain(
  connection: NatsConnection,
  { cluster }: Pick<CraftSystem, 'cluster'>,
): Promise<{ readonly ms: number; readonly index: number }> {
  const startMs = performance.now();
  await cluster.restart(AWAY);
  const index = await synced(connection, AWAY, WAIT_MS_MAX);
  return { ms: performance.now() - startMs, index };
}

async function catchUpUnderLoad(given: RecoveryGiven): Promise<Recovery['catchUp']> {
  const { connection, system, load, run, catchUpSecondsMax } = given;
  const from = await synced(connection, AWAY, WAIT_MS_MAX);
  await system.cluster.kill(AWAY, 'SIGKILL');
  // Its groups get other leaders first: the warm-up of the run is for that.
  const away = await load.run(run, UNWATCHED);
  let caughtUp: ReturnType<typeof startedAgain> | undefined;
  let isLoaded = true;
  const onMeasuring = (): void => {
    caughtUp = startedAgain(connection, system);
    const end = (): void => {
      if (isLoaded) load.endRun();
    };
    caughtUp.then(end, end);
  };
  const meanwhile = await load.run({ ...run, warmUpSeconds: 0, seconds: catchUpSecondsMax }, UNWATCHED, {
    onMeasuring,
  });
  isLoaded = false;
  if (caughtUp === undefined) throw new Error('the load process did not say when it measured');
  const { ms, index } = await caughtUp;
  await synced(connection, OTHER, WAIT_MS_MAX);
  return {
    entries: index - from,
    ms,
    isUnderLoad: ms < catchUpSecondsMax * 1_000,
    p99AwayMs: away.p99,
    p99MeanwhileMs: meanwhile.p99,
  };
}

async function install(connection: NatsConnection, { cluster }: CraftSystem): Promise<number> {
  const startMs = performance.now();
  const subject = new Subjects(cluster.cluster).admin('rebuild', AWAY);
  const reply = await connection.request(subject, '', { timeout: WAIT_MS_MAX });
  const { ok, error } = reply.json<{ ok: boolean; error?: { message?: string } }>();
  if (!ok) throw new Error(`${AWAY} was not rebuilt: ${error?.message}`);
  const ms = performance.now() - startMs;
  await synced(connection, AWAY, WAIT_MS_MAX);
  return ms;
}
