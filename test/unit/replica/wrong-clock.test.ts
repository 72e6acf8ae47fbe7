/** A server whose clock is far off costs the cluster nothing but its leaderships. */
import { expect, it } from 'vitest';
import { Cores, ELECTION_TIMEOUT_MS } from './cores.js';

const HOUR_MS = 3_600_000;

it.each([HOUR_MS, -HOUR_MS, 2_000])(
  'pitfall: clock that is off: by %i ms, its server leads nothing, and no leader stops taking commands to hand over to it',
  (offsetMs) => {
    const cores = new Cores(['s1', 's2', 's3'], { groups: 3 });
    cores.pass(200);
    expect(cores.leadersOf(1)).toEqual(['s2']);
    const wrong = cores.server('s2');
    wrong.clockOffsetMs = offsetMs;
    cores.pass(4 * ELECTION_TIMEOUT_MS);
    for (let passedMs = 0; passedMs < 20_000; passedMs += 20) {
      cores.pass(20);
      const [leader = ''] = cores.leadersOf(1);
      expect(leader).not.toBe('s2');
      expect(cores.server(leader).core.groups[1]?.isTaking).toBe(true);
    }
    wrong.clockOffsetMs = 0;
    cores.pass(60_000);
    expect([0, 1, 2].map((group) => cores.leadersOf(group))).toEqual([['s1'], ['s2'], ['s3']]);
  },
);
