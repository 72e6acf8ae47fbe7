import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLogger, type Logger, warnOccasionally } from '../../../shared/telemetry/log.js';

it('does not log the address that an error has in it', () => {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  const logger = createLogger({ service: 'applier', server: 's1', level: 'trace', destination });
  const error = (() => {
    try {
      return new URL('postgres://ann:secret@[::z]/db');
    } catch (thrown) {
      return thrown as Error;
    }
  })();
  logger.error({ err: error }, 'no database');
  logger.warn({ detail: error }, 'no database');
  logger.warn({ err: new Error('no database', { cause: error }) }, 'no database');
  const text = lines.join('');
  expect(lines).toHaveLength(3);
  expect(text).toContain('Invalid URL');
  expect(text).not.toContain('secret');
});

describe('warnOccasionally', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('logs the first of a kind at once and counts the rest of a burst to its end', () => {
    const lines: { text: string; count: number; total: number }[] = [];
    const logger = {
      warn: (fields: { count: number; total: number }, text: string) => lines.push({ text, ...fields }),
    } as unknown as Pick<Logger, 'warn'>;
    const warn = warnOccasionally(logger, 10_000);

    for (let i = 0; i < 1_000; i += 1) warn('malformed envelope');
    warn('malformed feed request');
    expect(lines.map(({ text, count }) => [text, count])).toEqual([
      ['malformed envelope', 1],
      ['malformed feed request', 1],
    ]);
    vi.advanceTimersByTime(9_999);
    expect(lines).toHaveLength(2);
    vi.advanceTimersByTime(1);
    expect(lines.slice(2)).toMatchObject([{ text: 'malformed envelope', count: 999, total: 1_000 }]);
    vi.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(3);
    expect(vi.getTimerCount()).toBe(0);
    warn('malformed envelope');
    expect(lines.slice(3)).toMatchObject([{ text: 'malformed envelope', count: 1, total: 1_001 }]);
  });

  it('tells of the newest detail among those that were held back', () => {
    const details: unknown[] = [];
    const logger = {
      warn: ({ detail, err }: { detail?: unknown; err?: unknown }) => details.push(err ?? detail),
    } as unknown as Pick<Logger, 'warn'>;
    const warn = warnOccasionally(logger, 10_000);
    const newest = new Error('the newest');
    for (const detail of ['first', 'second', newest, undefined]) warn('malformed envelope', detail);
    vi.advanceTimersByTime(10_000);
    expect(details).toEqual(['first', newest]);
    vi.advanceTimersByTime(10_000);
  });
});
