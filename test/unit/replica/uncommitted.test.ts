/** A leader that reaches nobody takes no more than it was told to hold. */
import { expect, it } from 'vitest';
import { Cores, commandsOf, ELECTION_TIMEOUT_MS } from './cores.js';

const BYTES_MAX = 100_000;
const BODY = new Uint8Array(1_000).fill(7);

it('pitfall: uncommitted growth: without a quorum so many bytes are taken, then OVERLOADED; and again once there is one', () => {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 1, uncommittedBytesMax: BYTES_MAX });
  cores.pass(200);
  const leader = cores.server('s1');
  leader.isCutOff = true;
  let taken = 0;
  let refused = 0;
  // Shorter than an election timeout: it still leads, as far as it can tell.
  for (let passedMs = 0; passedMs < ELECTION_TIMEOUT_MS / 2; passedMs += 20) {
    for (let n = 0; n < 20; n++) {
      const refusal = cores.offer('s1', 0, BODY);
      if (refusal === null) taken += 1;
      else {
        expect(refusal).toBe('overloaded');
        refused += 1;
      }
    }
    cores.pass(20);
    expect(leader.core.groups[0]?.uncommittedBytes).toBeLessThanOrEqual(BYTES_MAX + taken * 50);
  }
  expect(cores.leadersOf(0)).toEqual(['s1']);
  expect(refused).toBeGreaterThan(100);
  // All that was offered would have been five times as much.
  expect(taken).toBeLessThanOrEqual(BYTES_MAX / BODY.length);
  expect(taken).toBeGreaterThan(BYTES_MAX / BODY.length / 2);
  // Said before a command is read, too.
  while (cores.offer('s1', 0, new Uint8Array(1)) === null) taken += 1;
  expect(leader.core.refusal(0, 'committed')).toBe('overloaded');
  expect(cores.server('s2').core.refusal(0, 'committed')).toBe('not-leader');
  expect(leader.told.filter(({ type }) => type === 'refused' || type === 'committed')).toEqual([]);

  leader.isCutOff = false;
  cores.pass(500);
  expect(leader.told.filter(({ type }) => type === 'committed')).toHaveLength(taken);
  expect(cores.offer('s1', 0, BODY)).toBeNull();
  cores.pass(100);
  for (const server of cores.servers) expect(commandsOf(server, 0)).toHaveLength(taken + 1);
});

it('commands that no client waits for take no place among those whose clients are told', () => {
  const cores = new Cores(['s1'], { groups: 1 });
  cores.pass(200);
  const { core } = cores.server('s1');
  const waiting = () => core.loads()[0]?.acknowledgements.now;
  cores.server('s1').diskMs = 1_000;
  for (const acknowledgement of ['committed', 'ordered', 'applied'] as const) {
    expect(cores.offer('s1', 0, BODY, acknowledgement, false)).toBeNull();
  }
  cores.settle();
  expect(commandsOf(cores.server('s1'), 0)).toHaveLength(3);
  expect(waiting()).toBe(0);
  cores.server('s1').diskMs = 0;
  cores.settle();
  expect(cores.server('s1').told.filter(({ type }) => type === 'committed' || type === 'ordered')).toEqual([]);
  cores.server('s1').diskMs = 1_000;
  for (const acknowledgement of ['committed', 'ordered', 'applied'] as const) {
    expect(cores.offer('s1', 0, BODY, acknowledgement)).toBeNull();
  }
  cores.settle();
  expect(waiting()).toBe(2);
});
