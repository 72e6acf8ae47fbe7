/** How long a leader gathers commands before it stamps them: pure. */
import { describe, expect, it } from 'vitest';
import {
  GATHER_MS_MAX,
  Gathering,
  HELD_MAX,
  HOLD_MS_MAX,
  HOLD_ROUND_TRIP_MS_MAX,
  type Waiting,
} from '../../../services/replica/core/gathering.js';

const SMALL = 100;

function waiting(count: number, others: Partial<Waiting> = {}): Waiting {
  return { count, bytes: count * SMALL, isAnswered: true, roundTripMs: 0, ...others };
}

/** One whose commits have long taken so many milliseconds. */
function withCommitsOf(commitMs: number): { gathering: Gathering; nowMs: number } {
  const gathering = new Gathering();
  let nowMs = 1_000;
  for (let index = 10; index <= 400; index += 10) {
    gathering.stamped(10, index, nowMs);
    nowMs += commitMs;
    gathering.committed(index, nowMs);
  }
  return { gathering, nowMs };
}

/** How long commands wait, looked at every tenth of a millisecond. */
function waitMs(gathering: Gathering, wanted: Waiting, nowMs: number): number {
  for (let ms = 0; ms < 100; ms += 0.1) {
    if (gathering.isOver(wanted, nowMs + ms)) return ms;
  }
  throw new Error('they wait for ever');
}

describe('a leader that has commands to stamp', () => {
  it('waits for half of what commits take longer than the network, five milliseconds at most', () => {
    for (const [commitMs, roundTripMs, expected] of [
      [4, 0, 2],
      [4, 1, 1.5],
      [30, 26, 2],
      [40, 1, GATHER_MS_MAX],
      [80, 80, 0],
      [20, 80, 0],
    ] as const) {
      const { gathering, nowMs } = withCommitsOf(commitMs);
      expect(waitMs(gathering, waiting(10, { roundTripMs }), nowMs), `${commitMs} ${roundTripMs}`).toBeCloseTo(
        expected,
        0.5,
      );
    }
  });

  it('waits for nothing with a few commands, before anything is known, with many bytes, and after a pause', () => {
    expect(waitMs(new Gathering(), waiting(100), 1_000)).toBe(0);
    const { gathering, nowMs } = withCommitsOf(40);
    expect(gathering.isOver(waiting(10, { bytes: 64 * 1024 }), nowMs)).toBe(true);
    gathering.stamped(1, 500, nowMs);
    expect(waitMs(gathering, waiting(2), nowMs)).toBe(0);
    expect(waitMs(gathering, waiting(3), nowMs)).toBeCloseTo(GATHER_MS_MAX, 1);
    gathering.stamped(10, 510, nowMs);
    expect(waitMs(gathering, waiting(3), nowMs + 201)).toBe(0);
  });

  it('says when it wants to be asked again, and no longer once they are stamped or refused', () => {
    const { gathering, nowMs } = withCommitsOf(40);
    expect(gathering.nextDueMs()).toBeNull();
    expect(gathering.isOver(waiting(10), nowMs)).toBe(false);
    expect(gathering.nextDueMs()).toBe(nowMs + GATHER_MS_MAX);
    // Others that come meanwhile do not put it off.
    expect(gathering.isOver(waiting(20), nowMs + 3)).toBe(false);
    expect(gathering.nextDueMs()).toBe(nowMs + GATHER_MS_MAX);
    gathering.stamped(20, 600, nowMs + GATHER_MS_MAX);
    expect(gathering.nextDueMs()).toBeNull();
    expect(gathering.isOver(waiting(10), nowMs + 6)).toBe(false);
    gathering.reset();
    expect(gathering.nextDueMs()).toBeNull();
  });

  it('measures one batch after the other, and none that a lost leadership left', () => {
    const { gathering, nowMs } = withCommitsOf(4);
    gathering.stamped(10, 500, nowMs);
    gathering.reset();
    gathering.committed(500, nowMs + 1_000);
    expect(waitMs(gathering, waiting(10), nowMs)).toBeCloseTo(2, 0.5);
  });

  it('holds a small batch back until the one before is answered, and gathers from then on', () => {
    const { gathering, nowMs } = withCommitsOf(4);
    gathering.stamped(10, 500, nowMs);
    const held = waiting(10, { isAnswered: false });
    expect(gathering.isOver(held, nowMs + 9)).toBe(false);
    expect(gathering.isHeld).toBe(true);
    expect(gathering.nextDueMs()).toBe(nowMs + HOLD_MS_MAX);
    expect(gathering.isOver(waiting(12), nowMs + 9)).toBe(false);
    expect(gathering.isHeld).toBe(false);
    // Answers of others that come meanwhile are due do not hold it back again.
    expect(gathering.isOver(held, nowMs + 10)).toBe(false);
    expect(gathering.isHeld).toBe(false);
    expect(gathering.nextDueMs()).toBeCloseTo(nowMs + 11, 0.5);
    expect(gathering.isOver(held, nowMs + 11.1)).toBe(true);
  });

  it('holds nothing back for long, when much waits, with a few commands, or where the network takes long', () => {
    const { gathering, nowMs } = withCommitsOf(0);
    gathering.stamped(10, 500, nowMs);
    const held = waiting(10, { isAnswered: false });
    expect(waitMs(gathering, held, nowMs)).toBeCloseTo(HOLD_MS_MAX, 0);
    gathering.stamped(10, 510, nowMs);
    expect(gathering.isOver({ ...held, count: HELD_MAX }, nowMs)).toBe(true);
    expect(gathering.isOver({ ...held, roundTripMs: HOLD_ROUND_TRIP_MS_MAX + 0.1 }, nowMs)).toBe(true);
    gathering.stamped(1, 520, nowMs);
    expect(gathering.isOver({ ...held, count: 2 }, nowMs)).toBe(true);
  });
});
