/**
 * Asks the applier of this server where the state machine is. The replica needs this when the
 * leaders' logs begin after the end of its own (T10). The applier installs a snapshot first, if
 * need be, and the logs go on from there.
 */
import type { NatsConnection } from '@nats-io/nats-core';
import { messageWithCause } from '../../shared/errors.js';
import { type ServiceHealth, TROUBLE_MS } from '../../shared/health/health.js';
import type { Logger, WarnOccasionally } from '../../shared/telemetry/log.js';
import { requestLocation } from '../../shared/wire/locate.js';
import type { ClientCommand } from './commands.js';
import type { EffectOf } from './executor.js';
import type { Dispatch } from './runner.js';

/** Between two tries to get a snapshot (milliseconds). */
const RETRY_MS = 500;

export interface LocatingOptions {
  readonly connection: NatsConnection;
  /** The applier's. */
  readonly subject: string;
  readonly dispatch: Dispatch<ClientCommand>;
  readonly logger: Logger;
  readonly warn: WarnOccasionally;
  readonly health: ServiceHealth<'replica'>;
}

export class Locating {
  /**
   * The wait for a snapshot: since when, and until when if it is over (milliseconds, monotonic).
   */
  private wait: { readonly sinceMs: number; endMs: number; why: string } | undefined;

  constructor(private readonly options: LocatingOptions) {}

  start(): void {
    this.options.health.watch('snapshot', () => {
      const now = performance.now();
      if (this.wait === undefined) return undefined;
      const { sinceMs, endMs, why } = this.wait;
      // One that has failed is asked for again at once, if it is still needed.
      if (now - endMs > TROUBLE_MS || now - sinceMs < TROUBLE_MS) return undefined;
      return { why: `the logs of the leaders begin after where this one ends; ${why}`, forMs: now - sinceMs };
    });
  }

  async locate({ atLeast }: EffectOf<ClientCommand, 'snapshot-needed'>): Promise<void> {
    const { connection, subject, dispatch, logger, warn } = this.options;
    const wait = this.beginWait();
    try {
      const { mergedIndex, positions } = await requestLocation(connection, subject, atLeast);
      logger.info({ mergedIndex }, 'the logs go on from the position of the state machine');
      this.wait = undefined;
      dispatch((core) => core.installed(positions));
    } catch (error) {
      if (connection.isClosed() || connection.isDraining()) return;
      warn('no snapshot yet', error);
      wait.why = messageWithCause(error);
      wait.endMs = performance.now();
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      dispatch((core) => core.installed(null));
    }
  }

  private beginWait(): { endMs: number; why: string } {
    const now = performance.now();
    const before = this.wait !== undefined && now - this.wait.endMs <= TROUBLE_MS ? this.wait : undefined;
    const why = before?.why ?? 'its applier has no snapshot yet';
    const wait = { sinceMs: before?.sinceMs ?? now, endMs: Number.POSITIVE_INFINITY, why };
    this.wait = wait;
    return wait;
  }
}
