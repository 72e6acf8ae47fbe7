/** Leadership comes home to the preferred server also when commands never stop coming. */
import { expect, it } from 'vitest';
import { Cores, ELECTION_TIMEOUT_MS } from './cores.js';

const COMMAND = new Uint8Array(100);

it('goes back to the preferred server under a steady load, which that is always a little behind', () => {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 1 });
  cores.pass(200);
  expect(cores.leadersOf(0)).toEqual(['s1']);
  const preferred = cores.server('s1');
  preferred.isCutOff = true;
  cores.pass(5 * ELECTION_TIMEOUT_MS);
  preferred.isCutOff = false;
  // Slower than the quorum without it: there is always something committed that it does not have
  // yet.
  preferred.diskMs = 60;
  let refused = 0;
  for (let passedMs = 0; passedMs < 20_000 && cores.leadersOf(0)[0] !== 's1'; passedMs += 20) {
    for (const leader of cores.leadersOf(0)) if (cores.offer(leader, 0, COMMAND) !== null) refused += 1;
    cores.pass(20);
  }
  expect(cores.leadersOf(0)).toEqual(['s1']);
  // Only while it got the rest: a few ticks.
  expect(refused).toBeLessThan(20);
});
