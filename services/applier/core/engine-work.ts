/**
 * What the engine is asked to do: one thing at a time, tried again until it works. Pure.
 *
 * A failure is no outcome: the same is asked for again, at growing intervals. What keeps the state
 * from going on is told each time, and once when it is over.
 */
import type { EngineBatch } from '../../../shared/engine/port.js';
import type { MonotonicMs } from '../../../shared/raft/entry.js';
import type { Effect, EngineEffect } from './effect.js';

/** Between two tries of the engine (milliseconds): doubles from the first to the second. */
const RETRY_MS = 50;
const RETRY_MS_MAX = 2_000;

export class EngineWork {
  private effect: EngineEffect | null = null;
  private retryAtMs: MonotonicMs = 0;
  private retryMs = RETRY_MS;
  private isTroubled = false;

  constructor(
    private readonly random: () => number,
    private readonly emit: (effect: Effect) => void,
    private nowMs: MonotonicMs,
  ) {}

  /** What is asked of the engine, and not told of. */
  get underWay(): EngineEffect | null {
    return this.effect;
  }

  get isIdle(): boolean {
    return this.effect === null;
  }

  /** The engine is free, and what failed last may be tried again. */
  get isReady(): boolean {
    return this.isIdle && this.nowMs >= this.retryAtMs;
  }

  get isInTrouble(): boolean {
    return this.isTroubled;
  }

  get nextWakeMs(): MonotonicMs {
    return this.retryAtMs > this.nowMs ? this.retryAtMs : Number.POSITIVE_INFINITY;
  }

  advance(nowMs: MonotonicMs): void {
    this.nowMs = nowMs;
  }

  begin(effect: EngineEffect): void {
    this.effect = effect;
    this.emit(effect);
  }

  /** It is done; what was asked for. */
  done(): EngineEffect | null {
    const { effect } = this;
    this.effect = null;
    this.retryMs = RETRY_MS;
    this.retryNow();
    this.recovered();
    return effect;
  }

  /** It has failed: nothing is known to have been done. What was asked for. */
  failed(): EngineEffect | null {
    const { effect } = this;
    this.effect = null;
    return effect;
  }

  retryNow(): void {
    this.retryAtMs = 0;
  }

  /** `isSlow`: trying again soon is of no use. */
  retryLater(isSlow: boolean): void {
    if (isSlow) this.retryMs = RETRY_MS_MAX;
    this.retryAtMs = this.nowMs + this.retryMs * (0.5 + this.random() / 2);
    this.retryMs = Math.min(2 * this.retryMs, RETRY_MS_MAX);
  }

  /** Something keeps the state from going on. `batch` will be tried again. */
  trouble(error: unknown, batch: EngineBatch | null): void {
    this.isTroubled = true;
    this.emit({ type: 'trouble', error, batch });
  }

  recovered(): void {
    if (!this.isTroubled) return;
    this.isTroubled = false;
    this.emit({ type: 'recovered' });
  }
}
