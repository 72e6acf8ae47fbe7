/** What becomes of the requests of one run. */
import { Samples, summarize } from '../summary.js';
import { type Gap, Gaps } from './gaps.js';
import type { LoadResult } from './protocol.js';

const TICK_MS = 20;

/** How late this process comes to what it has to do: a gap that is not longer may be its own. */
class Stalls {
  private longestMs = 0;
  private lastMs = 0;
  private timer: NodeJS.Timeout | undefined;

  start(): void {
    this.lastMs = performance.now();
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }
  /** Returns the longest (milliseconds). */
  stop(): number {
    clearInterval(this.timer);
    this.tick();
    return this.longestMs;
  }
  private tick(): void {
    const now = performance.now();
    this.longestMs = Math.max(this.longestMs, now - this.lastMs - TICK_MS);
    this.lastMs = now;
  }
}

export class Recorder {
  /** Requests that are wanted in flight now; kept with each gap. */
  inFlight = 0;
  offered = 0;
  due = 0;
  private succeeded = 0;
  private readonly failures: Record<string, number> = {};
  private samples: Samples | undefined;
  private gaps: Gaps | undefined;
  private measured: Omit<LoadResult, 'succeeded' | 'failures'> | undefined;
  private startedMs = 0;
  private readonly stalls = new Stalls();

  /** `onGap`: told of gaps as they end, unless they are shorter than others that there were. */
  constructor(private readonly onGap: (gap: Gap) => void = () => undefined) {}

  /** From here on latencies and gaps are taken. */
  measure(): void {
    this.samples = new Samples();
    this.startedMs = performance.now();
    this.gaps = new Gaps(this.startedMs);
    this.offered = 0;
    this.due = 0;
    this.stalls.start();
  }

  /** Until here. */
  endMeasure(): void {
    const ownStallMs = this.stalls.stop();
    const now = performance.now();
    const latencies = this.samples?.take() ?? new Float64Array();
    this.measured = {
      ...summarize(latencies, (now - this.startedMs) / 1_000),
      gaps: this.gaps?.end(now, this.inFlight) ?? [],
      ownStallMs: Math.round(ownStallMs),
      offered: this.offered,
      due: this.due,
    };
    this.samples = undefined;
    this.gaps = undefined;
  }

  /** `failure`: undefined when the request ended well. `sinceMs`: when it was sent, or due. */
  onOutcome(sinceMs: number, failure: string | undefined): void {
    if (failure !== undefined) {
      this.failures[failure] = (this.failures[failure] ?? 0) + 1;
      return;
    }
    this.succeeded += 1;
    if (this.samples === undefined) return;
    const now = performance.now();
    this.samples.add(now - sinceMs);
    const gap = this.gaps?.onAnswer(now, this.inFlight);
    if (gap !== undefined) this.onGap(gap);
  }

  result(): LoadResult {
    if (this.measured === undefined) throw new Error('nothing was measured');
    return { ...this.measured, succeeded: this.succeeded, failures: this.failures };
  }
}
