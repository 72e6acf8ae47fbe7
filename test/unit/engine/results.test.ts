/** T8 without an engine: what counts as a duplicate, and what the running checksum notices. */
import { describe, expect, it } from 'vitest';
import { originsOf, resultKey, type StoredResult, settle } from '../../../shared/engine/results.js';
import { EMPTY_RESULTS_CHECKSUM, ResultsChecksum } from '../../../shared/engine/results-checksum.js';
import type { CommandOutcome } from '../../../shared/engine/state-machine.js';
import { command } from '../../contract/engine/commands.js';

const ok = (json: string): CommandOutcome => ({ ok: true, json });
const at = (mergedIndex: number, id: string, timestamp: number) => command(mergedIndex, 'x', {}, { id, timestamp });

describe('origins', () => {
  it('are the same wherever a batch is cut', () => {
    const run = [at(1, 'a', 100), at(2, 'a', 150), at(3, 'a', 151), at(4, 'a', 201), at(5, '', 202), at(6, '', 203)];
    expect(originsOf(run, 50, () => undefined)).toEqual(['new', 0, 'new', 2, 'new', 'new']);
    const stored: StoredResult = { mergedIndex: 1, group: 0, timestamp: 100, outcome: ok('1') };
    expect(originsOf(run.slice(1), 50, () => stored)).toEqual([stored, 'new', 1, 'new', 'new']);
    expect(originsOf(run.slice(2), 50, () => stored)).toEqual(['new', 0, 'new', 'new']);
  });

  it('of an id that no column could hold are those of its digest', () => {
    expect(resultKey('plain')).toBe('plain');
    expect(resultKey('\u{1f600}')).toBe('\u{1f600}');
    const odd = ['\0', '\ud800', '\ud801', 'x'.repeat(257)].map(resultKey);
    for (const key of odd) expect(key).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(new Set(odd).size).toBe(odd.length);
  });
});

describe('settling', () => {
  it('gives duplicates what the original got, and stores new results only', () => {
    const run = [at(1, 'a', 100), at(2, 'a', 101), at(3, '', 102)];
    const { applied, results } = settle(run, ['new', 0, 'new'], [ok('1'), ok('3')], EMPTY_RESULTS_CHECKSUM);
    expect(applied.map((one) => [one.mergedIndex, one.duplicate])).toEqual([
      [1, false],
      [1, true],
      [3, false],
    ]);
    expect([...results.keys()]).toEqual(['a']);
  });

  it('marks round merged indexes with the checksum there, however the log is cut', () => {
    const run = Array.from({ length: 2_500 }, (_, i) => at(i + 1, '', i));
    const whole = settle(run, Array(2_500).fill('new'), Array(2_500).fill(ok('{}')), EMPTY_RESULTS_CHECKSUM);
    expect(whole.checkpoints.map((one) => one.mergedIndex)).toEqual([1_000, 2_000]);
    const first = settle(
      run.slice(0, 1_000),
      Array(1_000).fill('new'),
      Array(1_000).fill(ok('{}')),
      EMPTY_RESULTS_CHECKSUM,
    );
    expect(first.resultsChecksum).toBe(whole.checkpoints[0]?.resultsChecksum);
    const rest = settle(run.slice(1_000), Array(1_500).fill('new'), Array(1_500).fill(ok('{}')), first.resultsChecksum);
    expect(rest.resultsChecksum).toBe(whole.resultsChecksum);
  });
});

it('the checksum of outcomes tells apart what differs', () => {
  const of = (...steps: Parameters<ResultsChecksum['add']>[]): string => {
    const checksum = new ResultsChecksum();
    for (const step of steps) checksum.add(...step);
    return checksum.toString();
  };
  const all = [
    of(),
    of([1, 1, ok('')]),
    of([1, 1, ok('1')]),
    of([1, 1, ok('2')]),
    of([2, 2, ok('1')]),
    of([2, 1, ok('1')]),
    of([2 ** 32 + 1, 2 ** 32 + 1, ok('1')]),
    of([1, 1, { ok: false, message: '1' }]),
    of([1, 1, ok('1')], [2, 2, ok('2')]),
    of([1, 1, ok('2')], [2, 2, ok('1')]),
  ];
  expect(new Set(all).size).toBe(all.length);
  for (const text of all) expect(new ResultsChecksum(text).toString()).toBe(text);
});
