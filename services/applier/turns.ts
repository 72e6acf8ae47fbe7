/** Work that must not overlap, in the order in which it came. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  /** Runs `work` when everything before has ended, however it ended; settles as it does. */
  take<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.last.then(work, work);
    this.last = mine.catch(() => undefined);
    return mine;
  }
}
