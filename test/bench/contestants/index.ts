/** All contestants, in the order of their turns. */
import type { Contestant } from './contestant.js';
import { craftApplied, craftCommitted, craftOneGroup, craftOrdered, craftSdk } from './craft.js';
import { etcd } from './etcd.js';
import { jetstreamPublish } from './jetstream-publish.js';
import { peer } from './peer.js';

export const CONTESTANTS: readonly Contestant[] = [
  craftApplied,
  peer,
  craftSdk,
  etcd,
  craftOneGroup,
  craftOrdered,
  craftCommitted,
  jetstreamPublish,
];

/** Throws RangeError with the names that there are. */
export function contestantNamed(name: string): Contestant {
  const found = CONTESTANTS.find((one) => one.name === name);
  if (found === undefined) {
    throw new RangeError(`no contestant ${name}; there are ${CONTESTANTS.map((one) => one.name).join(', ')}`);
  }
  return found;
}
