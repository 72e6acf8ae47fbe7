/**
 * Which commands travel together, and what becomes of each. Pure and synchronous: events in,
 * effects out; time and randomness are inputs. The owner (`sender.ts`) does the effects.
 *
 *     add ──▶ ready ──▶ under way ──▶ over
 *               ▲           │
 *               └─ paused ◀─┘        an attempt that failed, and may be repeated
 *
 * Everything that is ready when `run` is called leaves in as few messages as the limits allow. That
 * is what an application issues in one turn of the event loop, and the repetitions that are due.
 * Within a message the commands keep the order in which they were added. A few commands while many
 * are under way wait up to a millisecond for company, as in Nagle's algorithm (RFC 896); an idle
 * client sends at once.
 *
 * Each attempt has a number of its own, never used again. An answer names its command by that
 * number. So an answer that comes twice, or after its attempt was given up, meets no call.
 */
import { BATCH_COMMANDS_MAX } from '../wire/command-batch.js';
import type { NumberedReply } from '../wire/reply-batch.js';
import type { AttemptFailure, Attempts } from './attempts.js';
import { CraftError, errorOf, PayloadTooLargeError, UnavailableError } from './errors.js';

/**
 * A message ends here although NATS would take more: a leader reads it in one go (bytes of frames).
 */
const BATCH_BYTES_MAX = 256 * 1024;
/** Between two looks for attempts that have waited too long (milliseconds). */
const SWEEP_MS = 50;
/** Repetitions are due at multiples of this, so that they travel together (milliseconds). */
const RETRY_TICK_MS = 5;
/**
 * When at least HOLD_UNDER_WAY_MIN commands are under way, and more than HOLD_SHARE times those
 * that are ready, the ready ones wait this long (milliseconds).
 */
const HOLD_MS = 1;
const HOLD_UNDER_WAY_MIN = 8;
const HOLD_SHARE = 4;

/** One command of the application. What changes in it belongs to `CommandBatches`. */
export class CommandCall {
  /** Number of the attempt under way; 0: none is. */
  number = 0;
  /** Number of the first command in the batch of that attempt. */
  firstNumber = 0;
  /** When the attempt, or the pause before the next one, ends (milliseconds, monotonic). */
  untilMs = 0;
  isOver = false;

  constructor(
    /** The encoded command (`encodeBatchCommand`). */
    readonly frame: Uint8Array,
    /** The group whose leader is to take it; undefined: any leader. */
    readonly group: number | undefined,
    readonly id: string,
    readonly attempts: Attempts,
  ) {}
}

export type Effect<C extends CommandCall> =
  /** Send one message; if that throws, call `unsent` with the same number. */
  | {
      readonly type: 'send';
      readonly firstNumber: number;
      readonly group: number | undefined;
      /** None of them was sent before. */
      readonly isFirst: boolean;
      readonly calls: readonly C[];
    }
  | { readonly type: 'succeeded'; readonly call: C; readonly reply: NumberedReply }
  /** `error` is a CraftError, or the reason of a caller that gave up in time. */
  | { readonly type: 'failed'; readonly call: C; readonly error: unknown };

export class CommandBatches<C extends CommandCall> {
  private readonly ready: C[] = [];
  /** Attempts under way, by number. */
  private readonly underWay = new Map<number, C>();
  private paused: C[] = [];
  private effects: Effect<C>[] = [];
  private nextNumber = 1;
  private sweepAtMs = 0;
  /** When the first of the paused calls is due. */
  private retryAtMs = Number.POSITIVE_INFINITY;
  /** Until when what is ready waits for company; null: it does not. */
  private heldUntilMs: number | null = null;
  private isClosed = false;

  /** `random` gives numbers in [0, 1). */
  constructor(private readonly random: () => number) {}

  /** A new command; it leaves with the next `run`. */
  add(call: C): void {
    if (this.isClosed) this.fail(call, call.attempts.unsendable(new UnavailableError('the client is closed')));
    else this.ready.push(call);
  }

  /** An answer to one command. One that belongs to no attempt under way changes nothing. */
  replied(reply: NumberedReply, nowMs: number): void {
    const call = this.underWay.get(reply.number);
    if (call === undefined) return;
    if (reply.error !== undefined) {
      this.attemptFailed(call, errorOf(reply.error.code, reply.error.message, call.id), nowMs);
      return;
    }
    this.end(call);
    this.effects.push({ type: 'succeeded', call, reply });
  }

  /** A batch was refused as a whole, or no server received it. */
  refused(firstNumber: number, failure: AttemptFailure, nowMs: number): void {
    for (const call of this.callsOf(firstNumber)) this.attemptFailed(call, failure, nowMs);
  }

  /** A batch could not be sent. */
  unsent(firstNumber: number, error: CraftError): void {
    for (const call of this.callsOf(firstNumber)) this.fail(call, call.attempts.unsendable(error));
  }

  /** The caller gives up. */
  abort(call: C, reason: unknown): void {
    if (!call.isOver) this.fail(call, call.attempts.aborted(reason, call.number !== 0));
  }

  /** Every call ends now, and later ones at once. */
  close(): void {
    this.isClosed = true;
    this.heldUntilMs = null;
    for (const call of [...this.underWay.values(), ...this.paused.splice(0), ...this.ready.splice(0)]) {
      if (!call.isOver) this.fail(call, call.attempts.closed(call.number !== 0));
    }
  }

