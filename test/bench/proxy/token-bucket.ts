/**
 * A limited rate: tokens are bytes, they come in steadily up to `burstBytes`, and what passes takes
 * as many out. Pure: time is an input (milliseconds, monotonic).
 */
export class TokenBucket {
  private tokens: number;
  private lostTokens = 0;

  /** It starts full. Throws RangeError unless rate and burst are above 0. */
  constructor(
    readonly bytesPerSecond: number,
    readonly burstBytes: number,
    private atMs: number,
  ) {
    if (!(bytesPerSecond > 0 && burstBytes > 0)) throw new RangeError('a rate and a burst above 0');
    this.tokens = burstBytes;
  }

  /**
   * Lets `bytes` pass when there are tokens for all of them. Throws RangeError when there can never
   * be so many.
   */
  tryTake(bytes: number, nowMs: number): boolean {
    if (bytes > this.burstBytes) throw new RangeError(`${bytes} bytes at once; the bucket holds ${this.burstBytes}`);
    this.refill(nowMs, false);
    if (this.tokens < bytes) return false;
    this.tokens -= bytes;
    return true;
  }

  /** Until there are tokens for `bytes` (milliseconds); 0 when there are. */
  waitMs(bytes: number): number {
    return Math.max(0, ((bytes - this.tokens) * 1_000) / this.bytesPerSecond);
  }

  /**
   * Time passed while something waited. Tokens that find the bucket full meanwhile are lost: the
   * line was slower than it was allowed to be.
   */
  onWaited(nowMs: number): void {
    this.refill(nowMs, true);
  }

  /** Bytes that could have passed while something waited, and did not. */
  get lostBytes(): number {
    return this.lostTokens;
  }

  private refill(nowMs: number, isWaiting: boolean): void {
    const filled = this.tokens + ((nowMs - this.atMs) * this.bytesPerSecond) / 1_000;
    if (isWaiting) this.lostTokens += Math.max(0, filled - this.burstBytes);
    this.tokens = Math.min(this.burstBytes, filled);
    this.atMs = nowMs;
  }
}
