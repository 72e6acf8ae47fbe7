/** Every look at the world ends in time, and says why when nothing comes of it. */
import { PermissionViolationError, RequestError, TimeoutError } from '@nats-io/nats-core';
import { messageOf, NamedError } from '../../../../shared/errors.js';
import type { Fact } from '../facts.js';

/** For one look (milliseconds). */
export const LOOK_MS_MAX = 4_000;

/** A look whose failure is explained by the one who takes it. */
export class LookError extends NamedError {
  readonly code = 'LOOK';
  constructor(
    message: string,
    readonly remedy: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** What `look` comes to. It never rejects; a look that takes too long is left alone. */
export async function within<T>(look: () => Promise<T>, remedy: string, msMax = LOOK_MS_MAX): Promise<Fact<T>> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new LookError(`no answer within ${msMax / 1_000} s`, remedy)), msMax);
  });
  try {
    const looking = look();
    // It may fail after nobody waits for it any more.
    looking.catch(() => undefined);
    return { is: 'known', value: await Promise.race([looking, late]) };
  } catch (error) {
    return explained(error, remedy);
  } finally {
    clearTimeout(timer);
  }
}

function explained(error: unknown, remedy: string): Fact<never> {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth += 1) {
    if (at instanceof LookError) return { is: 'failed', why: at.message, remedy: at.remedy };
    if (at instanceof PermissionViolationError) {
      const why = `could not look: this user may not ${at.operation === 'publish' ? 'send to' : 'hear'} ${at.subject}`;
      return { is: 'failed', why, remedy: 'run it as the user operator: deploy/nats/README.md' };
    }
    const isSilence = at instanceof TimeoutError || (at instanceof RequestError && at.isNoResponders());
    if (isSilence) return { is: 'failed', why: 'could not look: there was no answer', remedy };
  }
  return { is: 'failed', why: `could not look: ${messageOf(error)}`, remedy };
}
