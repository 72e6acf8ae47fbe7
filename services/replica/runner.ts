/**
 * Drives the replica core in the real world: gathers what happens within one round of the event loop into one turn, and is
 * the one place where the core's effects are done.
 */
import { type LogStore, LogStoreCorruptError, LogStoreWriteError } from '../../shared/log-store/port.js';
import type { ServerId, Timestamp } from '../../shared/raft/entry.js';
import type { Envelope } from '../../shared/raft/message.js';
import type { Effect, QueuedCommand, ReadEffect } from './core/effect.js';
import type { ReplicaCore } from './core/server.js';

/** Time as the replica sees it. */
export interface Clocks {
  /** The machine's clock (microseconds since the Unix epoch). */
  physical(): Timestamp;
  /** Never goes back (milliseconds). */
  monotonicMs(): number;
}

export const SYSTEM_CLOCKS: Clocks = {
  physical: () => Date.now() * 1_000,
  monotonicMs: () => performance.now(),
};

/** What the runner leaves to the service: everything but the log store. */
export interface Outside<C extends QueuedCommand> {
  /** `isProbe`: the core is to hear `unreachable` when no process takes messages there. */
  send(to: ServerId, envelope: Envelope, isProbe: boolean): void;
  /** Every effect but `send`, `write` and `read`. */
  tell(effect: Exclude<Effect<C>, { type: 'send' | 'write' | 'read' }>): void;
  /** A write begins, and is durable; a pair a write. For tracing. */
  onWrite(effect: Effect<C> & { type: 'write' }): (() => void) | undefined;
  /** A write failed and will be tried again, or makes no progress, or a read failed; said again for as long as it lasts. */
  onStoreError(error: Error): void;
  /** The first write that is durable after that. */
  onStoreRecovered(): void;
  /** The core found a broken invariant, or the store is damaged: the service cannot go on. */
  onFatal(error: Error): void;
}

/** A tick of all groups' timers (milliseconds). */
const TICK_MS = 20;
/** Between two tries of a write that failed (milliseconds). */
const RETRY_MS = 200;

export class Runner<C extends QueuedCommand> {
  private isScheduled = false;
  private isStopped = false;
  private readonly ticker: NodeJS.Timeout;
  private waker: NodeJS.Timeout | null = null;
  private retrier: NodeJS.Timeout | null = null;
  /** The last write failed, or makes no progress. */
  private isStoreFailing = false;
  /** Resolves when no write is in flight. */
  private writing: Promise<void> = Promise.resolve();

  constructor(
    readonly core: ReplicaCore<C>,
    private readonly store: LogStore,
    private readonly outside: Outside<C>,
    private readonly clocks: Clocks = SYSTEM_CLOCKS,
  ) {
    this.ticker = setInterval(() => this.tick(), TICK_MS);
    this.schedule();
  }

  /** Gives the core something that has happened; the turn ends when the event loop has no more input at hand. */
  happen(event: (core: ReplicaCore<C>) => void): void {
    if (this.isStopped) return;
    this.guard(() => {
      this.core.advance(this.clocks.physical(), this.clocks.monotonicMs());
      event(this.core);
    });
    this.schedule();
  }

  private tick(): void {
    this.happen((replica) => replica.tick());
    // A write that fails says why; one that hangs says nothing.
    if (!this.core.isDiskHung || this.isStoreFailing || this.isStopped) return;
    this.isStoreFailing = true;
    this.outside.onStoreError(new Error('a write to the log store has made no progress for an election timeout'));
  }

  /** Ends the turns; waits for the write in flight. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearInterval(this.ticker);
    if (this.waker !== null) clearTimeout(this.waker);
    if (this.retrier !== null) clearTimeout(this.retrier);
    await this.writing;
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
    for (const effect of this.core.run()) this.execute(effect);
    this.wakeLater();
  }

  private execute(effect: Effect<C>): void {
    switch (effect.type) {
      case 'send':
        this.outside.send(effect.to, effect.envelope, effect.isProbe);
        break;
      case 'write':
        this.writing = this.write(effect);
        break;
      case 'read':
        void this.read(effect);
        break;
      default:
        this.outside.tell(effect);
    }
  }

  private async write(effect: Effect<C> & { type: 'write' }): Promise<void> {
    let onDurable: (() => void) | undefined;
    try {
      onDurable = this.outside.onWrite(effect);
      await this.store.write(effect.batch);
      onDurable?.();
      if (this.isStoreFailing) this.outside.onStoreRecovered();
      this.isStoreFailing = false;
    } catch (error) {
      this.onWriteFailed(toError(error));
      return;
    }
    this.happen((core) => core.written());
  }

  /** The same batch again, later: until then nothing is acknowledged, and leadership goes by itself (a hung disk). */
  private onWriteFailed(error: Error): void {
    if (!(error instanceof LogStoreWriteError)) {
      this.fail(error);
      return;
    }
    this.isStoreFailing = true;
    this.outside.onStoreError(error);
    this.retrier = setTimeout(() => this.happen((core) => core.retryWrite()), RETRY_MS);
  }

  private async read(effect: ReadEffect): Promise<void> {
    try {
      const entries = await this.store.read(effect.group, effect.from, effect.to, effect.bytesMax);
      this.happen((core) => core.readDone(effect, entries));
    } catch (error) {
      if (error instanceof LogStoreCorruptError) this.fail(error);
      else {
        this.isStoreFailing = true;
        this.outside.onStoreError(toError(error));
      }
      // The need comes back by itself; a disk that fails is not asked without a pause.
      setTimeout(() => this.happen((core) => core.readDone(effect, [])), RETRY_MS).unref();
    }
  }

  /** A close that waits for its interval needs a turn of its own. */
  private wakeLater(): void {
    const at = this.core.nextWakeMs();
    if (at === null || this.waker !== null) return;
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

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
