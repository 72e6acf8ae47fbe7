/**
 * What one batch or query sends to the database: the first calls one by one, and all that follow as
 * one.
 */
import type { DatabaseCall } from '../../shared/engine/port.js';

/** Calls that are kept one by one. */
const CALLS_MAX = 32;

export class CallRecorder {
  private readonly calls: DatabaseCall[] = [];
  /** From the first to the last of those that found no room. */
  private rest: DatabaseCall | undefined;
  private restCount = 0;

  add(call: DatabaseCall): void {
    if (this.calls.length < CALLS_MAX) {
      this.calls.push(call);
      return;
    }
    const { startUs } = this.rest ?? call;
    const error = this.rest?.error ?? call.error;
    this.rest = { text: call.text, startUs, endUs: call.endUs, ...(error === undefined ? {} : { error }) };
    this.restCount += 1;
  }

  /** `count`: how many calls this one stands for. */
  each(tell: (call: DatabaseCall, count: number) => void): void {
    for (const call of this.calls) tell(call, 1);
    if (this.rest !== undefined) tell(this.rest, this.restCount);
  }
}
