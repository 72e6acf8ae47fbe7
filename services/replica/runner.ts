/**
 * When the replica core has its turns in the real world: what happens within one round of the event
 * loop makes one turn. What the core then wants done is up to `executor.ts`.
 */

import { toError } from '../../shared/errors.js';
import type { LogStore } from '../../shared/log-store/port.js';
import type { MonotonicMs, Timestamp } from '../../shared/raft/entry.js';
import type { QueuedCommand } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';
import { Executor, type Outside } from './executor.js';

/** Time as the replica sees it. */
export interface Clocks {
  /** The machine's clock (microseconds since the Unix epoch). */
  physical(): Timestamp;
  /** Never goes back (milliseconds). */
  monotonicMs(): MonotonicMs;
}

export const SYSTEM_CLOCKS: Clocks = {
  physical: () => Date.now() * 1_000,
  monotonicMs: () => performance.now(),
};

/** Gives the core something that has happened. */
export type Dispatch<C extends QueuedCommand> = (event: (core: ReplicaCore<C>) => void) => void;

/** A tick of all groups' timers (milliseconds). */
const TICK_MS = 20;

export class Runner<C extends QueuedCommand> {
  private readonly executor: Executor<C>;
  private isScheduled = false;
  private isStopped = false;
  private ticker: NodeJS.Timeout | undefined;
  private waker: NodeJS.Timeout | null = null;
  /** When that is (milliseconds, monotonic). */
  private wakesAtMs: MonotonicMs = 0;

  constructor(
    readonly core: ReplicaCore<C>,
    store: LogStore,
    private readonly outside: Outside<C>,
    private readonly clocks: Clocks = SYSTEM_CLOCKS,
  ) {
    this.executor = new Executor(
      store,
      outside,
      (event) => this.dispatch(event),
      (error) => this.fail(error),
    );
  }

  start(): void {
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.schedule();
  }

  /**
   * Gives the core something that has happened; the turn ends when the event loop has no more input
   * at hand.
   */
  dispatch(event: (core: ReplicaCore<C>) => void): void {
    if (this.isStopped) return;
    this.guard(() => {
      this.core.advance(this.clocks.physical(), this.clocks.monotonicMs());
      event(this.core);
    });
    this.schedule();
  }

  private tick(): void {
    this.dispatch((replica) => replica.tick());
    if (this.core.isDiskHung && !this.isStopped) this.executor.onDiskHung();
  }

  /** Ends the turns; waits for the write in flight. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearInterval(this.ticker);
    if (this.waker !== null) clearTimeout(this.waker);
    await this.executor.stop();
  }

  private schedule(): void {
    if (this.isScheduled || this.isStopped) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      if (!this.isStopped) this.guard(() => this.turn());
    });
  }

  private turn(): void {
    this.core.advance(this.clocks.physical(), this.clocks.monotonicMs());
    const effects = this.core.run();
    this.outside.onTurn?.();
    for (const effect of effects) this.executor.execute(effect);
    this.wakeLater();
  }

  /** What waits for a time of its own needs a turn of its own. */
  private wakeLater(): void {
    const at = this.core.nextWakeMs();
    if (at === null || (this.waker !== null && this.wakesAtMs <= at)) return;
    if (this.waker !== null) clearTimeout(this.waker);
    this.wakesAtMs = at;
    const delayMs = Math.max(1, at - this.clocks.monotonicMs());
    this.waker = setTimeout(() => {
      this.waker = null;
      this.schedule();
    }, delayMs);
  }

  private guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.fail(toError(error));
    }
  }

  private fail(error: Error): void {
    if (this.isStopped) return;
    this.isStopped = true;
    clearInterval(this.ticker);
    this.outside.onFatal(error);
  }
}
