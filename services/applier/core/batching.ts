/**
 * Which batch the engine gets next, and when (T8). Pure.
 *
 *     queue ──▶ due ──▶ taken ──▶ applied, or given again until it is
 *
 * A transaction costs the same for one command and for ten. It begins at once when a client or a
 * read waits for it here. Else it begins a moment later, with the commands that have come by then.
 */
import type { EnginePosition } from '../../../shared/engine/port.js';
import type { MonotonicMs } from '../../../shared/raft/entry.js';
import type { ApplyQueue, TakenBatch } from './queue.js';

/**
 * How long commands that no client and no read waits for here may collect for one transaction
 * (milliseconds).
 */
const PATIENCE_MS = 10;

export class Batching {
  /** Since when something has been in the queue (milliseconds). */
  private queuedAtMs: MonotonicMs | null = null;
  /** A read waits for the state to get further. */
  private isAwaited = false;
  /** Taken from the queue, and not known to be applied. */
  private taken: TakenBatch | null = null;

  constructor(
    private readonly queue: ApplyQueue,
    private nowMs: MonotonicMs,
  ) {}

  /** A batch was given to the engine, and may or may not be applied. */
  get isUncertain(): boolean {
    return this.taken !== null;
  }

  get isAtRest(): boolean {
    return this.taken === null && this.queue.length === 0;
  }

  /** When a batch that collects is due. */
  get nextWakeMs(): MonotonicMs {
    return this.queuedAtMs === null ? Number.POSITIVE_INFINITY : this.queuedAtMs + PATIENCE_MS;
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
  }

  /** Whether some read waits for commands that are not applied. */
  setAwaited(isAwaited: boolean): void {
    this.isAwaited = isAwaited;
  }

  /** What is queued has collected for long enough. */
  isDue(): boolean {
    if (this.queue.length === 0) return false;
    this.queuedAtMs ??= this.nowMs;
    return this.queue.isUrgent || this.isAwaited || this.nowMs - this.queuedAtMs >= PATIENCE_MS;
  }

  /**
   * The batch that is to be applied: the one that was taken before, or what is queued. Null when
   * nothing of it can be. `isServicesOnly`: without commands that need the state machine's code.
   * @throws LogMismatchError
   */
  take(isServicesOnly: boolean): TakenBatch | null {
    this.taken ??= this.queue.take(isServicesOnly);
    this.queuedAtMs = this.queue.length === 0 ? null : this.nowMs;
    return this.taken;
  }

  /** The batch that was taken is applied; null when there is none any more. */
  applied(): TakenBatch | null {
    const { taken } = this;
    this.taken = null;
    return taken;
  }

  /** The state is elsewhere: the log is applied from there. */
  reset(position: EnginePosition): void {
    this.taken = null;
    this.queuedAtMs = null;
    this.queue.reset(position);
  }
}
