/**
 * Whether the NATS server syncs every message to its disk before it acknowledges it
 * (`sync_interval: always`). By default it does not, and an acknowledged vote could be forgotten.
 * An ordinary client cannot see the setting: the JetStream API does not tell it, and `$SYS` belongs
 * to the system account. The server's monitoring port does, under /varz.
 */
import { LogStoreSyncError } from '../errors.js';

export interface SyncOptions {
  /** Addresses of the monitoring ports of the NATS servers, for example `http://127.0.0.1:8222`. */
  readonly monitorUrls: readonly string[];
  /** Trust the operator's word for the setting: skip the check. */
  readonly isTrusted: boolean;
}

const TIMEOUT_MS = 5_000;
const HOW = 'set `sync_interval: always` in the block `jetstream` of its configuration';

interface Varz {
  readonly server_name?: string;
  readonly jetstream?: { readonly config?: { readonly sync_always?: boolean } };
}

/**
 * Rejects with LogStoreSyncError unless the NATS server called `host`, which has the stream, is
 * known to sync always.
 */
export async function requireSyncAlways(host: string, options: SyncOptions): Promise<void> {
  if (options.isTrusted) return;
  if (options.monitorUrls.length === 0) {
    throw new LogStoreSyncError(
      `the log store in JetStream needs a NATS server that syncs every message: ${HOW}. To let craft check it, set ` +
        'CRAFT_NATS_MONITOR_URL to the address of its monitoring port (http_port). CRAFT_LOG_STORE_SYNC=vouched skips the check',
    );
  }
  const failures: unknown[] = [];
  for (const url of options.monitorUrls) {
    const varz = await readVarz(url).catch((error: unknown) => {
      failures.push(error);
    });
    if (varz?.server_name !== host) continue;
    if (varz.jetstream?.config?.sync_always === true) return;
    throw new LogStoreSyncError(`the NATS server ${host} does not sync every message (${url}): ${HOW}`);
  }
  throw new LogStoreSyncError(
    `none of ${options.monitorUrls.join(', ')} (CRAFT_NATS_MONITOR_URL) is the monitoring port of NATS server ${host}, which has the stream`,
    { cause: failures[0] },
  );
}

async function readVarz(url: string): Promise<Varz> {
  const response = await fetch(new URL('varz', url.endsWith('/') ? url : `${url}/`), {
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return (await response.json()) as Varz;
}
