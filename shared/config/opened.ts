/**
 * What a service has open. Its start opens one thing after the other, or nothing stays open. Its
 * stop closes the same things, last first, each within a deadline.
 */
import { within } from './deadline.js';

/** How long something may take to close, unless it says otherwise (milliseconds). */
export const CLOSE_MS_MAX = 2_000;

/** Something could not be closed in time, and may still be open. */
export class NotClosedError extends Error {
  readonly code = 'NOT_CLOSED';
  constructor(what: readonly string[]) {
    super(`not closed: ${what.join(', ')}`);
    this.name = 'NotClosedError';
  }
}

export interface OpenedOptions {
  /** The start is given up. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of each step that fails or exceeds its deadline. */
  readonly onUnfinished?: (text: string, error: unknown) => void;
}

interface Closer {
  readonly what: string;
  readonly msMax: number;
  readonly close: () => unknown;
}

export class Opened {
  private readonly closers: Closer[] = [];

  constructor(private readonly options: OpenedOptions = {}) {}

  get signal(): AbortSignal | undefined {
    return this.options.signal;
  }

  /**
   * Waits for what is being opened. It is closed when a later step of the start fails, and when the
   * service stops. Rejects at once when the start is given up, also while this lasts: what comes of
   * it then is closed as soon as it is there.
   */
  async open<T>(
    what: string,
    opening: T | Promise<T>,
    close: (opened: T) => unknown,
    msMax: number = CLOSE_MS_MAX,
  ): Promise<T> {
    const closing = (opened: T) => this.finish(`closing ${what}`, msMax, () => close(opened));
    const opened = await this.unlessGivenUp(Promise.resolve(opening), closing);
    this.own(what, () => close(opened), msMax);
    return opened;
  }

  /** The same for what is there already. */
  own(what: string, close: () => unknown, msMax: number = CLOSE_MS_MAX): void {
    this.closers.push({ what, msMax, close });
  }

  /** Waits for a step that opens nothing; rejects at once when the start is given up. */
  step<T>(work: Promise<T>): Promise<T> {
    return this.unlessGivenUp(work, () => undefined);
  }

  /**
   * Waits for a step of a stop, at most until its deadline (milliseconds). Resolves with whether it
   * ended in time and without an error.
   */
  async finish(what: string, msMax: number, work: () => unknown): Promise<boolean> {
    try {
      await within(msMax, Promise.resolve(work()));
      return true;
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.options.onUnfinished?.(`${what}: ${why}`, error);
      return false;
    }
  }

  /**
   * Closes everything, last first. What cannot be closed keeps nothing else from being closed.
   * @throws NotClosedError
   */
  async close(): Promise<void> {
    const unclosed: string[] = [];
    for (const { what, msMax, close } of this.closers.splice(0).reverse()) {
      if (!(await this.finish(`closing ${what}`, msMax, close))) unclosed.push(what);
    }
    if (unclosed.length > 0) throw new NotClosedError(unclosed);
  }

  private async unlessGivenUp<T>(work: Promise<T>, close: (opened: T) => unknown): Promise<T> {
    const { signal } = this;
    if (signal === undefined) return work;
    let giveUp: () => void = () => undefined;
    const givenUp = new Promise<'given up'>((resolve) => {
      giveUp = () => resolve('given up');
      if (signal.aborted) giveUp();
      else signal.addEventListener('abort', giveUp);
    });
    try {
      const done = await Promise.race([work.then((opened) => ({ opened })), givenUp]);
      if (done !== 'given up') return done.opened;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
    work.then(close, () => undefined);
    throw signal.reason;
  }
}

/** Runs a start; what it has opened is closed again when it rejects, before this does. */
export async function openAll<T>(work: (opened: Opened) => Promise<T>, options: OpenedOptions = {}): Promise<T> {
  const opened = new Opened(options);
  try {
    return await work(opened);
  } catch (error) {
    // Why the start failed says more than what could not be closed, which was reported.
    await opened.close().catch(() => undefined);
    throw error;
  }
}
