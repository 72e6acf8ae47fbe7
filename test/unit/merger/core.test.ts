/** What the merger emits and stores, and when; runs of all of it are the simulator's. */
import { expect, it } from 'vitest';
import { MERGER_DEFAULTS, MergerCore, type MergerEffect, type MergerLimits } from '../../../services/merger/core.js';
import { mergeStart } from '../../../shared/merge/merge.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';

const SIZE = 100;
const LIMITS: MergerLimits = {
  ...MERGER_DEFAULTS,
  batchBytesMax: 3 * SIZE,
  unstoredBytesMax: 4 * SIZE,
  storeDelayMs: 50,
};

function coreAt(mergedIndex = 0, limits = LIMITS): MergerCore {
  return new MergerCore({ ...mergeStart(1), mergedIndex, positions: [mergedIndex] }, limits);
}

/** Commands of the only group, from `first` to `last`, all of them closed. */
function feed(core: MergerCore, nowMs: number, first: number, last: number): MergerEffect[] {
  core.advance(nowMs);
  const entries = Array.from({ length: last - first + 1 }, (_, at): LogEntry => {
    const index = first + at;
    return { index, term: 1, timestamp: index, kind: EntryKind.command, bytes: new Uint8Array(SIZE) };
  });
  core.fed([{ group: 0, entries, watermark: last }]);
  return core.next();
}

const of = (effects: readonly MergerEffect[]) =>
  effects.flatMap((effect) =>
    effect.type === 'emit' || effect.type === 'store'
      ? [`${effect.type} ${effect.run.firstMergedIndex}-${effect.run.after.mergedIndex}`]
      : [],
  );

function at(core: MergerCore, nowMs: number): string[] {
  core.advance(nowMs);
  return of(core.next());
}

it('emits at once, and stores what has collected after the delay, in one message', () => {
  const core = coreAt();
  core.next();
  expect(of(feed(core, 0, 1, 1))).toEqual(['emit 1-1']);
  expect(of(feed(core, 20, 2, 2))).toEqual(['emit 2-2']);
  expect(core.nextWakeMs).toBe(50);
  expect(at(core, 49)).toEqual([]);
  expect(at(core, 50)).toEqual(['store 1-2']);
  expect(core.nextWakeMs).toBeNull();
  expect(core.isStored).toBe(false);
  core.stored();
  expect(core.isStored).toBe(true);
});

it('stores a full message at once, one at a time, and merges no more than it may have unstored', () => {
  const core = coreAt();
  core.next();
  expect(of(feed(core, 0, 1, 10))).toEqual(['emit 1-3', 'emit 4-6', 'store 1-3']);
  expect(at(core, 1_000)).toEqual([]);
  core.stored();
  expect(at(core, 1_001)).toEqual(['emit 7-9', 'store 4-6']);
  core.stored();
  expect(at(core, 1_002)).toEqual(['emit 10-10', 'store 7-9']);
  core.stored();
  expect(at(core, 1_003)).toEqual([]);
  expect(at(core, 1_052)).toEqual(['store 10-10']);
});

it('asks for, emits and stores no more at once than a message carries, from the moment it hears of that', () => {
  const core = coreAt();
  expect(core.next()).toMatchObject([{ type: 'fetch', bytesMax: LIMITS.fetchBytesMax }]);
  core.carry(2 * SIZE);
  expect(of(feed(core, 0, 1, 4))).toEqual(['emit 1-2', 'emit 3-4', 'store 1-2']);
  core.stored();
  expect(core.next().map(({ type }) => type)).toEqual(['store']);
  core.stored();
  core.carry(10 * SIZE);
  expect(of(feed(core, 1, 5, 7))).toEqual(['emit 5-7', 'store 5-7']);
});

it('stores without delay where the applier is another process', () => {
  const core = coreAt(0, { ...LIMITS, storeDelayMs: 0 });
  core.next();
  expect(of(feed(core, 0, 1, 1))).toEqual(['emit 1-1', 'store 1-1']);
  expect(of(feed(core, 1, 2, 2))).toEqual(['emit 2-2']);
  core.stored();
  expect(at(core, 2)).toEqual(['store 2-2']);
});

