/** The outcomes of a batch as one row, and back. */
import { expect, it } from 'vitest';
import { readResultBatches, resultBatchParameters } from '../../../services/applier/postgres/result-batches.js';
import type { StoredResult } from '../../../shared/engine/results.js';
import type { CommandOutcome } from '../../../shared/engine/state-machine.js';

const OUTCOMES: readonly CommandOutcome[] = [
  { ok: true, json: '{"version":1}' },
  { ok: true, json: '"failed"' },
  { ok: true, json: '{"failed":"no"}' },
  { ok: true, json: '[ 1.50 , "\\u0000\\ud800" ]' },
  { ok: false, message: 'no \0 \ud800 "\\' },
  { ok: false, message: '' },
  { ok: false, message: 'TypeError: ü', failed: true },
];

function batch(firstIndex: number, newestUs: number): Map<string, StoredResult> {
  return new Map(
    OUTCOMES.map((outcome, at) => [
      `id "${at}\\\n'`,
      { mergedIndex: firstIndex + at * 1_000_000, group: at % 3, timestamp: newestUs - ((at * 5) % 7), outcome },
    ]),
  );
}

/** As Postgres gives the row back. */
function rowOf(number: number, results: ReadonlyMap<string, StoredResult>): string[] {
  const parameters = resultBatchParameters(number, results);
  expect(parameters[0]).toBe(String(number));
  for (const text of parameters) expect(text).toBe(Buffer.from(text).toString().replaceAll('\0', '?'));
  return parameters.slice(1);
}

it('is the same after it was stored', () => {
  const results = batch(2 ** 50, 1_790_000_000_000_000);
  expect(readResultBatches([rowOf(7, results)], new Set(results.keys()))).toEqual(results);
});

it('gives the ids that are asked for, each as it is in the newest of the rows', () => {
  const [older, newer] = [batch(1, 1_000), batch(100, 2_000)];
  const [first = '', second = ''] = older.keys();
  newer.delete(second);
  for (const rows of [
    [rowOf(1, older), rowOf(2, newer)],
    [rowOf(2, newer), rowOf(1, older)],
  ]) {
    const found = readResultBatches(rows, new Set([first, second, 'another']));
    expect([...found.keys()].sort()).toEqual([first, second].sort());
    expect(found.get(first)).toEqual(newer.get(first));
    expect(found.get(second)).toEqual(older.get(second));
  }
});
