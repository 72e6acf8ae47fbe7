/**
 * One call until it has an outcome: attempts with the same id and jittered back-off, up to a deadline.
 *
 * T9 across attempts: a refusal is definite for its own attempt only. Once any attempt ended without a word (or with
 * TIMEOUT_UNKNOWN), the command may sit in a log, and no later refusal (OVERLOADED, nobody listening …) makes the outcome of the call definite; only
 * a result or REJECTED does, because the state machine gives every attempt of one id the outcome of the first (T8).
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Msg } from 'nats';
import { CraftError, OutcomeUnknownError, UnavailableError } from './errors.js';
import { readReply, type Success } from './reply.js';
import type { RequestFailure } from './requester.js';

export interface CallOptions {
  /** The command's id; empty for a query. */
  readonly id: string;
  /** For the whole call, back-off included (milliseconds). */
  readonly timeoutMs: number;
  /** For one attempt (milliseconds). */
  readonly attemptTimeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** A query has no effects: not to know what became of it is the same as not having asked. */
  readonly harmless: boolean;
}

/** Sends once. A throw means that nothing was sent. */
export type Attempt = (timeoutMs: number) => Promise<Msg | RequestFailure>;

/** With less time than this another attempt would sooner make the outcome unknown than bring one (milliseconds). */
const ATTEMPT_MS_MIN = 50;
const BACKOFF_MS_MIN = 10;
const BACKOFF_MS_MAX = 500;

/**
 * Resolves with the successful reply. Rejects with a CraftError of errors.ts, or with the signal's reason when it
 * was aborted and nothing can have happened.
 */
export async function call(options: CallOptions, attempt: Attempt): Promise<Success> {
  const deadline = performance.now() + options.timeoutMs;
  let unknown = false;
  let last: unknown;

  function fail(message: string, cause: unknown): Error {
    if (unknown) return new OutcomeUnknownError(`${message}; the outcome is unknown`, options.id, { cause });
    return new UnavailableError(`${message}; nothing was executed`, { cause });
  }
  function maybeExecuted(cause: unknown): void {
    if (!options.harmless) unknown = true;
    last = cause;
  }

  for (let attempts = 0; ; attempts += 1) {
    const remaining = deadline - performance.now();
    if (options.signal?.aborted) {
      throw unknown ? fail('aborted', options.signal.reason) : options.signal.reason;
    }
    if (remaining <= (attempts === 0 ? 0 : ATTEMPT_MS_MIN))
      throw fail(`no outcome after ${attempts} attempts in ${options.timeoutMs} ms`, last);

    const sent = attempt(Math.min(remaining, options.attemptTimeoutMs)).catch((refusal: unknown) => {
      throw unknown ? fail('could not be sent again', refusal) : refusal;
    });
    const reply = await abortable(sent, options.signal);
    if (reply === 'aborted' || reply === 'timeout' || reply === 'closed') {
      maybeExecuted(new Error(reply));
      if (reply === 'closed') throw fail('the connection was closed', last);
    } else if (reply === 'no-responders') {
      last = new Error('nobody listens on the subject');
    } else {
      const outcome = readReply(reply, options.id);
      if (outcome === undefined) maybeExecuted(new Error('malformed reply'));
      else if (!(outcome instanceof CraftError)) return outcome;
      else if (outcome.code === 'TIMEOUT_UNKNOWN') maybeExecuted(outcome);
      else if (outcome.retryable) last = outcome;
      else throw unknown && outcome.code !== 'REJECTED' ? fail(outcome.message, outcome) : outcome;
    }

    const backoff = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempts, 10));
    const pause = Math.min(backoff * (0.5 + Math.random() / 2), deadline - performance.now());
    if (pause > 0) await delay(pause, undefined, signalOption(options.signal)).catch(() => undefined);
  }
}

function signalOption(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T | 'aborted'> {
  if (signal === undefined) return work;
  let onAbort: (() => void) | undefined;
  const aborted = new Promise<'aborted'>((resolve) => {
    onAbort = () => resolve('aborted');
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}
