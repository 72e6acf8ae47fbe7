/** Reads share barriers, and between far sites several barriers are under way at once (T6). */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppliedPositions } from '../../../services/applier/applied.js';
import { OVERLAP_MS, ReadBarrier, UNDER_WAY_MAX } from '../../../services/applier/read-barrier.js';

/** A replica whose barriers take so long (milliseconds); each gives its own number as position. */
function given(barrierMs: number) {
  let asked = 0;
  const ask = async () => {
    asked += 1;
    const number = asked;
    await new Promise((resolve) => setTimeout(resolve, barrierMs));
    return [number];
  };
  const applied = new AppliedPositions([1_000_000], () => undefined);
  const barrier = new ReadBarrier(ask, applied);
  /** The number of the barrier that served the read, once it is over. */
  const read = () => barrier.pass().then(({ positions }) => positions[0]);
  return { read, asked: () => asked };
}

describe('read barriers', () => {
  beforeEach(() => vi.useFakeTimers());
  afterEach(() => vi.useRealTimers());

  it('serve all reads that waited when they began, and none that came later', async () => {
    const { read, asked } = given(3);
    const first = read();
    const later = [read(), read(), read()];
    expect(asked()).toBe(1);
    await vi.advanceTimersByTimeAsync(3);
    expect(asked()).toBe(2);
    await vi.advanceTimersByTimeAsync(3);
    expect(await Promise.all([first, ...later])).toEqual([1, 2, 2, 2]);
    expect(asked()).toBe(2);
  });

  it('begin some milliseconds after each other when they take long', async () => {
    const { read, asked } = given(80);
    const first = read();
    const second = read();
    await vi.advanceTimersByTimeAsync(OVERLAP_MS - 1);
    expect(asked()).toBe(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked()).toBe(2);
    const third = read();
    const fourth = read();
    await vi.advanceTimersByTimeAsync(OVERLAP_MS);
    expect(asked()).toBe(3);
    // Nothing begins that no read waits for.
    await vi.advanceTimersByTimeAsync(10 * OVERLAP_MS);
    expect(asked()).toBe(3);
    await vi.advanceTimersByTimeAsync(80);
    expect(await Promise.all([first, second, third, fourth])).toEqual([1, 2, 3, 3]);
  });

  it('begin more slowly after each other the longer they take', async () => {
    const { read, asked } = given(160);
    const first = read();
    await vi.advanceTimersByTimeAsync(160);
    await first;
    const reads = [read(), read()];
    await vi.advanceTimersByTimeAsync(19);
    expect(asked()).toBe(2);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked()).toBe(3);
    await vi.advanceTimersByTimeAsync(160);
    expect(await Promise.all(reads)).toEqual([2, 3]);
  });

  it('are bounded: with as many under way as may be, the next one waits for an end', async () => {
    const { read, asked } = given(1_000);
    const reads: Promise<number | undefined>[] = [];
    for (let ms = 0; ms < 900; ms += OVERLAP_MS) {
      reads.push(read());
      await vi.advanceTimersByTimeAsync(OVERLAP_MS);
    }
    expect(asked()).toBe(UNDER_WAY_MAX);
    await vi.advanceTimersByTimeAsync(100);
    expect(asked()).toBeGreaterThan(UNDER_WAY_MAX);
    await vi.advanceTimersByTimeAsync(2_000);
    expect((await Promise.all(reads)).at(-1)).toBe(UNDER_WAY_MAX + 1);
  });

  it('fail alone: the next one is asked for all the same', async () => {
    let asked = 0;
    const ask = async () => {
      asked += 1;
      if (asked === 1) throw new Error('no replica');
      return [1];
    };
    const barrier = new ReadBarrier(ask, new AppliedPositions([1], () => undefined));
    const first = barrier.pass();
    const second = barrier.pass();
    await expect(first).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect((await second).positions).toEqual([1]);
  });
});
