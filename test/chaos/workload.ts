/**
 * Clients that do something to a cluster while it is disturbed, and know afterwards whether it was
 * right.
 */

/** An acknowledged write, with the place that the reply told. */
export interface Told {
  readonly id: string | undefined;
  readonly group: number | undefined;
  readonly timestamp: number;
  /** Merged index, where it was told. */
  readonly index: number | undefined;
}

export interface Counts {
  readonly ok: number;
  readonly fail: number;
  readonly unknown: number;
}

export interface Workload {
  readonly name: string;
  /** Before anything is disturbed. */
  prepare(): Promise<void>;
  /** One operation after the other until `isOver`. */
  run(isOver: () => boolean): Promise<void>;
  /**
   * After the last fault is healed: reads once more all that there is; resolves with what could not
   * be read, in sentences.
   */
  settle(isTooLate: () => boolean): Promise<string[]>;
  told(): readonly Told[];
  /** Times of success (microseconds on the recorder's clock), ascending. */
  successes(): readonly number[];
  counts(): Counts;
}
