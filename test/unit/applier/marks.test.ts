/** When a server asks for a place in the log at which all compare their rows. */
import { beforeEach, expect, it } from 'vitest';
import type { Effect } from '../../../services/applier/core/effect.js';
import { Marks } from '../../../services/applier/core/marks.js';

const EVERY_MS = 600_000;
const NOTHING = { save: false, isUndecided: false };
const SAVE = { save: true, isUndecided: false };

let asked: Effect[];
let marks: Marks;
beforeEach(() => {
  asked = [];
  marks = new Marks(
    EVERY_MS,
    () => 0.5,
    (effect) => asked.push(effect),
    10,
    0,
  );
});

/** Time passes in steps of 100 ms. */
function pass(fromMs: number, toMs: number, applied: number, wanted: typeof NOTHING): void {
  for (let nowMs = fromMs; nowMs <= toMs; nowMs += 100) marks.advance(nowMs, applied, wanted);
}

it('asks for none on an idle cluster, and regularly while something is applied', () => {
  pass(0, 3 * EVERY_MS, 10, NOTHING);
  expect(asked).toEqual([]);
  pass(3 * EVERY_MS, 3 * EVERY_MS + 1_000, 11, NOTHING);
  expect(asked).toEqual([{ type: 'ask-verify', save: false }]);
});

it('is content with the mark of another server', () => {
  marks.onMark(11, EVERY_MS - 1);
  pass(EVERY_MS, EVERY_MS + 60_000, 12, NOTHING);
  expect(asked).toEqual([]);
  marks.advance(0, 12, SAVE);
  marks.advance(200, 12, NOTHING);
  pass(300, 60_000, 12, NOTHING);
  expect(asked).toEqual([]);
});

it('waits a little first, then asks again ever less often, and at once when another server is waiting for it', () => {
  marks.advance(0, 12, SAVE);
  expect([asked.length, marks.nextWakeMs]).toEqual([0, 250]);
  pass(100, 300_000, 12, SAVE);
  const before = asked.length;
  // After 0.3, 5.3, 15.3, 35.3, 75.3 s, and then each minute.
  expect(before).toBe(8);
  marks.hurry(300_000);
  pass(300_100, 306_000, 12, SAVE);
  expect(asked.length).toBe(before + 2);
});

it('asks while servers differ, since a later place may tell which one is right', () => {
  pass(0, 1_000, 10, { save: false, isUndecided: true });
  expect(asked).toEqual([{ type: 'ask-verify', save: false }]);
});

it('knows that a state that went back has not been compared', () => {
  marks.onMark(20, 100);
  marks.onMoved(5);
  pass(100, 100 + EVERY_MS + 1_000, 6, NOTHING);
  expect(asked).toHaveLength(1);
});
