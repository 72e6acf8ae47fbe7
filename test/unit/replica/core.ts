/** The replica core of one of a few servers, which differ in nothing but their timeouts. */
import type { QueuedCommand } from '../../../services/replica/core/effect.js';
import { ReplicaCore, type ServerOptions } from '../../../services/replica/core/server.js';
import type { ServerId } from '../../../shared/raft/entry.js';
import { GROUP_DEFAULTS } from '../../../shared/raft/options.js';
import { decodeConfiguration, encodeConfiguration } from '../../../shared/wire/configuration.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

export const EPOCH_US = 1_790_000_000_000_000;
/** Between two ticks. */
export const TICK_MS = 20;

export function replicaCore(
  servers: readonly ServerId[],
  at: number,
  options: Pick<ServerOptions, 'groups'> & Partial<ServerOptions>,
): ReplicaCore<QueuedCommand> {
  return new ReplicaCore<QueuedCommand>(
    {
      ...GROUP_DEFAULTS,
      server: servers[at] ?? '',
      servers,
      clockOffsetUsMax: 500_000,
      promiseWindowUs: 250_000,
      proposalsMax: 4_096,
      envelopeBytesMax: 512 * 1024,
      encodeEntry,
      encodeConfiguration,
      decodeConfiguration,
      // The same in every run.
      random: () => (at + 1) / (servers.length + 1),
      ...options,
    },
    { promiseLimit: 0, groups: new Map() },
    { physical: EPOCH_US, nowMs: 0 },
  );
}
