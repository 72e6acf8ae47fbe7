/**
 * The key-value machine against the plainest model of it that there is: a dictionary, a list, one
 * command after the other.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Applied, MergedCommand } from '../../../shared/engine/port.js';
import { batches, commands, WINDOW_MS } from '../../contract/engine/commands.js';
import { MemoryEngine } from '../../memory/engine.js';

interface Operation {
  readonly put?: { readonly key: string; readonly value: unknown; readonly ifVersion?: number };
  readonly delete?: { readonly key: string; readonly ifVersion?: number };
}
type Answer = { readonly result: unknown } | { readonly rejected: true };

class Model {
  rows: Record<string, { value: unknown; version: number }> = Object.create(null);
  private readonly history: { id: string; timestamp: number; mergedIndex: number; answer: Answer }[] = [];

  run(command: MergedCommand): { answer: Answer; mergedIndex: number } {
    const { id, timestamp, mergedIndex } = command;
    const earlier = this.history
      .filter((one) => id !== '' && one.id === id && one.timestamp >= timestamp - WINDOW_MS * 1_000)
      .at(-1);
    if (earlier !== undefined) return earlier;
    const before = structuredClone(this.rows);
    const answer = this.execute(command.name, JSON.parse(Buffer.from(command.payload).toString()));
    if ('rejected' in answer) this.rows = Object.assign(Object.create(null), before);
    this.history.push({ id, timestamp, mergedIndex, answer });
    return { answer, mergedIndex };
  }

  private execute(name: string, input: { ops?: Operation[]; key?: string }): Answer {
    const operations: Operation[] | undefined =
      name === 'kv.txn' ? input.ops : [{ [name === 'kv.put' ? 'put' : 'delete']: input } as Operation];
    if (!name.startsWith('kv.') || operations === undefined || (name !== 'kv.txn' && input.key === undefined)) {
      return { rejected: true };
    }
    const results: unknown[] = [];
    for (const { put, delete: remove } of operations) {
      const key = put?.key ?? remove?.key ?? '';
      const ifVersion = put?.ifVersion ?? remove?.ifVersion;
      const version = this.rows[key]?.version ?? 0;
      if (ifVersion !== undefined && ifVersion !== version) return { rejected: true };
      if (put !== undefined) this.rows[key] = { value: put.value, version: version + 1 };
      else delete this.rows[key];
      results.push(put !== undefined ? { version: version + 1 } : { deleted: version > 0 });
    }
    return { result: name === 'kv.txn' ? { results } : results[0] };
  }
}

function seen({ outcome, mergedIndex }: Applied): { answer: Answer; mergedIndex: number } {
  return { answer: outcome.ok ? { result: JSON.parse(outcome.json) } : { rejected: true }, mergedIndex };
}

it('does what the model does, whatever the borders of the batches', () => {
  fc.assert(
    fc.property(commands, fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }), (run, sizes) => {
      const engine = new MemoryEngine({ resultWindowMs: WINDOW_MS });
      const model = new Model();
      const answers = batches(run, sizes).flatMap((batch) => engine.applyNow(batch).applied.map(seen));
      expect(answers).toEqual(run.map((command) => ({ ...pick(model.run(command)) })));
      const rows = [...engine.rows].map(([key, row]) => [key, { value: JSON.parse(row.json), version: row.version }]);
      expect(Object.fromEntries(rows)).toEqual({ ...model.rows });
    }),
    { numRuns: 2_000 },
  );
});

function pick({ answer, mergedIndex }: { answer: Answer; mergedIndex: number }) {
  return { answer, mergedIndex };
}
