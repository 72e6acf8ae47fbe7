/** One query until it has an answer: attempts with jittered back-off, up to a deadline. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Msg } from 'nats';
import type { Attempts } from './attempts.js';
import { CraftError } from './errors.js';
import { readReply, type Success } from './reply.js';
import type { RequestFailure } from './requester.js';

/** Sends once. Rejects with a CraftError when nothing was sent. */
export type Attempt = (timeoutMs: number) => Promise<Msg | RequestFailure>;

/**
 * Resolves with the successful reply. Rejects with a CraftError of errors.ts, or with the signal's
 * reason when it was aborted.
 */
export async function call(attempts: Attempts, signal: AbortSignal | undefined, attempt: Attempt): Promise<Success> {
  for (;;) {
    if (signal?.aborted) throw attempts.aborted(signal.reason, false);
    const timeoutMs = attempts.begin(performance.now());
    if (timeoutMs instanceof CraftError) throw timeoutMs;
    const reply = await abortable(attempt(timeoutMs), signal);
    if (reply === 'aborted') throw attempts.aborted(signal?.reason, true);
    if (reply === 'closed') throw attempts.closed(true);
    const outcome = typeof reply === 'string' ? reply : (readReply(reply, '') ?? 'malformed');
    if (typeof outcome !== 'string' && !(outcome instanceof CraftError)) return outcome;
    const failure = attempts.failed(outcome);
    if (failure !== undefined) throw failure;

    const nowMs = performance.now();
    const pauseMs = attempts.retryAtMs(nowMs, Math.random()) - nowMs;
    if (pauseMs > 0) await delay(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
  }
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
