/** Read barriers. */
import { Barriers } from '../../../services/replica/core/barrier.js';
import { type Plan, replace } from './plan.js';

export const READS: readonly Plan[] = [
  {
    name: 'read-without-quorum',
    what: 'a read barrier asks only its own server (T6)',
    foundBy: 4,
    install: () =>
      replace(Barriers, 'begin', function (original, ...given) {
        const begun = original(...given);
        for (const barrier of this.byId.values()) barrier.hasQuorum = true;
        return begun;
      }),
  },
  {
    name: 'number-barriers-from-one',
    what: 'a restarted server numbers its read barriers as it did before, and counts answers to those (T6)',
    foundBy: 2,
    install: () => {
      const numbered = new WeakSet();
      return replace(Barriers, 'begin', function (original, ...given) {
        if (!numbered.has(this)) this.nextId = 1;
        numbered.add(this);
        return original(...given);
      });
    },
  },
  {
    name: 'read-before-watermark',
    what: 'a read barrier does not wait until the watermarks have passed its timestamp (T6)',
    foundBy: 4,
    install: () => replace(Barriers, 'passed', (original) => original(Number.POSITIVE_INFINITY)),
  },
];
