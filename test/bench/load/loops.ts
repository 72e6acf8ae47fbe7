/** When requests are sent: one for each that is answered, or at a rate. */
import type { Recorder } from './recorder.js';
import type { Sender } from './senders/sender.js';

export interface Loop {
  /** Sends nothing more; resolves when everything that was sent has ended. */
  stop(): Promise<void>;
}

/**
 * A failed request comes again after this (milliseconds): a loop must not spin against servers that
 * refuse.
 */
const PAUSE_MS = 5;

/** A closed loop: `inFlight` requests wait for their answers at any time. */
export class ClosedLoop implements Loop {
  private wanted = 0;
  private running = 0;
  private onIdle: () => void = () => undefined;

  constructor(
    private readonly sender: Sender,
    private readonly recorder: Recorder,
  ) {}

  /** Sends what is missing at once; what is too much is not sent again when it has ended. */
  setInFlight(count: number): void {
    this.wanted = count;
    this.recorder.inFlight = count;
    while (this.running < this.wanted) {
      this.running += 1;
      this.send();
    }
  }

  async stop(): Promise<void> {
    this.wanted = 0;
    if (this.running === 0) return;
    await new Promise<void>((resolve) => {
      this.onIdle = resolve;
    });
  }

  private next(): void {
    if (this.running <= this.wanted) {
      this.send();
      return;
    }
    this.running -= 1;
    if (this.running === 0) this.onIdle();
  }

  private send(): void {
    const sentMs = performance.now();
    this.sender.send((failure) => {
      this.recorder.onOutcome(sentMs, failure);
      if (failure === undefined) this.next();
      else setTimeout(() => this.next(), PAUSE_MS);
    });
  }
}

const TICK_MS = 1;
/**
 * Requests that may wait for their answers: a bound on this process's memory, far above what
 * servers may take in.
 */
const WAITING_MAX = 400_000;

/** An open loop: requests are sent when they are due. Latencies count from then. */
export class OpenLoop implements Loop {
  private readonly startMs = performance.now();
  private count = 0;
  private waiting = 0;
  private readonly timer: NodeJS.Timeout;
  private onIdle: () => void = () => undefined;
  private isStopped = false;

  constructor(
    private readonly sender: Sender,
    private readonly recorder: Recorder,
    private readonly perSecond: number,
  ) {
    this.timer = setInterval(() => this.tick(), TICK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.isStopped = true;
    if (this.waiting === 0) return;
    await new Promise<void>((resolve) => {
      this.onIdle = resolve;
    });
  }

  private tick(): void {
    const now = performance.now();
    for (; ; this.count += 1) {
      const dueMs = this.startMs + (this.count * 1_000) / this.perSecond;
      if (dueMs > now) return;
      this.recorder.due += 1;
      if (this.waiting >= WAITING_MAX) continue;
      this.waiting += 1;
      this.recorder.offered += 1;
      this.recorder.inFlight = this.waiting;
      this.sender.send((failure) => {
        this.waiting -= 1;
        this.recorder.onOutcome(dueMs, failure);
        if (this.isStopped && this.waiting === 0) this.onIdle();
      });
    }
  }
}