it('asks where the state machine is when everything is stored, and says in a message of its own where the log goes on', () => {
  const core = coreAt();
  core.next();
  feed(core, 0, 1, 1);
  core.fed([], [7]);
  const effects = core.next();
  expect(of(effects)).toEqual(['store 1-1']);
  expect(effects.map(({ type }) => type)).not.toContain('locate');
  core.stored();
  expect(core.next()).toEqual([{ type: 'locate', atLeast: [7] }]);
  core.rebase({ ...mergeStart(1), mergedIndex: 7, positions: [7] });
  expect(of(core.next())).toEqual(['emit 8-7', 'store 8-7']);
  expect(of(feed(core, 1, 8, 8))).toEqual(['emit 8-8']);
  core.stored();
  expect(at(core, 51)).toEqual(['store 8-8']);
});

it('merges nothing more once it is to flush, and stores what was emitted', () => {
  const core = coreAt();
  core.next();
  feed(core, 0, 1, 2);
  core.flush();
  const effects = feed(core, 1, 3, 3);
  expect(of(effects)).toEqual(['store 1-2']);
  expect(effects.map(({ type }) => type)).not.toContain('fetch');
  core.stored();
  expect(core.next()).toEqual([]);
  expect(core.isStored).toBe(true);
});

it('says what the merge waits for, and since when it has been that', () => {
  const core = new MergerCore(mergeStart(2));
  const entry: LogEntry = { index: 1, term: 1, timestamp: 5, kind: EntryKind.command, bytes: new Uint8Array(SIZE) };
  const see = (nowMs: number, entries: readonly LogEntry[], watermark: number, other: number) => {
    core.advance(nowMs);
    core.fed([
      { group: 0, entries, watermark },
      { group: 1, entries: [], watermark: other },
    ]);
    core.next();
    return core.heldBy();
  };
  expect(see(0, [], 4, 1)).toBeUndefined();
  expect(see(10, [entry], 5, 1)).toEqual({ group: 1, watermark: 1, sinceMs: 10 });
  expect(core.waitingBytes().map(({ now }) => now)).toEqual([SIZE, 0]);
  expect(see(20, [], 9, 1)).toEqual({ group: 1, watermark: 1, sinceMs: 10 });
  expect(see(30, [], 9, 3)).toEqual({ group: 1, watermark: 3, sinceMs: 30 });
  expect(see(40, [], 9, 6)).toBeUndefined();
  expect(core.waitingBytes().map(({ now }) => now)).toEqual([0, 0]);
  expect(core.unstoredFill).toEqual({ now: SIZE, max: MERGER_DEFAULTS.unstoredBytesMax });
});

it('waits for no group while nothing may be merged: the stream does not take what was emitted, or the merger stops', () => {
  const core = new MergerCore(mergeStart(2), { ...MERGER_DEFAULTS, unstoredBytesMax: 2 * SIZE });
  const see = (nowMs: number, indexes: readonly number[]) => {
    core.advance(nowMs);
    const entries = indexes.map((index): LogEntry => {
      return { index, term: 1, timestamp: index, kind: EntryKind.command, bytes: new Uint8Array(SIZE) };
    });
    core.fed([
      { group: 0, entries, watermark: Math.max(...indexes) },
      { group: 1, entries: [], watermark: 2 },
    ]);
    core.next();
    return core.heldBy();
  };
  expect(see(0, [1, 2])).toBeUndefined();
  expect(core.unstoredFill).toEqual({ now: 2 * SIZE, max: 2 * SIZE });
  expect(see(10, [3])).toBeUndefined();
  expect(at(core, 5_000)).toEqual(['store 1-2']);
  expect(core.heldBy()).toBeUndefined();
  core.stored();
  expect(at(core, 6_000)).toEqual([]);
  expect(core.heldBy()).toEqual({ group: 1, watermark: 2, sinceMs: 6_000 });
  core.flush();
  core.next();
  expect(core.heldBy()).toBeUndefined();
});
