import { beforeEach, expect, it } from 'vitest';
import type { Effect } from '../../../services/applier/core/effect.js';
import { SnapshotPlan } from '../../../services/applier/core/snapshots/plan.js';

const limits = { entries: 10, bytes: 1_000, ageMs: 1_000 };

let effects: Effect[];
let plan: SnapshotPlan;
beforeEach(() => {
  effects = [];
  plan = new SnapshotPlan({ server: 's2', groups: 3, limits, emit: (effect) => effects.push(effect) }, 5, 0);
});

it('confirms a snapshot once it is saved and agreed, in either order', () => {
  expect(plan.onMark(5, 's2')).toBe(true);
  plan.saved(5, 'first');
  expect(effects).toEqual([]);
  plan.onAgreed(5);
  expect(effects).toEqual([{ type: 'confirm', name: 'first' }]);
  plan.confirmed('first');
  effects.length = 0;
  expect(plan.onMark(7, 's2')).toBe(true);
  plan.onAgreed(7);
  plan.saved(7, 'second');
  expect(effects).toEqual([{ type: 'confirm', name: 'second' }]);
});

it('removes what was still being saved when this server was found to differ, whatever is heard of its mark', () => {
  expect(plan.onMark(5, 's2')).toBe(true);
  plan.withdraw();
  expect(effects).toEqual([{ type: 'withdraw' }]);
  // Of the same name as another one would be after a rebuild: none is begun before.
  expect(plan.onMark(5, 's2')).toBe(false);
  plan.onAgreed(5);
  plan.saved(5, 'late');
  expect(effects).toEqual([{ type: 'withdraw' }, { type: 'remove', name: 'late' }]);
  plan.onAgreed(5);
  expect(effects).toHaveLength(2);
  expect(plan.onMark(5, 's2')).toBe(false);
  plan.advance(0, true, false);
  expect(plan.onMark(5, 's2')).toBe(true);
});

it('takes another one while votes are slow, ever less often, and keeps the ones that the others are slowly adding up', () => {
  plan.onApplied(100, 1);
  const marks: number[] = [];
  for (let nowMs = 0; nowMs < 300_000; nowMs += 1_000) {
    plan.advance(nowMs, true, false);
    if (!plan.isDue) continue;
    marks.push(nowMs / 1_000);
    expect(plan.onMark(100 + nowMs, 's2')).toBe(true);
    plan.saved(100 + nowMs, `at ${nowMs / 1_000} s`);
  }
  expect(marks).toEqual([0, 10, 30, 70, 130, 190, 250]);
  expect(effects.filter(({ type }) => type === 'remove')).toEqual([
    { type: 'remove', name: 'at 70 s' },
    { type: 'remove', name: 'at 130 s' },
    { type: 'remove', name: 'at 190 s' },
  ]);
  plan.onAgreed(100);
  expect(effects.at(-1)).toEqual({ type: 'confirm', name: 'at 0 s' });
  plan.confirmed('at 0 s');
  expect(plan.isDue).toBe(true);
});

it('replaces the snapshot of a mark that is reached again', () => {
  expect(plan.onMark(7, 's2')).toBe(true);
  plan.saved(7, 'first');
  expect(plan.onMark(7, 's2')).toBe(true);
  plan.onAgreed(7);
  // The first one has the same name, and is not there any more once the second one is.
  expect(effects).toEqual([]);
  plan.saved(7, 'again');
  expect(effects).toEqual([{ type: 'confirm', name: 'again' }]);
});

it('forgets a snapshot that is gone before it counts, and tries to confirm one that is there again', () => {
  expect(plan.onMark(7, 's2')).toBe(true);
  plan.saved(7, 'one');
  plan.onAgreed(7);
  plan.confirmFailed('one', false);
  plan.advance(5_000, true, false);
  plan.confirmFailed('one', true);
  plan.advance(20_000, true, false);
  expect(effects.filter(({ type }) => type === 'confirm')).toHaveLength(2);
});

