/**
 * The applier's queue: nothing skipped, nothing twice, whatever the borders of the stream's
 * messages (T8).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ApplyQueue, LogMismatchError } from '../../../services/applier/core/queue.js';
import { Merge, type MergedRun, mergeStart } from '../../../shared/merge/merge.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import { encodeCommand } from '../../../shared/wire/command.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { RESTORE_COMMAND } from '../../../shared/wire/restore.js';

const COUNT = 60;
const LIMITS = { batchCommandsMax: 7, batchBytesMax: 1_000_000, queuedCommandsMax: 1_000, queuedBytesMax: 1_000_000 };

function entry(index: number, name = 'kv.put'): LogEntry {
  const fields = { payload: Buffer.from('{}'), server: 's1', reply: '', traceparent: '', replyFormat: 'json' } as const;
  const body = encodeCommand({ name, id: `i${index}`, ...fields });
  return {
    index,
    term: 1,
    timestamp: index,
    kind: EntryKind.command,
    bytes: encodeEntry(1, index, EntryKind.command, body),
  };
}

const log = Array.from({ length: COUNT }, (_, i) => entry(i + 1));

/** The merged log in messages of the given sizes, from any position on. */
function messages(sizes: readonly number[], from = mergeStart(1)): MergedRun[] {
  const merge = new Merge(from);
  merge.add(0, log.slice(from.mergedIndex), COUNT);
  const runs: MergedRun[] = [];
  for (let turn = 0; ; turn++) {
    const run = merge.emit(sizes[turn % sizes.length] ?? 1, 1_000_000);
    if (run === null) return runs;
    runs.push(run);
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 });
const start = { ...mergeStart(1), timestamp: 0, resultsChecksum: '0'.repeat(16), positions: [] };

function drain(queue: ApplyQueue): number[] {
  const taken: number[] = [];
  for (let next = queue.take(); next !== null; next = queue.take()) {
    taken.push(...next.batch.commands.map((command) => command.mergedIndex));
  }
  return taken;
}

it('gives what replaces the whole state as a batch of its own', () => {
  const merge = new Merge(mergeStart(1));
  const names = ['kv.put', 'kv.put', RESTORE_COMMAND, RESTORE_COMMAND, 'kv.put'];
  merge.add(
    0,
    names.map((name, i) => entry(i + 1, name)),
    names.length,
  );
  const run = merge.emit(100, 1_000_000);
  const queue = new ApplyQueue(start, LIMITS, () => false);
  expect(run !== null && queue.offer(run)).toBe('taken');
  const batches: number[][] = [];
  for (let next = queue.take(); next !== null; next = queue.take()) {
    batches.push(next.batch.commands.map((command) => command.mergedIndex));
  }
  expect(batches).toEqual([[1, 2], [3], [4], [5]]);
  expect(queue.length).toBe(0);
});

const ALL = Array.from({ length: COUNT }, (_, i) => i + 1);

describe('ApplyQueue', () => {
  it('gives every entry once and in order when messages come again with other borders', () => {
    fc.assert(
      fc.property(sizes, sizes, fc.nat(COUNT - 1), (before, after, lost) => {
        const queue = new ApplyQueue(start, LIMITS, () => false);
        const taken: number[] = [];
        const first = messages(before);
        for (const run of first.slice(0, lost)) {
          expect(queue.offer(run)).toBe('taken');
          taken.push(...drain(queue));
        }
        // The stream lost a tail of unknown length: the merger wrote it again from an earlier
        // place, in other pieces.
        const from = first[Math.floor(Math.min(lost, first.length) / 2) - 1]?.after ?? mergeStart(1);
        for (const run of messages(after, from)) queue.offer(run);
        taken.push(...drain(queue));
        expect(taken).toEqual(ALL);
      }),
    );
  });

  it('reports a hole and takes nothing beyond it', () => {
    const queue = new ApplyQueue(start, LIMITS, () => false);
    const [one, two, three] = messages([5]);
    if (one === undefined || two === undefined || three === undefined) throw new Error('three messages');
    expect(queue.offer(one)).toBe('taken');
    expect(queue.offer(three)).toBe('hole');
    expect(queue.offer(one)).toBe('known');
    expect(queue.offer(two)).toBe('taken');
    expect(drain(queue)).toEqual(ALL.slice(0, 10));
  });

  it('stops at a log that is not the one that the state was made from', () => {
    const [one, two] = messages([5]);
    if (one === undefined || two === undefined) throw new Error('two messages');
    const queue = new ApplyQueue({ ...start, mergedIndex: 5, checksum: 'f'.repeat(16) }, LIMITS, () => false);
    queue.offer(two);
    expect(() => drain(queue)).toThrow(LogMismatchError);
  });

  it('is bounded by commands and by bytes', () => {
    const [one] = messages([20]);
    if (one === undefined) throw new Error('a message');
    const byCommands = new ApplyQueue(start, { ...LIMITS, queuedCommandsMax: 20 }, () => false);
    byCommands.offer(one);
    expect(byCommands.isFull).toBe(true);
    const byBytes = new ApplyQueue(start, { ...LIMITS, queuedBytesMax: 10 }, () => false);
    byBytes.offer(one);
    expect(byBytes.isFull).toBe(true);
    drain(byBytes);
    expect(byBytes.isFull).toBe(false);
  });
});
