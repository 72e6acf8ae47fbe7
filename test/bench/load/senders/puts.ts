/** The puts of a run: random keys, values of one size, ids that no other run has. */
import type { Workload } from '../protocol.js';

/** Of a value, besides its padding: `{"n":1234567,"pad":""}`. */
const FRAME_BYTES = 24;

export class Puts {
  private readonly pad: string;
  private readonly prefix = `${process.pid.toString(36)}-${Date.now().toString(36)}-`;
  private count = 0;

  constructor(private readonly workload: Workload) {
    this.pad = 'x'.repeat(Math.max(0, workload.valueBytes - FRAME_BYTES));
  }

  next(): { readonly key: string; readonly value: { readonly n: number; readonly pad: string } } {
    const key = `key-${Math.floor(Math.random() * this.workload.keys)}`;
    return { key, value: { n: this.count++, pad: this.pad } };
  }
  /** The input of `kv.put` as JSON. */
  nextPayload(): string {
    const { key, value } = this.next();
    return `{"key":"${key}","value":${this.json(value.n)}}`;
  }
  /** A value as JSON, by itself. */
  json(n: number): string {
    return `{"n":${n},"pad":"${this.pad}"}`;
  }
  /** For the put that was taken last. */
  id(): string {
    return this.prefix + this.count.toString(36);
  }
}
