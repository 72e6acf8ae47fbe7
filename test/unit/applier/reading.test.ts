/** Where the applier reads, and what it does about what is missing there. */
import { beforeEach, expect, it } from 'vitest';
import type { Effect } from '../../../services/applier/core/effect.js';
import { ApplyQueue } from '../../../services/applier/core/queue.js';
import { Reading } from '../../../services/applier/core/reading.js';
import { Merge, type MergedRun, mergeStart } from '../../../shared/merge/merge.js';
import { EntryKind } from '../../../shared/raft/entry.js';
import { encodeCommand } from '../../../shared/wire/command.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

const START = { ...mergeStart(1), timestamp: 0, resultsChecksum: '0'.repeat(16), positions: [] };
const LIMITS = { batchCommandsMax: 2, batchBytesMax: 1_000_000, queuedCommandsMax: 4, queuedBytesMax: 1_000_000 };

/** Messages of a log of `count` commands, each with `size` of them. */
function log(count: number, size: number): MergedRun[] {
  const merge = new Merge(mergeStart(1));
  const fields = { name: 'kv.put', id: '', server: 's1', reply: '', traceparent: '', replyFormat: 'json' } as const;
  const body = encodeCommand({ ...fields, payload: new Uint8Array(0) });
  const entries = Array.from({ length: count }, (_, at) => {
    const [index, kind] = [at + 1, EntryKind.command];
    return { index, term: 1, timestamp: index, kind, bytes: encodeEntry(1, index, kind, body) };
  });
  merge.add(0, entries, count);
  const runs: MergedRun[] = [];
  for (let run = merge.emit(size, 1 << 20); run !== null; run = merge.emit(size, 1 << 20)) runs.push(run);
  return runs;
}

let effects: Effect[];
let missing: string[];
let queue: ApplyQueue;
let reading: Reading;
beforeEach(() => {
  effects = [];
  missing = [];
  queue = new ApplyQueue(START, LIMITS, () => false);
  reading = new Reading(
    queue,
    (effect) => effects.push(effect),
    ({ message }) => missing.push(message),
  );
});

/** What is wanted done since the last time. */
function taken(): Effect[] {
  return effects.splice(0);
}

/** Seeks at this time, and is told a place. */
function place(nowMs: number, firstMergedIndex: number | undefined): number {
  taken();
  reading.advance(nowMs);
  const [seek] = taken();
  if (seek?.type !== 'seek') throw new Error(`no seek but ${seek?.type}`);
  reading.placed(seek.id, { firstMergedIndex });
  return seek.id;
}

/**
 * Placed at the beginning of a log, and told that the stream has no more than this: from now on it
 * follows.
 */
function followFrom(nowMs: number, runs: readonly MergedRun[] = []): number {
  const id = place(nowMs, 1);
  reading.ask();
  reading.read(id, { runs, isEnd: true });
  reading.ask();
  return id;
}

const [A, B, C] = log(6, 2) as [MergedRun, MergedRun, MergedRun];

it('seeks what the queue wants, reads on from there, and follows at the end of the stream', () => {
  const id = place(0, 1);
  reading.ask();
  expect(taken()).toEqual([{ type: 'read', id }]);
  reading.ask();
  expect(taken()).toEqual([]);
  reading.read(id, { runs: [A], isEnd: false });
  reading.ask();
  expect(taken()).toEqual([{ type: 'read', id }]);
  reading.read(id, { runs: [], isEnd: true });
  reading.ask();
  expect(taken()).toEqual([{ type: 'follow', id, wanted: 3 }]);
  reading.followed(id, [B]);
  expect(queue.wanted).toBe(5);
});

it('follows at once where the stream ends before what is wanted', () => {
  const id = place(0, undefined);
  reading.ask();
  expect(taken()).toEqual([{ type: 'follow', id, wanted: 1 }]);
});

it('asks for nothing while the queue has no room, and does not look: there is more, of course', () => {
  const id = followFrom(0, [A, B]);
  expect(queue.isFull).toBe(true);
  taken();
  reading.advance(5_000);
  reading.ask();
  expect(taken()).toEqual([]);
  queue.take();
  reading.ask();
  expect(taken()).toEqual([{ type: 'follow', id, wanted: 5 }]);
});

