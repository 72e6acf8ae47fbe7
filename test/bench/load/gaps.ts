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

  /** Times never decrease. */
  onAnswer(now: number, inFlight: number): void {
    const lengthMs = now - this.last;
    const beginMs = this.last - this.begin;
    this.last = now;
    if (this.longest.length === GAPS_MAX && lengthMs <= (this.longest.at(-1)?.lengthMs ?? 0)) return;
    const at = this.longest.findIndex((gap) => gap.lengthMs < lengthMs);
    this.longest.splice(at < 0 ? this.longest.length : at, 0, { beginMs, lengthMs, inFlight });
    if (this.longest.length > GAPS_MAX) this.longest.pop();
  }

  /** Up to the end, at which no answer has to come: the longest first. */
  end(now: number, inFlight: number): readonly Gap[] {
    this.onAnswer(now, inFlight);
    return this.longest;
  }
}
