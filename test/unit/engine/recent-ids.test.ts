/**
 * The ids in the window (T8): none that counts is ever missed, few others are found, and what they
 * take is known.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecentIds } from '../../../services/applier/postgres/recent-ids.js';

const WINDOW_US = 1_000;

describe('ids in the window', () => {
  it('are all found in their rows, whatever has expired', () => {
    const step = fc.record({
      ids: fc.array(fc.nat(60), { maxLength: 8 }),
      afterUs: fc.oneof({ weight: 9, arbitrary: fc.nat(60) }, { weight: 1, arbitrary: fc.nat(3_000) }),
      rows: fc.oneof({ weight: 9, arbitrary: fc.constant(1) }, { weight: 1, arbitrary: fc.nat(100_000) }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const recent = new RecentIds(WINDOW_US);
        const added: { id: string; row: number; us: number }[] = [];
        let [row, us] = [1, 1_000_000];
        for (const { ids, afterUs, rows } of steps) {
          row += rows;
          us += afterUs;
          recent.expire(us - WINDOW_US);
          for (const id of ids) {
            recent.add(`id ${id}`, row, us);
            added.push({ id: `id ${id}`, row, us });
          }
          const live = added.filter((one) => one.us >= us - WINDOW_US);
          for (const one of live) expect(recent.rowsOf(one.id)).toContain(one.row);
          const [first] = live;
          if (first !== undefined) expect(recent.firstRow).toBeLessThanOrEqual(first.row);
        }
      }),
    );
  });

  it('go when they have expired, though entries of before may come later (a restored file)', () => {
    const recent = new RecentIds(WINDOW_US);
    recent.add('of the future', 1, 5_000);
    recent.add('now', 2, 1_000);
    recent.add('then', 3, 1_500);
    recent.expire(1_200);
    expect(recent.rowsOf('then')).toContain(3);
    recent.expire(4_000);
    recent.add('later', 4, 9_000);
    expect(recent.rowsOf('of the future')).toContain(1);
    recent.expire(8_000);
    expect(recent.rowsOf('of the future')).toBeUndefined();
    expect(recent).toMatchObject({ size: 1, firstRow: 4 });
    recent.expire(10_000);
    expect(recent).toMatchObject({ size: 0, firstRow: undefined });
  });

  it('are told from others, and take twenty bytes each at most', () => {
    const count = 600_000;
    const before = process.memoryUsage().arrayBuffers;
    const recent = new RecentIds(WINDOW_US);
    // Four segments' worth of time, three ids a row: more rows than a segment can tell apart.
    for (let at = 0; at < count; at++)
      recent.add(`client 7 request ${at}`, 1 + Math.floor(at / 3), (at / count) * WINDOW_US);
    expect((process.memoryUsage().arrayBuffers - before) / count).toBeLessThan(20);
    expect(recent.size).toBe(count);
    let [missed, found] = [0, 0];
    for (let at = 0; at < count; at += 7) {
      if (recent.rowsOf(`client 7 request ${at}`)?.includes(1 + Math.floor(at / 3)) !== true) missed += 1;
      if (recent.rowsOf(`client 8 request ${at}`) !== undefined) found += 1;
    }
    expect(missed).toBe(0);
    expect(found).toBeLessThan(count / 7 / 1_000);
  });

  it('have room for so many, and again when some have expired', () => {
    const recent = new RecentIds(WINDOW_US, 10);
    expect([recent.hasRoomFor(10), recent.hasRoomFor(11)]).toEqual([true, false]);
    for (let at = 0; at < 8; at++) recent.add(`${at}`, 1, 1_000);
    expect([recent.hasRoomFor(2), recent.hasRoomFor(3)]).toEqual([true, false]);
    recent.expire(1_001);
    expect(recent.hasRoomFor(10)).toBe(true);
  });
});
