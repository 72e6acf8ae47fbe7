/**
 * The operations of one key, prepared for the search: which can be left out, which must happen, and
 * by when.
 */
import { comparePlaces, type Operation } from './operations.js';

/** An absent key, and every value that nobody ever reads (they are all the same to the search). */
const ABSENT = 0;
const UNSEEN = 1;

export interface Step extends Operation {
  /** The value as a number: ABSENT, UNSEEN, or one that some read has seen. */
  readonly state: number;
}

export interface Candidates {
  /** What must be linearized, in order of start. */
  readonly certain: readonly Step[];
  /**
   * Plain writes of unknown outcome whose values nobody has seen, in order of start. They differ in
   * nothing but the time from which they may happen, so using them in this order loses nothing.
   * (Their Craft-After is not looked at: nobody can tell where they are.)
   */
  readonly anonymous: readonly Step[];
  /** Others of unknown outcome. */
  readonly possible: readonly Step[];
  /** Indexes into `certain` of what has an exact place, in order of place. */
  readonly placed: readonly number[];
  /** Indexes into `certain` of what has a timestampMax, in that order. */
  readonly bounded: readonly number[];
  /** Some operation tells or asks for a version: then every write counts, seen or not. */
  readonly hasVersions: boolean;
}

export function prepare(operations: readonly Operation[]): Candidates {
  const hasVersions = operations.some(
    ({ f, version, value }) => f === 'cas' || (version !== undefined && value !== null),
  );
  const seenBy = new Map<string, number>();
  const writers = new Map<string, number>();
  for (const { f, value, endForReads } of operations) {
    if (value === null) continue;
    if (f === 'read') seenBy.set(value, Math.min(seenBy.get(value) ?? Number.POSITIVE_INFINITY, endForReads));
    else writers.set(value, (writers.get(value) ?? 0) + 1);
  }
  const numbers = new Map([...seenBy.keys()].map((value, i) => [value, i + 2]));

  const certain: Step[] = [];
  const anonymous: Step[] = [];
  const possible: Step[] = [];
  for (const operation of operations) {
    const { value } = operation;
    const state = value === null ? ABSENT : (numbers.get(value) ?? UNSEEN);
    const step = { ...operation, state };
    const isOnlyWriter = value !== null && writers.get(value) === 1;
    if (operation.isCertain) certain.push(step);
    else if (state !== UNSEEN && isOnlyWriter) certain.push(happened(step, seenBy.get(value) ?? 0));
    else if (state !== UNSEEN || operation.f === 'cas') possible.push(step);
    else if (hasVersions) anonymous.push(step);
    // Without versions, a write that nobody saw and that may never have happened changes nothing.
  }
  const byStart = (a: Step, b: Step): number => a.start - b.start;
  certain.sort(byStart);
  anonymous.sort(byStart);
  const indexes = certain.map((_, i) => i);
  const at = (i: number): Step => certain[i] as Step;
  return {
    certain,
    anonymous,
    possible,
    placed: indexes
      .filter((i) => at(i).place !== undefined)
      .sort((a, b) => comparePlaces(at(a).place ?? NOWHERE, at(b).place ?? NOWHERE)),
    bounded: indexes
      .filter((i) => at(i).timestampMax !== undefined)
      .sort((a, b) => (at(a).timestampMax ?? 0) - (at(b).timestampMax ?? 0)),
    hasVersions,
  };
}

const NOWHERE = { timestamp: 0, group: 0 };

/**
 * No other operation writes this value; therefore a read of it saw this write, which had happened
 * by the end of that read.
 */
function happened(step: Step, seenBy: number): Step {
  const verdict = step.f === 'cas' ? 'took' : undefined;
  return { ...step, verdict, isCertain: true, endForReads: seenBy, endForWrites: seenBy };
}
