import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LookAgain } from '../../../services/applier/look-again.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('looks until it can be read, once at a time, and not after the end', async () => {
  const end = new AbortController();
  const answers = [new Error('away'), new Error('still away'), undefined];
  let looks = 0;
  const again: LookAgain = new LookAgain(
    async () => {
      const trouble = answers[looks++];
      again.told(trouble);
      if (trouble !== undefined) throw trouble;
    },
    1_000,
    end.signal,
  );
  again.told(undefined);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(looks).toBe(0);
  again.told(new Error('away'));
  again.told(new Error('away'));
  await vi.advanceTimersByTimeAsync(1_500);
  expect(looks).toBe(1);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(looks).toBe(3);
  again.told(new Error('away'));
  end.abort();
  again.told(new Error('away'));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(looks).toBe(3);
});
