import { describe, expect, it } from 'vitest';
import { SnapshotPolicy } from '../../../services/applier/core/snapshots/policy.js';

const LIMITS = { entries: 100, bytes: 10_000, ageMs: 60_000 };

describe('a snapshot', () => {
  it('is due after so many commands, and not again until as many have come', () => {
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    policy.onApplied(99, 99);
    expect(policy.isDue(1)).toBe(false);
    policy.onApplied(100, 1);
    expect(policy.isDue(1)).toBe(true);
    policy.onNewest(100, 0, 1);
    policy.onApplied(199, 99);
    expect(policy.isDue(2)).toBe(false);
    policy.onApplied(200, 1);
    expect(policy.isDue(2)).toBe(true);
  });

  it('of another server counts as well, with the commands that it has', () => {
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    for (let index = 1; index <= 150; index++) policy.onApplied(index, 1);
    policy.onNewest(80, 0, 5);
    expect(policy.isDue(6)).toBe(false);
    policy.onApplied(180, 30);
    expect(policy.isDue(6)).toBe(true);
  });

  it('that is gone counts no more, also when nothing has been applied since it was taken', () => {
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    for (let index = 1; index <= 50; index++) policy.onApplied(index, 1);
    policy.onNewest(50, 0, 5);
    policy.onWanted(50);
    expect(policy.isDue(6)).toBe(false);
    policy.onNewest(0, 0, 7);
    expect(policy.isDue(8)).toBe(true);
  });

  it('is due after so many bytes, however few commands they were', () => {
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    for (let index = 1; index <= 9; index++) policy.onApplied(index, 1_000);
    expect(policy.isDue(1)).toBe(false);
    policy.onApplied(10, 1_000);
    expect(policy.isDue(1)).toBe(true);
    policy.onNewest(10, 0, 1);
    expect(policy.isDue(1)).toBe(false);
  });

  it('is due at an age only when something has been applied since', () => {
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    expect(policy.isDue(1e9)).toBe(false);
    policy.onApplied(1, 1);
    expect(policy.isDue(59_999)).toBe(false);
    expect(policy.isDue(60_000)).toBe(true);
    policy.onNewest(1, 0, 60_000);
    expect(policy.isDue(1e9)).toBe(false);
  });

  it('waits until the commands since a large one take twice its bytes, but not beyond its age', () => {
    const MIB = 1024 * 1024;
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    policy.onApplied(10, 1);
    policy.onNewest(10, 5 * MIB, 1);
    policy.onApplied(1_009, 6 * MIB - 1);
    expect(policy.isDue(2)).toBe(false);
    expect(policy.dueEntries).toBe(1_000);
    policy.onApplied(1_010, 1);
    expect(policy.isDue(2)).toBe(true);
    policy.onNewest(1_010, 100 * MIB, 3);
    policy.onApplied(1_011, 1);
    expect(policy.isDue(60_002)).toBe(false);
    expect(policy.isDue(60_003)).toBe(true);
    // A small one may be taken as often as is wanted.
    const small = new SnapshotPolicy(LIMITS, 0, 0);
    small.onNewest(1, 2 * MIB, 1);
    small.onApplied(101, 1);
    expect([small.isDue(2), small.dueEntries]).toEqual([true, 100]);
  });

  it('is not due for what an installed one brought, and its memory is bounded', () => {
    const policy = new SnapshotPolicy(LIMITS, 0, 0);
    policy.onNewest(5_000, 0, 1);
    policy.onMoved(5_000);
    expect(policy.isDue(2)).toBe(false);
    for (let index = 5_001; index <= 5_060; index++) policy.onApplied(index, 1);
    expect(policy.isDue(2)).toBe(false);
    const many = new SnapshotPolicy({ ...LIMITS, entries: 1e9, bytes: 1e12 }, 0, 0);
    for (let index = 1; index <= 10_000; index++) many.onApplied(index, 1);
    expect((Reflect.get(many, 'marks') as unknown[]).length).toBeLessThanOrEqual(256);
  });
});
