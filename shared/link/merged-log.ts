/**
 * The end of the merged log: from the merger to the applier of the same server. A port with two
 * adapters: this file's, for services of one process; and a subscription to the log's subject
 * (services/applier/nats-tail.ts) for processes of their own. Both keep a window of the newest
 * runs; what is older is read from the stream.
 */
import type { MergedRun } from '../merge/merge.js';
import { MergedWindow, type WindowAnswer } from '../merge/window.js';
import type { MergedIndex } from '../raft/entry.js';

/** Kept in memory (bytes of entries): a reader that falls further behind reads the stream. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** In one answer (bytes of entries). */
const ANSWER_BYTES = 1024 * 1024;

export interface MergedLogTail {
  /**
   * Calls back with the runs from `wanted` on as soon as there are any, perhaps before this
   * returns. A call takes the place of the one before, which gets no answer.
   */
  next(wanted: MergedIndex, answer: (found: WindowAnswer) => void): void;
  /** Merged index of the newest run; undefined until something is known of the log. */
  readonly end: MergedIndex | undefined;
  /** No call is answered any more. */
  close(): void;
}

/**
 * Between the merger and the applier of one process, and behind the subscription of an applier that
 * is alone.
 */
export class DirectMergedLog implements MergedLogTail {
  private readonly window = new MergedWindow(WINDOW_BYTES);
  private waiting: { readonly wanted: MergedIndex; readonly answer: (found: WindowAnswer) => void } | undefined;

  /** The merger begins here: what it emits next follows this merged index. */
  begin(mergedIndex: MergedIndex): void {
    this.window.begin(mergedIndex);
    this.look();
  }

  push(run: MergedRun): void {
    this.window.push(run);
    this.look();
  }

  next(wanted: MergedIndex, answer: (found: WindowAnswer) => void): void {
    this.waiting = { wanted, answer };
    this.look();
  }

  get end(): MergedIndex | undefined {
    return this.window.end;
  }

  close(): void {
    this.waiting = undefined;
  }

  private look(): void {
    const { waiting } = this;
    if (waiting === undefined) return;
    const found = this.window.from(waiting.wanted, ANSWER_BYTES);
    if (found !== 'behind' && found.length === 0) return;
    this.waiting = undefined;
    waiting.answer(found);
  }
}