it('takes nothing of a read or a follow that was given up', () => {
  const old = followFrom(0);
  reading.again();
  const id = place(1, 1);
  reading.ask();
  reading.followed(old, [A]);
  reading.read(old, { runs: [A], isEnd: true });
  reading.ended(old);
  expect(queue.wanted).toBe(1);
  reading.read(id, { runs: [A], isEnd: true });
  expect(queue.wanted).toBe(3);
});

it('reads the stream when it has fallen behind what is in memory, later when that was of no use', () => {
  const id = followFrom(0, [A]);
  reading.followed(id, 'behind');
  taken();
  reading.advance(1);
  const [seek] = taken();
  expect(seek).toMatchObject({ type: 'seek', wanted: 3 });
  const again = seek?.type === 'seek' ? seek.id : 0;
  reading.placed(again, { firstMergedIndex: undefined });
  reading.ask();
  taken();
  reading.followed(again, 'behind');
  reading.advance(500);
  expect(taken()).toEqual([]);
  reading.advance(501);
  expect(taken()).toMatchObject([{ type: 'seek', wanted: 3 }]);
});

it('looks again and again while there is no stream', () => {
  reading.advance(0);
  const [seek] = taken();
  reading.placed(seek?.type === 'seek' ? seek.id : 0, undefined);
  reading.advance(100);
  expect(taken()).toEqual([]);
  reading.advance(500);
  expect(taken()).toMatchObject([{ type: 'seek', wanted: 1 }]);
});

it('seeks again at a hole; one that stays is missing, and after some more looks the stream is to begin again', () => {
  const id = followFrom(0, [A]);
  reading.followed(id, [C]);
  taken();
  for (let look = 1; look <= 4; look++) place(look * 1_000, 5);
  expect(missing).toEqual([]);
  for (let look = 5; look <= 13; look++) place(look * 1_000, 5);
  expect(missing).toHaveLength(9);
  expect(missing[0]).toContain('goes on at merged index 5');
  expect(missing[0]).toContain('needs 3 next');
  expect(taken()).toEqual([]);
  place(14_000, 5);
  expect(taken()).toEqual([{ type: 'restart-log' }]);
  // Filled: whatever was counted is forgotten.
  const filled = place(15_000, 3);
  reading.ask();
  expect(taken()).toEqual([{ type: 'read', id: filled }]);
  reading.again();
  for (let look = 16; look < 20; look++) place(look * 1_000, 5);
  expect(missing).toHaveLength(10);
});

it('looks when nothing comes for a second, and seeks when the stream has more than was read', () => {
  followFrom(0);
  taken();
  reading.advance(999);
  expect(taken()).toEqual([]);
  reading.advance(1_000);
  expect(taken()).toEqual([{ type: 'look', id: 1, wanted: 1 }]);
  expect(reading.looked(1, false)).toBe(true);
  reading.advance(2_000);
  expect(taken()).toEqual([{ type: 'look', id: 2, wanted: 1 }]);
  // An answer to the one before comes late.
  expect(reading.looked(1, true)).toBe(false);
  expect(reading.looked(2, true)).toBe(true);
  reading.advance(2_001);
  expect(taken()).toMatchObject([{ type: 'seek' }]);
});

it('takes no word of a look that something new has overtaken', () => {
  const id = followFrom(0);
  reading.advance(1_000);
  taken();
  reading.followed(id, [A]);
  expect(reading.looked(1, true)).toBe(false);
  reading.advance(1_500);
  expect(taken()).toEqual([]);
});

it('does without an answer that never comes', () => {
  reading.advance(0);
  taken();
  reading.advance(29_000);
  expect(taken()).toEqual([]);
  reading.advance(30_000);
  const [again] = taken();
  expect(again).toMatchObject({ type: 'seek' });
  // A piece of the stream.
  reading.placed(again?.type === 'seek' ? again.id : 0, { firstMergedIndex: 1 });
  reading.ask();
  taken();
  reading.advance(34_999);
  expect(taken()).toEqual([]);
  reading.advance(35_000);
  const [third] = taken();
  expect(third).toMatchObject({ type: 'seek' });
  // A look.
  reading.placed(third?.type === 'seek' ? third.id : 0, { firstMergedIndex: undefined });
  reading.advance(36_000);
  expect(taken()).toMatchObject([{ type: 'look' }]);
  reading.advance(66_000);
  expect(taken()).toMatchObject([{ type: 'look' }]);
});
