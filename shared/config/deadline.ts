/** Work that is waited for only so long. */
import { NamedError } from '../errors.js';

/** The work has not ended in time. It may still end. */
class DeadlineError extends NamedError {
  readonly code = 'DEADLINE';
  constructor(msMax: number) {
    super(`not within ${msMax / 1_000} s`);
  }
}

/**
 * As `work`, but rejects with DeadlineError after `msMax` milliseconds. Nothing hears what becomes
 * of the work after that.
 */
export async function within<T>(msMax: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(msMax)), msMax);
  });
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}
