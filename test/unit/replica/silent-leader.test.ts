/**
 * A leader whose process has ended is replaced as soon as the transport knows it; one that is only
 * cut off after the election timeout.
 */
import { expect, it } from 'vitest';
import { Cores, ELECTION_TIMEOUT_MS } from './cores.js';

const STEP_MS = 20;

function started(): Cores {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 1 });
  cores.pass(2 * ELECTION_TIMEOUT_MS);
  expect(cores.leadersOf(0)).toEqual(['s1']);
  return cores;
}

/** How long until another server leads (milliseconds). */
function replacedAfter(cores: Cores): number {
  let ms = 0;
  while (!cores.leadersOf(0).some((leader) => leader !== 's1') && ms < 10_000) {
    cores.pass(STEP_MS);
    ms += STEP_MS;
  }
  return ms;
}

it('a leader whose process has ended is replaced within half an election timeout', () => {
  const cores = started();
  cores.server('s1').isGone = true;
  expect(replacedAfter(cores)).toBeLessThan(ELECTION_TIMEOUT_MS / 2);
});

it('one that is cut off, of which the transport knows nothing, after the election timeout', () => {
  const cores = started();
  cores.server('s1').isCutOff = true;
  const ms = replacedAfter(cores);
  expect(ms).toBeGreaterThanOrEqual(ELECTION_TIMEOUT_MS);
  expect(ms).toBeLessThan(3 * ELECTION_TIMEOUT_MS);
});

it('a transport that is wrong about a leader that is heard from changes nothing', () => {
  const cores = started();
  for (let at = 0; at < 100; at++) {
    cores.pass(STEP_MS);
    for (const { core } of cores.servers) for (const peer of ['s1', 's2', 's3']) core.unreachable(peer);
  }
  expect(cores.leadersOf(0)).toEqual(['s1']);
  expect(cores.server('s1').told.filter(({ type }) => type === 'lost')).toEqual([]);
});
