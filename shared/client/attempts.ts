/**
 * The attempts of one call, and what they say about its outcome. Pure: time and randomness are
 * inputs.
 *
 * T9 across attempts: a refusal is definite for its own attempt only. Once an attempt ended without
 * a word, or with TIMEOUT_UNKNOWN, the command may sit in a log. Then no later refusal (OVERLOADED,
 * no responders …) makes the outcome of the call definite. Only a result or REJECTED does, because
 * the state machine gives every attempt of one id the outcome of the first (T8).
 */
import { type CraftError, OutcomeUnknownError, UnavailableError } from './errors.js';

export interface AttemptsOptions {
  /** The command's id; empty for a query. */
  readonly id: string;
  /** For the whole call, back-off included (milliseconds). */
  readonly timeoutMs: number;
  /** For one attempt (milliseconds). */
  readonly attemptTimeoutMs: number;
  /** A query has no effects: an unknown outcome is the same as not having asked. */
  readonly isHarmless: boolean;
  /** Hears of each failed attempt after which another one may help. For tracing. */
  readonly onRetry?: ((failure: AttemptFailure) => void) | undefined;
  /** Hears when the preferred server did not take an attempt, or gave no answer in time. */
  readonly onPreferredFailed?: ((server: string) => void) | undefined;
}

/**
 * How an attempt failed: refused with a reason, not received by any server, or without a readable
 * answer in time.
 */
export type AttemptFailure = CraftError | 'no-responders' | 'timeout' | 'malformed';

/**
 * With less time than this another attempt would sooner make the outcome unknown than bring one
 * (milliseconds).
 */
const ATTEMPT_MS_MIN = 50;
const BACKOFF_MS_MIN = 10;
const BACKOFF_MS_MAX = 500;

export class Attempts {
  /** The preferred server that the attempt under way was sent to. */
  preferred: string | undefined;
  private readonly deadlineMs: number;
  private count = 0;
  /** Some attempt may have been executed, or may still be. */
  private isUnknown = false;
  /** Why the last attempt failed. */
  private last: unknown;

  /** The call begins now (milliseconds, monotonic). */
  constructor(
    private readonly options: AttemptsOptions,
    nowMs: number,
  ) {
    this.deadlineMs = nowMs + options.timeoutMs;
  }

  /** Whether no attempt has begun. */
  get isFresh(): boolean {
    return this.count === 0;
  }

  /**
   * Begins an attempt. Returns for how long it may wait (milliseconds), or the failure of the call
   * when no time is left.
   */
  begin(nowMs: number): number | CraftError {
    const remainingMs = this.deadlineMs - nowMs;
    if (remainingMs <= (this.count === 0 ? 0 : ATTEMPT_MS_MIN)) {
      return this.failure(`no outcome after ${this.count} attempts in ${this.options.timeoutMs} ms`, this.last);
    }
    this.count += 1;
    return Math.min(remainingMs, this.options.attemptTimeoutMs);
  }

  /**
   * The attempt failed. Returns the failure of the call, or undefined when another attempt may
   * help.
   */
  failed(failure: AttemptFailure): CraftError | undefined {
    const { preferred } = this;
    this.preferred = undefined;
    if (preferred !== undefined && wasNotTaken(failure)) this.options.onPreferredFailed?.(preferred);
    if (failure === 'no-responders') {
      this.last = new Error('no server listens on the subject');
    } else if (failure === 'timeout' || failure === 'malformed') {
      this.maybeExecuted(new Error(failure === 'timeout' ? 'timeout' : 'malformed reply'));
    } else if (failure.code === 'TIMEOUT_UNKNOWN') {
      this.maybeExecuted(failure);
    } else if (failure.retryable) {
      this.last = failure;
    } else {
      return this.isUnknown && failure.code !== 'REJECTED' ? this.failure(failure.message, failure) : failure;
    }
    this.options.onRetry?.(failure);
    return undefined;
  }

  /** When the next attempt is due, after one that failed; `random` is in [0, 1). */
  retryAtMs(nowMs: number, random: number): number {
    const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(this.count - 1, 10));
    return Math.min(nowMs + backoffMs * (0.5 + random / 2), this.deadlineMs);
  }

  /** An attempt could not be sent, and none will be. Returns the failure of the call. */
  unsendable(refusal: CraftError): CraftError {
    return this.isUnknown ? this.failure('could not be sent again', refusal) : refusal;
  }

  /**
   * The connection was closed, during an attempt or between two. Returns the failure of the call.
   */
  closed(isUnderWay: boolean): CraftError {
    if (isUnderWay) this.maybeExecuted(new Error('closed'));
    return this.failure('the connection was closed', this.last);
  }

  /**
   * The caller gave up. Returns what the call fails with: `reason` itself when nothing can have
   * happened.
   */
  aborted(reason: unknown, isUnderWay: boolean): unknown {
    if (isUnderWay) this.maybeExecuted(reason);
    return this.isUnknown ? this.failure('aborted', reason) : reason;
  }

  private maybeExecuted(cause: unknown): void {
    if (!this.options.isHarmless) this.isUnknown = true;
    this.last = cause;
  }

  private failure(message: string, cause: unknown): CraftError {
    if (this.isUnknown)
      return new OutcomeUnknownError(`${message}; the outcome is unknown`, this.options.id, { cause });
    return new UnavailableError(`${message}; nothing was executed`, { cause });
  }
}

/** A server that answers TIMEOUT_UNKNOWN, or a definite failure, has taken the request. */
function wasNotTaken(failure: AttemptFailure): boolean {
  return typeof failure === 'string' || (failure.retryable && failure.code !== 'TIMEOUT_UNKNOWN');
}
