/** A leader stamps in the rhythm of its answers: a burst is one batch; nothing waits for ever. */
import { describe, expect, it } from 'vitest';
import type { Acknowledgement } from '../../../services/replica/core/effect.js';
import { HOLD_MS_MAX } from '../../../services/replica/core/gathering.js';
import { Cores, commandsOf } from './cores.js';

const BODY = new Uint8Array(100);
const BURST = 10;

/** Group 0 has a leader, which has stamped one burst and holds another one back. */
function withBursts(acknowledgement: Acknowledgement): { cores: Cores; stamped: () => number; lastIndex: number } {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 1 });
  const leader = cores.server('s1');
  leader.applied = [0];
  cores.pass(200);
  const stamped = () => commandsOf(leader, 0).length;
  const burst = () => {
    for (let n = 0; n < BURST; n++) expect(cores.offer('s1', 0, BODY, acknowledgement)).toBeNull();
    cores.settle();
  };
  // The batch is stamped, and no other server has it.
  leader.isCutOff = acknowledgement !== 'applied';
  burst();
  expect(stamped()).toBe(BURST);
  const lastIndex = leader.core.groups[0]?.lastIndex ?? 0;
  expect(leader.core.isHolding).toBe(false);
  burst();
  expect(stamped()).toBe(BURST);
  expect(leader.core.isHolding).toBe(true);
  return { cores, stamped, lastIndex };
}

describe('commands that come before those of their group are answered', () => {
  it('are stamped when those are applied', () => {
    const { cores, stamped, lastIndex } = withBursts('applied');
    const leader = cores.server('s1');
    leader.applied = [lastIndex - 1];
    cores.settle();
    expect(stamped()).toBe(BURST);
    leader.applied = [lastIndex];
    cores.settle();
    expect(leader.core.isHolding).toBe(false);
    expect(stamped()).toBe(2 * BURST);
  });

  it.each(['applied', 'ordered', 'committed'] as const)(
    'are stamped soon when no answer comes: %s',
    (acknowledgement) => {
      const { cores, stamped } = withBursts(acknowledgement);
      const { core } = cores.server('s1');
      expect(core.nextWakeMs()).not.toBeNull();
      cores.pass(2 * HOLD_MS_MAX);
      expect(stamped()).toBe(2 * BURST);
      expect(core.isHolding).toBe(false);
    },
  );

  it('are stamped as soon as those are committed, when that is all that is waited for', () => {
    const cores = new Cores(['s1'], { groups: 1 });
    cores.pass(200);
    const leader = cores.server('s1');
    // Nothing is applied here, and earlier commands wait for that: those are not the batch before.
    leader.applied = [0];
    for (const acknowledgement of ['applied', 'committed', 'committed'] as const) {
      for (let n = 0; n < BURST; n++) cores.offer('s1', 0, BODY, acknowledgement);
      cores.settle();
      if (acknowledgement === 'applied') cores.pass(40);
      leader.diskMs = 5;
    }
    expect(commandsOf(leader, 0)).toHaveLength(2 * BURST);
    leader.diskMs = 0;
    cores.settle();
    // They were looked at before the commit was reported: a turn is wanted at once.
    expect([leader.core.isHolding, leader.core.nextWakeMs()]).toEqual([true, 0]);
    cores.settle();
    expect(commandsOf(leader, 0)).toHaveLength(3 * BURST);
  });

  it.each(['applied', 'ordered', 'committed'] as const)(
    'are stamped at once when no client waits for those: %s',
    (acknowledgement) => {
      const cores = new Cores(['s1', 's2', 's3'], { groups: 1 });
      const leader = cores.server('s1');
      leader.applied = [0];
      cores.pass(200);
      // Nothing is committed or applied from here on.
      leader.isCutOff = true;
      for (let n = 1; n <= 3; n++) {
        for (let at = 0; at < BURST; at++) cores.offer('s1', 0, BODY, acknowledgement, false);
        cores.settle();
        expect(commandsOf(leader, 0)).toHaveLength(n * BURST);
      }
    },
  );

  it('are stamped at once when nothing is known of what is applied', () => {
    const cores = new Cores(['s1', 's2', 's3'], { groups: 1 });
    cores.pass(200);
    for (let n = 1; n <= 3; n++) {
      for (let at = 0; at < BURST; at++) cores.offer('s1', 0, BODY, 'applied');
      cores.settle();
      expect(commandsOf(cores.server('s1'), 0)).toHaveLength(n * BURST);
    }
  });
});
