/**
 * When a leader reads what clients send: at once, as long as that takes little of a round of the
 * event loop. The rest waits for the next round. So messages between the servers never wait for
 * long behind commands, and whether a leader keeps its leadership does not depend on what clients
 * send it. Small messages go before large ones, which may be expensive to refuse, and take half of
 * the time at most. What finds no room is shed unread.
 */
import type { MonotonicMs } from '../../shared/raft/entry.js';

/** A message of a client. */
export interface Task {
  readonly bytes: number;
  /** Reads it, and queues or answers what is in it. */
  readonly run: () => void;
  /** Answers that it was not read. */
  readonly shed: () => void;
}

export interface IntakeOptions {
  /** Monotonic (milliseconds). */
  readonly nowMs: () => MonotonicMs;
  /**
   * Calls back after the event loop has looked for other input, and after so many milliseconds at
   * least.
   */
  readonly defer: (action: () => void, afterMs: number) => void;
}

/**
 * What commands may take of a round of the event loop, unless one alone takes longer
 * (milliseconds).
 */
export const BUDGET_MS = 4;
/** How long a round lasts that nothing waits for the end of (milliseconds). */
export const ROUND_MS = 10;
/** A large message has at least so many bytes. */
export const LARGE_BYTES = 32 * 1024;
/** What may wait, of small messages and of large ones each: bytes and messages. */
export const WAITING_BYTES_MAX = 8 * 1024 * 1024;
export const WAITING_MAX = 16_384;

class Waiting {
  private tasks: Task[] = [];
  private bytes = 0;

  get isEmpty(): boolean {
    return this.tasks.length === 0;
  }

  get size(): { readonly items: number; readonly bytes: number } {
    return { items: this.tasks.length, bytes: this.bytes };
  }

  /** False when there is no room. */
  add(task: Task): boolean {
    if (this.tasks.length >= WAITING_MAX || this.bytes + task.bytes > WAITING_BYTES_MAX) return false;
    this.tasks.push(task);
    this.bytes += task.bytes;
    return true;
  }

  /** Runs the oldest ones for as long as `mayGoOn` says so before each. */
  drain(run: (task: Task) => void, mayGoOn: () => boolean): void {
    let done = 0;
    for (const task of this.tasks) {
      if (!mayGoOn()) break;
      run(task);
      this.bytes -= task.bytes;
      done += 1;
    }
    this.tasks.splice(0, done);
  }
}

export class Intake {
  private readonly small = new Waiting();
  private readonly large = new Waiting();
  /**
   * In this round (milliseconds). A round that nothing waits for begins with the next message after
   * ROUND_MS.
   */
  private spentMs = 0;
  private beganAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  /** When the next round is due; null when none is. */
  private dueAtMs: MonotonicMs | null = null;
  /**
   * Until then no large message is read: they take half of the time, and whatever else there is to
   * do has the other half.
   */
  private largeAtMs: MonotonicMs = Number.NEGATIVE_INFINITY;
  private whenEmpty: (() => void)[] = [];

  constructor(private readonly options: IntakeOptions) {}

  take(task: Task): void {
    const isLarge = task.bytes >= LARGE_BYTES;
    const nowMs = this.options.nowMs();
    const isRoundDue = this.dueAtMs !== null && this.dueAtMs <= nowMs;
    if (!isRoundDue && nowMs - this.beganAtMs >= ROUND_MS) this.begin(nowMs);
    const isNext = this.small.isEmpty && (!isLarge || (this.large.isEmpty && nowMs >= this.largeAtMs));
    if (isNext && this.hasTime) {
      this.run(task);
      // However long that took, the event loop looks for other input before more is read.
      if (!this.hasTime) this.roundLater();
    } else if ((isLarge ? this.large : this.small).add(task)) this.roundLater();
    else task.shed();
  }

  /** What waits: messages, and bytes of them. */
  get waiting(): Readonly<Record<'small' | 'large', { readonly items: number; readonly bytes: number }>> {
    return { small: this.small.size, large: this.large.size };
  }

  /** Resolves when nothing waits. */
  empty(): Promise<void> {
    if (this.small.isEmpty && this.large.isEmpty) return Promise.resolve();
    return new Promise((resolve) => this.whenEmpty.push(resolve));
  }

  private get hasTime(): boolean {
    return this.spentMs < BUDGET_MS;
  }

  private roundLater(): void {
    const nowMs = this.options.nowMs();
    const isResting = this.small.isEmpty && !this.large.isEmpty;
    const dueAtMs = isResting ? Math.max(nowMs, this.largeAtMs) : nowMs;
    if (this.dueAtMs !== null && this.dueAtMs <= dueAtMs) return;
    this.dueAtMs = dueAtMs;
    this.options.defer(() => this.round(), dueAtMs - nowMs);
  }

  private round(): void {
    this.dueAtMs = null;
    this.begin(this.options.nowMs());
    const run = (task: Task) => this.run(task);
    this.small.drain(run, () => this.hasTime);
    // Large ones whether or not there is time: small ones may come for ever.
    this.large.drain(run, () => this.options.nowMs() >= this.largeAtMs);
    const isEmpty = this.small.isEmpty && this.large.isEmpty;
    if (!isEmpty || !this.hasTime) this.roundLater();
    if (isEmpty) for (const resolve of this.whenEmpty.splice(0)) resolve();
  }

  private begin(nowMs: MonotonicMs): void {
    this.beganAtMs = nowMs;
    this.spentMs = 0;
  }

  private run(task: Task): void {
    const startMs = this.options.nowMs();
    task.run();
    const endMs = this.options.nowMs();
    this.spentMs += endMs - startMs;
    if (task.bytes >= LARGE_BYTES) this.largeAtMs = endMs + (endMs - startMs);
  }
}