it('drops nothing more after a verdict, and tries a compaction again after a while, not with each batch', () => {
  const of = (mergedIndex: number) => ({ mergedIndex, checksum: '', timestamp: 1, resultsChecksum: '', positions: [] });
  const known = [1, 2, 3].map((at) => ({ name: `${at}`, server: 's1', position: of(at), bytes: 0, confirmed: true }));
  const compactions = () => effects.filter(({ type }) => type === 'compact').length;
  plan.advance(0, true, false);
  plan.listed(known);
  expect(compactions()).toBe(1);
  plan.compactFailed();
  for (let index = 6; index < 20; index++) plan.onApplied(index, 1);
  expect(compactions()).toBe(1);
  plan.advance(5_000, true, false);
  plan.withdraw();
  plan.onApplied(20, 1);
  expect(compactions()).toBe(1);
  plan.advance(5_001, true, false);
  plan.onApplied(21, 1);
  expect(compactions()).toBe(2);
});

it('lists again when something is wanted that the list under way may be too old for', () => {
  const lists = () => effects.filter(({ type }) => type === 'list').length;
  plan.advance(0, true, false);
  expect(lists()).toBe(1);
  plan.heard('s1', false);
  plan.advance(1, true, false);
  expect(lists()).toBe(1);
  plan.listed([]);
  plan.advance(2, true, false);
  expect(lists()).toBe(2);
});

it('takes none while another server is at it, although the log asks for one', () => {
  expect(plan.onMark(5, 's1')).toBe(false);
  expect(plan.onMark(6, 's2')).toBe(false);
  // It has ended.
  plan.heard('s1', false);
  expect(plan.onMark(7, 's2')).toBe(true);
});

it('answers a rebuild that it has no snapshot for in time, and one that has begun when it is done', () => {
  const position = { mergedIndex: 4, checksum: '', timestamp: 4, resultsChecksum: '', positions: [] };
  const rebuilt = () => effects.filter(({ type }) => type === 'rebuilt');
  plan.beginRebuild(1);
  plan.advance(0, true, false);
  plan.listed([]);
  plan.advance(119_999, true, false);
  expect(rebuilt()).toEqual([]);
  plan.advance(120_000, true, false);
  expect(rebuilt()).toEqual([{ type: 'rebuilt', request: 1, position: null }]);
  plan.beginRebuild(2);
  // The list under way is older than the wish.
  plan.listed([]);
  plan.advance(120_001, true, false);
  plan.listed([{ name: 'one', server: 's1', position, bytes: 0, confirmed: true }]);
  expect(plan.wanted).toMatchObject({ name: 'one' });
  // Large, and being installed for longer than a snapshot is waited for.
  plan.advance(300_000, true, true);
  plan.installed(position);
  expect(rebuilt().at(-1)).toEqual({ type: 'rebuilt', request: 2, position });
});

it('takes a snapshot of another place for no snapshot of the mark that is being saved', () => {
  expect(plan.onMark(7, 's2')).toBe(true);
  plan.onAgreed(7);
  plan.saved(6, 'of another place');
  expect(effects).toEqual([]);
  plan.saved(7, 'of the mark');
  expect(effects).toEqual([{ type: 'confirm', name: 'of the mark' }]);
});

it('installs an older one while the newest cannot be read, and tries that again when there is no other', () => {
  const known = (mergedIndex: number) => ({
    name: `at ${mergedIndex}`,
    server: 's1',
    bytes: 0,
    confirmed: true,
    position: {
      mergedIndex,
      timestamp: mergedIndex,
      checksum: '0'.repeat(16),
      resultsChecksum: '0'.repeat(16),
      positions: [1, 2, 3].map((index) => ({ index, term: 1, timestamp: 1 })),
    },
  });
  let nowMs = 0;
  const list = (...marks: number[]) => {
    nowMs += 10_000;
    plan.advance(nowMs, true, false);
    plan.listed(marks.map(known));
  };
  plan.need();
  list(10, 20);
  expect(plan.wanted?.name).toBe('at 20');
  const failed = (name: string, ...marks: number[]) => {
    plan.installFailed(name);
    // Until there is a newer list nothing is known.
    expect(plan.wanted).toBeNull();
    plan.need();
    list(...marks);
    return plan.wanted?.name;
  };
  expect(failed('at 20', 10, 20)).toBe('at 10');
  expect(failed('at 10', 10, 20)).toBe('at 20');
  expect(failed('at 20', 10, 20, 30)).toBe('at 30');
  // What is not beyond the own state is of no use.
  expect(failed('at 30', 4, 30)).toBe('at 30');
});
