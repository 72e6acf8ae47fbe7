/**
 * Planted defects: `--break NAME` puts one in for the time of a run. Production knows nothing of
 * them. A simulator that does not find them is too weak (test/simulation/defects.test.ts).
 */
import { ANSWERS } from './answers.js';
import { APPLYING } from './applying.js';
import { CLOSED_TIMESTAMPS } from './closed-timestamps.js';
import { COMPARING } from './comparing.js';
import { ELECTIONS } from './elections.js';
import { MEMBERSHIP } from './membership.js';
import { MERGING } from './merging.js';
import type { Plan, Shape } from './plan.js';
import { READS } from './reads.js';
import { REPLICATION } from './replication.js';
import { SNAPSHOTS } from './snapshots.js';
import { VERSIONS } from './versions.js';

export type Defect = Plan & { readonly within: number; readonly shape: Shape };

const PLANS: readonly Plan[] = [
  ...ELECTIONS,
  ...REPLICATION,
  ...CLOSED_TIMESTAMPS,
  ...MEMBERSHIP,
  ...ANSWERS,
  ...READS,
  ...MERGING,
  ...APPLYING,
  ...COMPARING,
  ...SNAPSHOTS,
  ...VERSIONS,
];

/** Those of what is older than versions are looked for without them, where they have been found. */
export const DEFECTS: readonly Defect[] = PLANS.map((plan) => ({
  within: 40,
  ...plan,
  shape: { versions: false, ...plan.shape },
}));

/** Throws with the list of what there is when there is no such defect. */
export function findDefect(name: string): Defect {
  const defect = DEFECTS.find((known) => known.name === name);
  if (defect === undefined)
    throw new Error(`no defect ${name}; there are: ${DEFECTS.map((known) => known.name).join(', ')}`);
  return defect;
}

/** Runs `action` with the defect in place, if one is named. */
export function withDefect<T>(name: string | undefined, action: () => T): T {
  if (name === undefined) return action();
  const undo = findDefect(name).install();
  try {
    return action();
  } finally {
    undo();
  }
}
