/** What is shown while a command takes long. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { withProgress } from '../../../services/cli/progress.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function terminal(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, write: (text: string) => written.push(text.replace('\r\u001b[K', '>')), written };
}

it('shows the seconds on a terminal, and leaves nothing behind', async () => {
  const shown = terminal(true);
  let end = (_result: number): void => undefined;
  const result = withProgress('restoring', () => new Promise<number>((resolve) => (end = resolve)), shown, Date.now);
  await vi.advanceTimersByTimeAsync(2_500);
  end(7);
  expect(await result).toBe(7);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(shown.written).toEqual(['>restoring … 1 s', '>restoring … 2 s', '>']);
});

it('cleans up after a failure, too', async () => {
  const shown = terminal(true);
  await expect(withProgress('restoring', () => Promise.reject(new Error('no')), shown)).rejects.toThrow('no');
  expect(shown.written).toEqual(['>']);
});

it('shows nothing where there is no terminal', async () => {
  const shown = terminal(false);
  expect(await withProgress('restoring', () => Promise.resolve(1), shown)).toBe(1);
  expect(shown.written).toEqual([]);
});
