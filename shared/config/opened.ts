/**
 * What a service has open. Its start opens one thing after the other, or nothing stays open. Its
 * stop closes the same things, last first, each within a deadline.
 */

import { messageOf, NamedError } from '../errors.js';
import { within } from './deadline.js';

/** How long something may take to close, unless it says otherwise (milliseconds). */
export const CLOSE_MS_MAX = 2_000;

/** Something that excludes others could not be closed in time, and may still be open. */
export class NotClosedError extends NamedError {
  readonly code = 'NOT_CLOSED';
  constructor(what: readonly string[]) {
    super(`not closed: ${what.join(', ')}`);
  }
}

export interface OpenedOptions {
  /** The start is given up. */
  readonly signal?: AbortSignal | undefined;
  /** Hears of each step that fails or exceeds its deadline. */
  readonly onUnfinished?: (text: string, error: unknown) => void;
}

export interface Closing {
  /** How long it may take (milliseconds). */
  readonly msMax?: number;
  /** While it is open, nothing may take its place: a stop that could not close it has failed. */
  readonly isExclusive?: boolean;
}

interface Closer {
  readonly what: string;
  readonly close: () => unknown;
  readonly closing: Closing;
}

export class Opened {
  private readonly closers: Closer[] = [];
  private closed: Promise<void> | undefined;
  private stopped: Promise<void> | undefined;

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
    closing: Closing = {},
  ): Promise<T> {
    const { msMax = CLOSE_MS_MAX } = closing;
    const late = (opened: T) => this.finish(`closing ${what}`, msMax, () => close(opened));
    const opened = await this.unlessGivenUp(Promise.resolve(opening), late);
    this.own(what, () => close(opened), closing);
    return opened;
  }

  /** The same for what is there already. */
  own(what: string, close: () => unknown, closing: Closing = {}): void {
    this.closers.push({ what, close, closing });
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
      const why = messageOf(error);
      this.options.onUnfinished?.(`${what}: ${why}`, error);
      return false;
    }
  }

  /** Runs the stop of the service, once; called again, waits for the same. */
  stop(work: () => Promise<void>): Promise<void> {
    this.stopped ??= work();
    return this.stopped;
  }

  /**
   * Closes everything, last first; called again, waits for the same. What cannot be closed is told,
   * and keeps nothing else from being closed.
   * @throws NotClosedError when something that is exclusive may still be open
   */
  close(): Promise<void> {
    this.closed ??= this.closeAll();
    return this.closed;
  }

  private async closeAll(): Promise<void> {
    const unclosed: string[] = [];
    for (const { what, close, closing } of this.closers.splice(0).reverse()) {
      const { msMax = CLOSE_MS_MAX, isExclusive = false } = closing;
      const isClosed = await this.finish(`closing ${what}`, msMax, close);
      if (!isClosed && isExclusive) unclosed.push(what);
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

/**
 * Runs a start; what it has opened is closed again when it rejects, before this does. Rejects with
 * NotClosedError, caused by why the start failed, when something that is exclusive may still be
 * open.
 */
export async function openAll<T>(work: (opened: Opened) => Promise<T>, options: OpenedOptions = {}): Promise<T> {
  const opened = new Opened(options);
  try {
    return await work(opened);
  } catch (error) {
    await opened.close().catch((unclosed: Error) => {
      unclosed.cause = error;
      throw unclosed;
    });
    throw error;
  }
}
