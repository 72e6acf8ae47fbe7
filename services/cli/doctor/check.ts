/** One thing that `craft doctor` looks for, and what it says of it. */
import type { Fact, Facts } from './facts.js';

/** `note`: something was not looked at because nobody has said where it is; that is no fault. */
export type FindingLevel = 'error' | 'warning' | 'note';

export interface Sighting {
  /** The server, the stream, the setting. */
  readonly where: string;
  readonly what: string;
  /** What to do. */
  readonly remedy: string;
}

export interface Check {
  /** Stable, for programs. */
  readonly code: string;
  readonly level: FindingLevel;
  /** For the guide: what it finds. */
  readonly about: string;
  find(facts: Facts): readonly Sighting[];
}

export interface Finding extends Sighting {
  readonly code: string;
  readonly level: FindingLevel;
  /** The operator knows of it: it is shown, and does not count. */
  readonly accepted?: true;
}

/** What the fact itself says when it cannot be had. */
export function failure(where: string, fact: Fact<unknown>): Sighting[] {
  return fact.is === 'failed' ? [{ where, what: fact.why, remedy: fact.remedy }] : [];
}
