/** Waiting for something to become true, without guessing how long that takes. */
import { setTimeout as delay } from 'node:timers/promises';

export interface EventuallyOptions {
  /** Milliseconds until it counts as failed; default 10,000. */
  readonly timeoutMs?: number;
  /** Milliseconds between two looks; default 25. */
  readonly everyMs?: number;
}

/**
 * Calls `condition` again and again until it returns something truthy, and returns that. A throw
 * counts as not yet. Rejects after the timeout with `what` was waited for and the last throw as its
 * cause.
 */
export async function eventually<T>(
  what: string,
  condition: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<NonNullable<T>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let cause: unknown;
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      cause = error;
    }
    if (performance.now() > deadline) {
      const last = cause instanceof Error ? `: ${cause.message}` : '';
      throw new Error(`not within ${timeoutMs / 1000} s: ${what}${last}`, { cause });
    }
    await delay(options.everyMs ?? 25);
  }
}