  /**
   * Gives up what has waited too long, and sends what is ready. `bytesMax`: most bytes of frames in
   * one message, as NATS takes it now.
   */
  run(nowMs: number, bytesMax: number): void {
    if (nowMs >= this.sweepAtMs) this.sweep(nowMs);
    if (nowMs >= this.retryAtMs) this.resume(nowMs);
    if (this.holds(nowMs)) return;
    /** First attempts may go to another server than repetitions. */
    const byTarget = new Map<string, C[]>();
    for (const call of this.ready.splice(0)) {
      if (call.isOver) continue;
      if (call.frame.length > bytesMax) {
        const error = new PayloadTooLargeError('larger than the NATS server takes');
        this.fail(call, call.attempts.unsendable(error));
        continue;
      }
      const target = `${call.group ?? ''} ${call.attempts.isFresh}`;
      const calls = byTarget.get(target);
      if (calls === undefined) byTarget.set(target, [call]);
      else calls.push(call);
    }
    for (const calls of byTarget.values()) this.send(calls, nowMs, Math.min(bytesMax, BATCH_BYTES_MAX));
  }

  /** What is to be done now, in order. */
  takeEffects(): readonly Effect<C>[] {
    if (this.effects.length === 0) return [];
    const { effects } = this;
    this.effects = [];
    return effects;
  }

  /**
   * Whether something is ready and waits for company. An answer, or another command, may end that:
   * call `run`.
   */
  get isHolding(): boolean {
    return this.heldUntilMs !== null;
  }

  /**
   * When to call `run` again although nothing happens (milliseconds, monotonic); null: not at all.
   */
  get wakeAtMs(): number | null {
    let atMs = this.heldUntilMs ?? Number.POSITIVE_INFINITY;
    if (this.paused.length > 0) atMs = Math.min(atMs, this.retryAtMs);
    if (this.underWay.size > 0) atMs = Math.min(atMs, this.sweepAtMs);
    return atMs === Number.POSITIVE_INFINITY ? null : atMs;
  }

  private holds(nowMs: number): boolean {
    const underWay = this.underWay.size;
    const isFew = underWay >= HOLD_UNDER_WAY_MIN && underWay > HOLD_SHARE * this.ready.length;
    this.heldUntilMs ??= nowMs + HOLD_MS;
    if (isFew && this.ready.length > 0 && nowMs < this.heldUntilMs) return true;
    this.heldUntilMs = null;
    return false;
  }

  /** `calls` have one target. */
  private send(calls: readonly C[], nowMs: number, bytesMax: number): void {
    const [first] = calls;
    const group = first?.group;
    const isFirst = first?.attempts.isFresh ?? false;
    let part: C[] = [];
    let bytes = 0;
    let firstNumber = this.nextNumber;
    for (const call of calls) {
      const timeoutMs = call.attempts.begin(nowMs);
      if (timeoutMs instanceof CraftError) {
        this.fail(call, timeoutMs);
        continue;
      }
      if (part.length === BATCH_COMMANDS_MAX || (part.length > 0 && bytes + call.frame.length > bytesMax)) {
        this.effects.push({ type: 'send', firstNumber, group, isFirst, calls: part });
        part = [];
        bytes = 0;
        firstNumber = this.nextNumber;
      }
      part.push(call);
      bytes += call.frame.length;
      call.number = this.nextNumber++;
      call.firstNumber = firstNumber;
      call.untilMs = nowMs + timeoutMs;
      if (this.underWay.size === 0) this.sweepAtMs = nowMs + SWEEP_MS;
      this.underWay.set(call.number, call);
    }
    if (part.length > 0) this.effects.push({ type: 'send', firstNumber, group, isFirst, calls: part });
  }

  private sweep(nowMs: number): void {
    this.sweepAtMs = nowMs + SWEEP_MS;
    for (const call of this.underWay.values()) {
      if (call.untilMs <= nowMs) this.attemptFailed(call, 'timeout', nowMs);
    }
  }

  /** Paused calls whose time has come are ready again. */
  private resume(nowMs: number): void {
    const { paused } = this;
    this.paused = [];
    this.retryAtMs = Number.POSITIVE_INFINITY;
    for (const call of paused) {
      if (call.untilMs <= nowMs) this.ready.push(call);
      else this.pause(call);
    }
  }

  private attemptFailed(call: C, failure: AttemptFailure, nowMs: number): void {
    const error = call.attempts.failed(failure);
    if (error !== undefined) {
      this.fail(call, error);
      return;
    }
    this.underWay.delete(call.number);
    call.number = 0;
    const atMs = call.attempts.retryAtMs(nowMs, this.random());
    call.untilMs = Math.ceil(atMs / RETRY_TICK_MS) * RETRY_TICK_MS;
    this.pause(call);
  }

  private pause(call: C): void {
    this.paused.push(call);
    this.retryAtMs = Math.min(this.retryAtMs, call.untilMs);
  }

  private fail(call: C, error: unknown): void {
    this.end(call);
    this.effects.push({ type: 'failed', call, error });
  }

  private end(call: C): void {
    if (call.number !== 0) this.underWay.delete(call.number);
    call.number = 0;
    call.isOver = true;
  }

  /** Those of a batch that are still under way. */
  private callsOf(firstNumber: number): C[] {
    const calls: C[] = [];
    for (let number = firstNumber; number < firstNumber + BATCH_COMMANDS_MAX; number++) {
      const call = this.underWay.get(number);
      if (call?.firstNumber === firstNumber) calls.push(call);
    }
    return calls;
  }
}
