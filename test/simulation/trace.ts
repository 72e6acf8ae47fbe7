/**
 * What happened, as a running hash (the same seed must give the same) and as the last events in
 * words.
 */
export interface TraceEvent {
  readonly step: number;
  readonly atUs: number;
  /** What kind of thing, for example `deliver` or `crash`. */
  readonly kind: string;
  readonly server: number;
  /** Formatted only when it is read. */
  readonly detail: () => string;
}

const REMEMBERED = 8_192;

export class Trace {
  private a = 0x2545f491;
  private b = 0x4f6cdd1d;
  private readonly ring: TraceEvent[] = [];
  private next = 0;

  constructor(private readonly print: ((event: TraceEvent) => void) | null) {}

  mix(value: number): void {
    const low = value | 0;
    this.a = Math.imul(this.a ^ low, 0x85ebca6b);
    this.a ^= this.a >>> 13;
    this.b = (Math.imul(this.b ^ Math.floor(value / 2 ** 32), 0xc2b2ae35) + this.a) | 0;
    this.b ^= this.b >>> 16;
  }

  add(event: TraceEvent): void {
    this.ring[this.next] = event;
    this.next = (this.next + 1) % REMEMBERED;
    this.print?.(event);
  }

  get hash(): string {
    return (this.a >>> 0).toString(16).padStart(8, '0') + (this.b >>> 0).toString(16).padStart(8, '0');
  }

  /** The last events, oldest first. */
  last(): TraceEvent[] {
    return [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)];
  }
}

export function formatEvent({ step, atUs, kind, server, detail }: TraceEvent): string {
  const who = server < 0 ? '--' : `s${server + 1}`;
  return `${String(step).padStart(7)} ${(atUs / 1e6).toFixed(6).padStart(11)} ${who} ${kind.padEnd(9)} ${detail()}`;
}
