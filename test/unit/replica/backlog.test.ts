/** So many commands may wait to be applied as are applied in the time that one may wait. */
import { describe, expect, it } from 'vitest';
import { BACKLOG_MIN, Backlog, WAIT_MS } from '../../../services/replica/core/backlog.js';

/** Applies `perSecond` for some seconds; the last entry applied. */
function run(backlog: Backlog, perSecond: number, fromMs: number, untilMs: number, from = 0): number {
  let applied = from;
  for (let nowMs = fromMs; nowMs <= untilMs; nowMs += 20) {
    applied = from + Math.floor(((nowMs - fromMs) / 1_000) * perSecond);
    backlog.advance(applied, nowMs);
  }
  return applied;
}

describe('a backlog', () => {
  it('is full with as many as are applied in a second', () => {
    const backlog = new Backlog();
    const applied = run(backlog, 20_000, 0, 5_000);
    expect(backlog.isFull(applied + 19_000)).toBe(false);
    expect(backlog.isFull(applied + 22_500)).toBe(true);
    // Half as fast: half as many, when a second has passed.
    const later = run(backlog, 10_000, 5_000, 5_000 + 2 * WAIT_MS, applied);
    expect(backlog.isFull(later + 9_500)).toBe(false);
    expect(backlog.isFull(later + 11_500)).toBe(true);
  });

  it('has room for some, however slowly they are applied', () => {
    const backlog = new Backlog();
    for (let nowMs = 0; nowMs < 10_000; nowMs += 20) backlog.advance(7, nowMs);
    expect(backlog.isFull(7 + BACKLOG_MIN - 1)).toBe(false);
    expect(backlog.isFull(7 + BACKLOG_MIN)).toBe(true);
    // What has gone back is applied again, which says nothing of how fast new ones are.
    const applied = run(backlog, 50_000, 10_000, 12_000);
    backlog.advance(applied - 40_000, 12_020);
    expect(backlog.isFull(applied - 40_000 + BACKLOG_MIN)).toBe(true);
  });

  it('is never full while nothing is known of what is applied', () => {
    const backlog = new Backlog();
    backlog.advance(null, 0);
    expect(backlog.isFull(1_000_000)).toBe(false);
  });
});
