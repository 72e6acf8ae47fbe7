/** Starting a service: all of it, or nothing that stays open. */

/** What a start has opened so far. */
export class Opened {
  private readonly closers: (() => unknown)[] = [];

  /** `signal`: the start is given up. */
  constructor(readonly signal?: AbortSignal) {}

  /**
   * Waits for what is being opened, and has it closed when a later step fails. Rejects at once when
   * the start is given up, also while this lasts: what comes of it then is closed as soon as it is
   * there.
   */
  async open<T>(opening: T | Promise<T>, close: (opened: T) => unknown): Promise<T> {
    const opened = await this.unlessGivenUp(Promise.resolve(opening), close);
    this.closers.push(() => close(opened));
    return opened;
  }

  /** Waits for a step that opens nothing; rejects at once when the start is given up. */
  step<T>(work: Promise<T>): Promise<T> {
    return this.unlessGivenUp(work, () => undefined);
  }

  /** Last first. What cannot be closed keeps nothing else from being closed. */
  async close(): Promise<void> {
    for (const close of this.closers.splice(0).reverse()) await quietly(close);
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
    void work.then(
      (opened) => quietly(() => close(opened)),
      () => undefined,
    );
    throw signal.reason;
  }
}

/** Runs a start; what it has opened is closed again when it rejects, before this does. */
export async function openAll<T>(work: (opened: Opened) => Promise<T>, signal?: AbortSignal): Promise<T> {
  const opened = new Opened(signal);
  try {
    return await work(opened);
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function quietly(close: () => unknown): Promise<void> {
  try {
    await close();
  } catch {
    // Why the start failed says more.
  }
}
