/**
 * Judges a client history against what the cluster promises (T6, T7, T8). Pure: events in, report
 * out.
 *
 * 1. Linearizability. The registers are independent, and a history is linearizable exactly when
 *    that of each key is (Herlihy and Wing's locality), so keys are judged one by one. Operations
 *    acknowledged as `applied` or `ordered`, and reads, keep real time towards everything that
 *    starts later. One acknowledged as `committed` keeps it towards reads, and towards writes that
 *    carry Craft-After from its timestamp on; another later write may be ordered before it (T7). An
 *    unknown operation takes effect at any time from its start on, or never; a failed one never;
 *    attempts of one id take effect once.
 * 2. The merged order (T4). Places that replies tell are the order in which writes took effect;
 *    reads must fit to that very order.
 * 3. Places among themselves (told.ts).
 *
 * The search is bounded: a key that needs more than `configurationsMax` sets of operations is
 * `undecided`.
 */
import { type Attempt, byKey, eventsOf, pairAttempts } from './attempts.js';
import { counterexample } from './counterexample.js';
import type { Completion, HistoryEvent, Invocation } from './format.js';
import { operationsOf } from './operations.js';
import { type SearchResult, search, type Verdict } from './search.js';
import { findContradictions } from './told.js';

export interface CheckOptions {
  /** For each key; default 1,000,000 (some hundred megabytes at worst). */
  readonly configurationsMax?: number;
}

/**
 * `linearizability`: no order explains the replies. `order`: some order does, but not the one that
 * replies tell. `places`: told places contradict each other.
 */
type ViolationKind = 'linearizability' | 'order' | 'places';

export interface Violation {
  readonly kind: ViolationKind;
  readonly message: string;
  /** Undefined when several keys are involved. */
  readonly key: string | undefined;
  /**
   * The fewest events found that show it, in order of time; an invocation without completion counts
   * as unknown.
   */
  readonly events: readonly (Invocation | Completion)[];
}

export interface Report {
  /** `undecided`: no violation was found, but some key was too hard. */
  readonly verdict: Verdict;
  readonly violations: readonly Violation[];
  readonly undecided: readonly string[];
  readonly keys: number;
  /** Sets of operations visited, over all keys. */
  readonly configurations: number;
}

const CONFIGURATIONS_MAX = 1_000_000;

/** Throws HistoryError when the events are no history. */
export function checkHistory(events: readonly HistoryEvent[], options: CheckOptions = {}): Report {
  const { configurationsMax = CONFIGURATIONS_MAX } = options;
  const attempts = pairAttempts(events);
  const keys = byKey(attempts);
  const violations: Violation[] = [];
  const undecided: string[] = [];
  let configurations = 0;
  for (const [key, ofKey] of keys) {
    const judged = judge(ofKey, configurationsMax);
    configurations += judged.configurations;
    if (judged.verdict === 'undecided') undecided.push(key);
    if (judged.kind === undefined) continue;
    const usePlaces = judged.kind === 'order';
    const fails = (some: readonly Attempt[]): boolean =>
      searched(some, usePlaces, configurationsMax).verdict === 'violation';
    const message = usePlaces ? 'reads contradict the order that replies tell' : 'no order explains these replies';
    violations.push({ kind: judged.kind, message, key, events: eventsOf(counterexample(ofKey, fails)) });
  }
  for (const { message, events: pair } of findContradictions(attempts)) {
    const names = new Set(pair.map((event) => event.key));
    violations.push({ kind: 'places', message, key: names.size === 1 ? [...names][0] : undefined, events: pair });
  }
  const open: Verdict = undecided.length > 0 ? 'undecided' : 'linearizable';
  const verdict = violations.length > 0 ? 'violation' : open;
  return { verdict, violations, undecided, keys: keys.size, configurations };
}

interface Judged {
  readonly verdict: Verdict;
  readonly kind: 'linearizability' | 'order' | undefined;
  readonly configurations: number;
}

/**
 * With places first, which is quick and the stronger demand; without them only to tell what a
 * failure means.
 */
function judge(attempts: readonly Attempt[], configurationsMax: number): Judged {
  const placed = searched(attempts, true, configurationsMax);
  if (placed.verdict !== 'violation') return { ...placed, kind: undefined };
  const plain = searched(attempts, false, configurationsMax);
  const configurations = placed.configurations + plain.configurations;
  return { verdict: 'violation', kind: plain.verdict === 'violation' ? 'linearizability' : 'order', configurations };
}

function searched(attempts: readonly Attempt[], usePlaces: boolean, configurationsMax: number): SearchResult {
  return search(operationsOf(attempts), { usePlaces, configurationsMax });
}
