/** The longest times without an answer. Pure: times are given (milliseconds, of any one clock). */

export interface Gap {
  /** From the last answer before it, milliseconds after the beginning. */
  readonly beginMs: number;
  readonly lengthMs: number;
  /** What the load was when it ended. */
  readonly inFlight: number;
}

/** So many are kept. */
const GAPS_MAX = 20;

export class Gaps {
  private readonly longest: Gap[] = [];
  private last: number;

  /** `begin`: the time from which on answers are expected. */
  constructor(private readonly begin: number) {
    this.last = begin;
  }

  /** Times never decrease. Returns the gap that has ended when it is among the longest so far. */
  onAnswer(now: number, inFlight: number): Gap | undefined {
    const lengthMs = now - this.last;
    const beginMs = this.last - this.begin;
    this.last = now;
    if (this.longest.length === GAPS_MAX && lengthMs <= (this.longest.at(-1)?.lengthMs ?? 0)) return undefined;
    const gap = { beginMs, lengthMs, inFlight };
    const at = this.longest.findIndex((one) => one.lengthMs < lengthMs);
    this.longest.splice(at < 0 ? this.longest.length : at, 0, gap);
    if (this.longest.length > GAPS_MAX) this.longest.pop();
    return gap;
  }

  /** Up to the end, at which no answer has to come: the longest first. */
  end(now: number, inFlight: number): readonly Gap[] {
    this.onAnswer(now, inFlight);
    return this.longest;
  }
}
