/** When leaders close without being asked (T5): pure. */
import { describe, expect, it } from 'vitest';
import { ClosingByTime } from '../../../services/replica/core/closing-by-time.js';

/** When it was due, looking every millisecond; a command at each of the given times. */
function dueTimes(roundTripMs: number, commandsAtMs: readonly number[], untilMs: number): number[] {
  const closing = new ClosingByTime();
  const due: number[] = [];
  for (let nowMs = 0; nowMs < untilMs; nowMs++) {
    const newest = commandsAtMs.filter((atMs) => atMs <= nowMs).at(-1);
    if (closing.isDue(newest === undefined ? 0 : newest * 1_000 + 1, roundTripMs, nowMs)) due.push(nowMs);
  }
  return due;
}

describe('closing by time', () => {
  it('is for slow networks only', () => {
    expect(dueTimes(0, [5, 50], 200)).toEqual([]);
    expect(dueTimes(9, [5, 50], 200)).toEqual([]);
    expect(dueTimes(10, [5, 50], 200)).not.toEqual([]);
  });

  it('begins with a command, follows after a sixteenth of the round trip, and ends four round trips after the last one', () => {
    const due = dueTimes(160, [100, 300], 2_000);
    expect(due[0]).toBe(100);
    expect(due.at(-1)).toBe(940);
    expect(new Set(due.slice(1).map((atMs, at) => atMs - (due[at] ?? 0)))).toEqual(new Set([10]));
  });

  it('is no burden where round trips are long only because a machine is overloaded', () => {
    const due = dueTimes(16, [0], 1_000);
    expect(new Set(due.slice(1).map((atMs, at) => atMs - (due[at] ?? 0)))).toEqual(new Set([5]));
  });

  it('wakes nobody while it is not wanted', () => {
    const closing = new ClosingByTime();
    expect(closing.nextDueMs()).toBeNull();
    closing.isDue(1, 160, 1_000);
    expect(closing.nextDueMs()).toBe(1_010);
    closing.isDue(1, 160, 2_000);
    expect(closing.nextDueMs()).toBeNull();
  });
});
