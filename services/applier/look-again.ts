/**
 * A look again at what could not be read. Nothing else may look at it. An applier that follows the
 * end of the log needs its stream no more, and what was said of the stream would stay so for as
 * long as commands come.
 */
export class LookAgain {
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param look whose outcome comes back as `told`; what it rejects with has been told
   * @param everyMs between two looks (milliseconds)
   */
  constructor(
    private readonly look: () => Promise<unknown>,
    private readonly everyMs: number,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', () => clearTimeout(this.timer));
  }

  /** It cannot be read, because of this; undefined: it can. */
  told(trouble: Error | undefined): void {
    clearTimeout(this.timer);
    if (trouble === undefined || this.signal.aborted) return;
    this.timer = setTimeout(() => void this.look().catch(() => undefined), this.everyMs);
    this.timer.unref();
  }
}
