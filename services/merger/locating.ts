/**
 * Asks the applier of this server where the state machine is. The merger needs this when the
 * groups' logs are gone where the stream ends (T10). Then the stream was lost, or this server was
 * away for long.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { messageWithCause } from '../../shared/errors.js';
import { type ServiceHealth, TROUBLE_MS } from '../../shared/health/health.js';
import type { MergePosition } from '../../shared/merge/merge.js';
import type { LogIndex } from '../../shared/raft/entry.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { requestLocation } from '../../shared/wire/locate.js';

export interface LocatingOptions {
  readonly connection: NatsConnection;
  /** The applier's. */
  readonly subject: string;
  readonly health: ServiceHealth<'merger'>;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  /** The service stops: what fails from then on is no trouble. */
  readonly signal: AbortSignal;
}

export class Locating {
  private wait: { readonly sinceMs: number; why: string } | undefined;

  constructor(private readonly options: LocatingOptions) {}

  start(): void {
    const { health } = this.options;
    health.watch('position', () => {
      if (this.wait === undefined) return undefined;
      // The merge waits for the answer, which may take long.
      health.turned('the merge');
      const forMs = performance.now() - this.wait.sinceMs;
      if (forMs < TROUBLE_MS) return undefined;
      return { why: `the logs begin after the end of the stream, and ${this.wait.why}`, forMs };
    });
  }

  /** Another core begins: nothing is waited for. */
  reset(): void {
    this.wait = undefined;
  }

  /** At or beyond these indexes; null when that cannot be told yet. */
  async locate(atLeast: readonly LogIndex[]): Promise<MergePosition | null> {
    const { connection, subject, logger, warn, signal } = this.options;
    this.wait ??= { sinceMs: performance.now(), why: 'its applier has no state yet that reaches them' };
    try {
      const { mergedIndex, checksum, positions } = await requestLocation(connection, subject, atLeast);
      logger.info({ mergedIndex }, 'the merged log goes on from the position of the state machine');
      this.wait = undefined;
      return { mergedIndex, checksum, positions: positions.map(({ index }) => index) };
    } catch (error) {
      if (signal.aborted) throw error;
      warn('the position of the state machine is not known yet', error);
      if (this.wait !== undefined) this.wait.why = messageWithCause(error);
      return null;
    }
  }
}
