/**
 * The two clocks of a simulated machine: the wall clock, which may be wrong in every way, and the
 * monotonic one, which drifts only.
 */
import type { Timestamp } from '../../shared/raft/entry.js';

/** Simulated time zero as a timestamp: some day in 2026 (microseconds). */
export const EPOCH_US = 1_790_000_000_000_000;

export class SimulatedClock {
  /** Wall clock minus true time, apart from drift (microseconds). */
  private offsetUs = 0;
  private ppm = 0;
  private sinceUs = 0;

  /**
   * `granularityUs`: the wall clock only shows multiples of it. `bornMs`: what the monotonic clock
   * shows at time zero; `monotonicPpm`: how much too fast it runs (parts per million).
   */
  constructor(
    private readonly granularityUs: number,
    private readonly bornMs: number,
    private readonly monotonicPpm: number,
  ) {}

  /** Sets how far off the wall clock is from now on. */
  set(nowUs: number, offsetUs: number, ppm: number): void {
    this.offsetUs = offsetUs;
    this.ppm = ppm;
    this.sinceUs = nowUs;
  }

  jump(deltaUs: number): void {
    this.offsetUs += deltaUs;
  }

  physical(nowUs: number): Timestamp {
    const drifted = nowUs + this.offsetUs + ((nowUs - this.sinceUs) * this.ppm) / 1e6;
    return EPOCH_US + Math.floor(drifted / this.granularityUs) * this.granularityUs;
  }

  /** Distance from true time (microseconds). */
  errorUs(nowUs: number): number {
    return this.physical(nowUs) - EPOCH_US - nowUs;
  }

  monotonicMs(nowUs: number): number {
    return this.bornMs + (nowUs / 1_000) * (1 + this.monotonicPpm / 1e6);
  }
}
