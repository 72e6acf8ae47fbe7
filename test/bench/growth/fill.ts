/** Brings a cluster to a size: keys, or commands in its log. */
import type { NatsConnection } from 'nats';
import type { CraftClient } from '../../../shared/client/index.js';
import type { LoadProcess } from '../load/driver.js';
import type { CraftSystem } from '../systems/craft.js';
import { synced } from '../systems/state.js';
import type { Setting } from './dimensions.js';

/** The most that a transaction may have. */
const TRANSACTION_OPS = 1_000;
/** Of a transaction: below the largest command. */
const TRANSACTION_BYTES = 192 * 1024;
/** Of an operation, besides its value: `{"put":{"key":"key-12345678","value":…}},`. */
const OPERATION_BYTES = 48;
const TRANSACTIONS_IN_FLIGHT = 16;
const WAIT_MS_MAX = 600_000;
/** Commands of the SDK in flight: they travel in batches. */
const HISTORY_IN_FLIGHT = 1_024;
/** One run of the load, at most (seconds). */
const RUN_SECONDS_MAX = 30;
/** The first run, which tells how fast the others will be. */
const FIRST_SECONDS = 2;

/** Keys from `from` on, with the names that the load overwrites; `from` of them there are. */
export async function fillKeys(client: CraftClient, from: number, { keys, valueBytes }: Setting): Promise<void> {
  const pad = 'x'.repeat(Math.max(0, valueBytes - 24));
  const opsMax = Math.max(1, Math.min(TRANSACTION_OPS, Math.floor(TRANSACTION_BYTES / (valueBytes + OPERATION_BYTES))));
  let next = from;
  const worker = async (): Promise<void> => {
    while (next < keys) {
      const first = next;
      next = Math.min(keys, first + opsMax);
      const ops = Array.from({ length: next - first }, (_, at) => ({
        put: { key: `key-${first + at}`, value: { n: 0, pad } },
      }));
      await client.kv.txn(ops);
    }
  };
  await Promise.all(Array.from({ length: TRANSACTIONS_IN_FLIGHT }, worker));
}

/**
 * Overwrites keys until so many commands were applied, or some more; resolves with how many were.
 */
export async function fillHistory(
  connection: NatsConnection,
  system: CraftSystem,
  load: LoadProcess,
  { history, keys, valueBytes }: Setting,
): Promise<number> {
  let perSecond: number | undefined;
  for (;;) {
    const applied = await synced(connection, 's1', WAIT_MS_MAX);
    const left = history - applied;
    if (left <= 0) return applied;
    const { perSecond: measured } = await load.run(
      {
        target: { kind: 'sdk', urls: system.nats.urls, cluster: system.cluster.cluster },
        workload: { connections: 1, keys, valueBytes, withId: true },
        load: { kind: 'closed', inFlight: HISTORY_IN_FLIGHT },
        warmUpSeconds: 0,
        seconds: perSecond === undefined ? FIRST_SECONDS : Math.min(RUN_SECONDS_MAX, Math.max(0.5, left / perSecond)),
      },
      { processes: {}, monitors: [] },
    );
    perSecond = Math.max(1, measured);
  }
}
