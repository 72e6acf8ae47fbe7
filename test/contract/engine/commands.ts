/** Random runs of the merged log for the engines' contract. */
import fc from 'fast-check';
import type { EngineBatch, MergedCommand } from '../../../shared/engine/port.js';

/** Short, so that random runs cross it often (milliseconds). */
export const WINDOW_MS = 1_000;

const key = fc.constantFrom('a', 'b', 'c', 'd', 'ü"\\');
const value = fc.jsonValue({ maxDepth: 2 }).map((one) => JSON.parse(JSON.stringify(one)) as unknown);
const ifVersion = fc.option(fc.nat(3), { nil: undefined });
const put = fc.record({ key, value, ifVersion });
const remove = fc.record({ key, ifVersion });

const input = fc.oneof(
  { weight: 5, arbitrary: put.map((one) => ({ name: 'kv.put', input: one as unknown })) },
  { weight: 2, arbitrary: remove.map((one) => ({ name: 'kv.delete', input: one as unknown })) },
  {
    weight: 2,
    arbitrary: fc
      .array(
        fc.oneof(
          put.map((one) => ({ put: one })),
          remove.map((one) => ({ delete: one })),
        ),
        {
          minLength: 1,
          maxLength: 4,
        },
      )
      .map((ops) => ({ name: 'kv.txn', input: { ops } as unknown })),
  },
  // What only another version's validation lets into the log.
  { weight: 1, arbitrary: fc.constantFrom({ name: 'kv.put', input: { nonsense: 1 } }, { name: 'gone', input: {} }) },
);

/** Some ids come again, some of them after the window. */
const id = fc.oneof(fc.constant(''), fc.constantFrom('i1', 'i2', 'i3', 'i4', 'ü\ud800'));

/** Commands numbered from 1, over two groups, up to a few windows long. */
export const commands: fc.Arbitrary<MergedCommand[]> = fc
  .array(fc.tuple(input, id, fc.integer({ min: 1, max: 600_000 }), fc.nat(1)), { minLength: 1, maxLength: 40 })
  .map((steps) => {
    let timestamp = 1_790_000_000_000_000;
    const last = [0, 0];
    return steps.map(([step, id, afterUs, group], at) => {
      timestamp += afterUs;
      last[group] = (last[group] ?? 0) + 1;
      return command(at + 1, step.name, step.input, { id, timestamp, group, index: last[group] });
    });
  });

export function command(
  mergedIndex: number,
  name: string,
  input: unknown,
  more: Partial<MergedCommand> = {},
): MergedCommand {
  return {
    mergedIndex,
    group: 0,
    index: mergedIndex,
    term: 1,
    timestamp: 1_790_000_000_000_000 + mergedIndex,
    name,
    payload: Buffer.from(JSON.stringify(input)),
    id: '',
    server: 's1',
    reply: '',
    traceparent: '',
    replyFormat: 'json',
    ...more,
  };
}

/** The run in batches of the given sizes, again and again; every checksum differs. */
export function batches(run: readonly MergedCommand[], sizes: readonly number[]): EngineBatch[] {
  const result: EngineBatch[] = [];
  for (let from = 0, turn = 0; from < run.length; turn++) {
    const part = run.slice(from, from + (sizes[turn % sizes.length] ?? 1));
    from += part.length;
    result.push({ commands: part, checksum: from.toString(16).padStart(16, '0') });
  }
  return result;
}
