import { describe, expect, it } from 'vitest';
import { AppliedPositions } from '../../../services/applier/applied.js';

const never = new AbortController().signal;

describe('AppliedPositions (T6)', () => {
  it('lets a read go on once every group has reached its position, and not before', async () => {
    const applied = new AppliedPositions([3, 5], () => undefined);
    await applied.reach([3, 5], never);
    let isThrough = false;
    const reading = applied.reach([4, 6], never).then(() => {
      isThrough = true;
    });
    applied.applied(0, 9);
    applied.settle();
    await Promise.resolve();
    expect(isThrough).toBe(false);
    applied.applied(1, 6);
    applied.settle();
    await reading;
  });

  it('says when the first read begins to wait, and when the last one ends', async () => {
    const said: boolean[] = [];
    const applied = new AppliedPositions([1], (isAwaited) => said.push(isAwaited));
    await applied.reach([1], never);
    expect(said).toEqual([]);
    const abort = new AbortController();
    const [first, second] = [applied.reach([2], never), applied.reach([3], abort.signal)];
    expect(said).toEqual([true]);
    applied.applied(0, 2);
    applied.settle();
    await first;
    expect(said).toEqual([true]);
    abort.abort();
    await expect(second).rejects.toThrow();
    expect(said).toEqual([true, false]);
  });

  it('takes a group that has no position yet for one at the beginning', async () => {
    const applied = new AppliedPositions([], () => undefined);
    expect(applied.hasReached([0, 0, 0])).toBe(true);
    expect(applied.hasReached([0, 0, 1])).toBe(false);
  });

  it('gives up when told so', async () => {
    const abort = new AbortController();
    const reading = new AppliedPositions([], () => undefined).reach([1], abort.signal);
    abort.abort(new Error('too late'));
    await expect(reading).rejects.toThrow('too late');
  });
});
