import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHECKPOINT_INTERVAL, Merge, type MergedRun, mergeStart } from '../../../shared/merge/merge.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

function entry(index: number, timestamp: number, kind: EntryKind = EntryKind.command): LogEntry {
  return { index, term: 1, timestamp, kind, bytes: encodeEntry(1, timestamp, kind, new Uint8Array([index & 255])) };
}

/**
 * Logs of K groups with strictly increasing timestamps; equal timestamps across groups are likely.
 */
const logs = fc.array(
  fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), fc.boolean()), { maxLength: 30 }).map((steps) => {
    let timestamp = 0;
    return steps.map(([step, isNoOp], i) => {
      timestamp += step;
      return entry(i + 1, timestamp, isNoOp ? EntryKind.noOp : EntryKind.command);
    });
  }),
  { minLength: 1, maxLength: 5 },
);

function inOrder(all: readonly (readonly LogEntry[])[]): { group: number; index: number }[] {
  return all
    .flatMap((log, group) => log.map((one) => ({ group, ...one })))
    .filter((one) => one.kind === EntryKind.command)
    .sort((a, b) => a.timestamp - b.timestamp || a.group - b.group)
    .map(({ group, index }) => ({ group, index }));
}

function places(runs: readonly MergedRun[]): { group: number; index: number }[] {
  return runs.flatMap((run) => run.entries.map((one, i) => ({ group: run.groups[i] ?? -1, index: one.index })));
}

const END = 1_000_000;

describe('Merge (T4)', () => {
  it('emits every command in the order of (timestamp, group), whatever the order of arrival', () => {
    fc.assert(
      fc.property(logs, fc.array(fc.tuple(fc.nat(4), fc.nat(6)), { maxLength: 80 }), (all, arrivals) => {
        const merge = new Merge(mergeStart(all.length));
        const sent = all.map(() => 0);
        const runs: MergedRun[] = [];
        const offer = (group: number, count: number) => {
          const log = all[group] ?? [];
          const from = sent[group] ?? 0;
          const part = log.slice(from, from + count);
          sent[group] = from + part.length;
          // With the log at its end nothing is to come any more; before that only what has been
          // sent is certain.
          const isAll = from + part.length === log.length;
          merge.add(group, part, isAll ? END : (part[part.length - 1]?.timestamp ?? 0));
          for (let run = merge.emit(3, 50); run !== null; run = merge.emit(3, 50)) runs.push(run);
        };
        for (const [group, count] of arrivals) if (group < all.length) offer(group, count);
        for (const group of all.keys()) offer(group, END);
        expect(places(runs)).toEqual(inOrder(all));
      }),
    );
  });

  it('pitfall: sequence gaps: numbers entries 1, 2, 3 … and goes on from any position with the same checksum', () => {
    fc.assert(
      fc.property(logs, fc.integer({ min: 1, max: 7 }), (all, size) => {
        const whole = new Merge(mergeStart(all.length));
        for (const [group, log] of all.entries()) whole.add(group, log, END);
        const expected = whole.emit(END, END);

        let position = mergeStart(all.length);
        let next = 1;
        for (;;) {
          // A new merge for every run, as after a restart: it is given everything from its position
          // on.
          const merge = new Merge(position);
          for (const [group, log] of all.entries()) merge.add(group, log.slice(position.positions[group]), END);
          const run = merge.emit(size, END);
          if (run === null) break;
          expect(run.firstMergedIndex).toBe(next);
          next += run.entries.length;
          position = run.after;
        }
        expect(position.checksum).toBe(expected?.after.checksum ?? mergeStart(1).checksum);
        expect(next - 1).toBe(expected?.entries.length ?? 0);
      }),
    );
  });

  it('holds an entry back until every watermark has reached it, and says what it waits for (T5)', () => {
    const merge = new Merge(mergeStart(2));
    merge.add(0, [entry(1, 10)], 10);
    expect(merge.emit(10, END)).toBeNull();
    expect(merge.waitingFor()).toBe(10);
    merge.add(1, [], 9);
    expect(merge.emit(10, END)).toBeNull();
    merge.add(1, [], 10);
    expect(merge.emit(10, END)?.entries).toHaveLength(1);
    expect(merge.waitingFor()).toBe(0);
  });

  it('of equal timestamps the smaller group goes first', () => {
    const merge = new Merge(mergeStart(2));
    merge.add(1, [entry(1, 10)], 10);
    merge.add(0, [entry(1, 10)], 10);
    expect(merge.emit(10, END)?.groups).toEqual([0, 1]);
  });

  it('pitfall: sequence gaps: consumes no-ops without a place, and they hold up nobody', () => {
    const merge = new Merge(mergeStart(2));
    merge.add(0, [entry(1, 10, EntryKind.noOp), entry(2, 11)], 11);
    merge.add(1, [entry(1, 50, EntryKind.noOp)], 50);
    const run = merge.emit(10, END);
    expect(run?.firstMergedIndex).toBe(1);
    expect(run?.entries.map((one) => one.index)).toEqual([2]);
    expect(run?.after.positions).toEqual([2, 1]);
    expect(merge.waitingFor()).toBe(0);
  });

  it('skips what has arrived before and refuses a gap', () => {
    const merge = new Merge(mergeStart(1));
    merge.add(0, [entry(1, 10), entry(2, 11)], 11);
    merge.add(0, [entry(2, 11), entry(3, 12)], 12);
    expect(merge.emit(10, END)?.entries.map((one) => one.index)).toEqual([1, 2, 3]);
    expect(() => merge.add(0, [entry(5, 20)], 20)).toThrow(/entry 5 comes after 3/);
  });

  it('wants no more of a group whose room is full, but always of the one that it waits for', () => {
    const merge = new Merge(mergeStart(2));
    merge.add(0, [entry(1, 10), entry(2, 11)], 11);
    expect(merge.wanted(1)).toEqual([0, 1]);
    merge.add(1, [], 11);
    merge.emit(10, END);
    expect(merge.wanted(1)).toEqual([3, 1]);
  });

  it('gives checkpoints at round merged indexes that do not depend on the borders of batches', () => {
    const log = Array.from({ length: CHECKPOINT_INTERVAL * 2 + 5 }, (_, i) => entry(i + 1, i + 1));
    const checkpoints = (size: number) => {
      const merge = new Merge(mergeStart(1));
      merge.add(0, log, END);
      const found: unknown[] = [];
      for (let run = merge.emit(size, END); run !== null; run = merge.emit(size, END)) found.push(...run.checkpoints);
      return found;
    };
    expect(checkpoints(7)).toHaveLength(2);
    expect(checkpoints(7)).toEqual(checkpoints(END));
  });

  it('has a checksum that notices a swapped, a changed and a missing entry', () => {
    const sum = (entries: readonly [number, LogEntry][]) => {
      const merge = new Merge(mergeStart(2));
      for (const group of [0, 1]) {
        const own = entries.filter(([of]) => of === group).map(([, one]) => one);
        merge.add(group, own, END);
      }
      return merge.emit(10, END)?.after.checksum;
    };
    const base = sum([
      [0, entry(1, 1)],
      [1, entry(1, 2)],
    ]);
    expect(
      sum([
        [1, entry(1, 1)],
        [0, entry(1, 2)],
      ]),
    ).not.toBe(base);
    expect(
      sum([
        [0, entry(1, 1)],
        [1, entry(1, 3)],
      ]),
    ).not.toBe(base);
    expect(sum([[0, entry(1, 1)]])).not.toBe(base);
  });
});
