import { describe, expect, it } from 'vitest';
import { ClosedTimestamps } from '../../../shared/raft/closed-timestamps.js';
import { PromiseLimit } from '../../../shared/raft/promise-limit.js';

const NOW = 1_000_000;
const WINDOW = 250;

/** A limit that covers everything up to `durable`. */
function limitAt(durable: number): PromiseLimit {
  return new PromiseLimit(durable, WINDOW);
}

describe('PromiseLimit (T2)', () => {
  it('covers only what is durable', () => {
    const limit = limitAt(100);
    limit.need(150);
    expect(limit.covers(150)).toBe(false);
    const write = limit.forWrite(120, false);
    expect(write).toBe(120 + WINDOW);
    expect(limit.covers(150)).toBe(false);
    limit.written(120 + WINDOW);
    expect(limit.covers(150)).toBe(true);
  });

  it('causes no write of its own unless somebody needs it, but rides on one when half the window is used up', () => {
    const limit = limitAt(NOW + WINDOW);
    expect(limit.forWrite(NOW + 10, false)).toBeNull();
    expect(limit.forWrite(NOW + 10, true)).toBeNull();
    expect(limit.forWrite(NOW + WINDOW / 2 + 1, true)).toBe(NOW + WINDOW / 2 + 1 + WINDOW);
  });

  it('never goes down', () => {
    const limit = limitAt(NOW);
    limit.need(NOW + 1);
    expect(limit.forWrite(5, true)).toBe(NOW + 1);
    limit.written(10);
    expect(limit.value).toBe(NOW);
  });
});

describe('ClosedTimestamps (T3)', () => {
  const closed = { timestamp: 50, index: 7 };
  const of = (...voters: string[]) => ({ voters, learners: [] });
  const three = () => of('s1', 's2', 's3');
  const five = () => of('s1', 's2', 's3', 's4', 's5');

  it('counts a claim once it has a quorum and its index is committed', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    closedTimestamps.heard(closed, true);
    closedTimestamps.advance(6);
    expect(closedTimestamps.validTimestamp).toBe(0);
    closedTimestamps.advance(7);
    expect(closedTimestamps.validTimestamp).toBe(50);
  });

  it('counts the own promise only once it is durable', () => {
    const limit = limitAt(0);
    const closedTimestamps = new ClosedTimestamps(limit, 0);
    closedTimestamps.promise(50);
    closedTimestamps.onPromised('s1', 50);
    closedTimestamps.heard(closed, false);
    expect(closedTimestamps.countQuorum(7, 's2', three)).toBeNull();
    limit.written(limit.forWrite(10, false) ?? 0);
    expect(closedTimestamps.countQuorum(7, 's2', three)).toEqual(closed);
  });

  it('counts no own promise that was not given, though the limit would cover it', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    closedTimestamps.onPromised('s1', 50);
    closedTimestamps.heard(closed, false);
    expect(closedTimestamps.countQuorum(7, 's2', three)).toBeNull();
  });

  it('counts no claim without a quorum, until the leader announces one', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    closedTimestamps.heard(closed, false);
    closedTimestamps.advance(7);
    expect(closedTimestamps.validTimestamp).toBe(0);
    closedTimestamps.heard(closed, true);
    closedTimestamps.advance(7);
    expect(closedTimestamps.validTimestamp).toBe(50);
  });

  it('forgets claims that do not count yet when the term changes, and keeps promises', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    closedTimestamps.promise(50);
    closedTimestamps.heard(closed, true);
    closedTimestamps.reset();
    closedTimestamps.advance(7);
    expect(closedTimestamps.validTimestamp).toBe(0);
    expect(closedTimestamps.promised).toBe(50);
  });

  it('counts the voters that promised, itself among them', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    const newest = () => closedTimestamps.countQuorum(7, 's1', five);
    closedTimestamps.claim(closed);
    closedTimestamps.onPromised('s2', 50);
    closedTimestamps.onPromised('s9', 50);
    expect(newest()).toBeNull();
    closedTimestamps.onPromised('s3', 49);
    expect(newest()).toBeNull();
    closedTimestamps.onPromised('s3', 60);
    expect(newest()).toEqual(closed);
  });

  it('counts the voters of the configuration at the index of the claim, and no claim beyond what is known', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    closedTimestamps.promise(60);
    closedTimestamps.heard(closed, false);
    closedTimestamps.heard({ timestamp: 60, index: 9 }, false);
    closedTimestamps.onPromised('s1', 60);
    const at = (index: number) => (index < 9 ? three() : of('s2', 's3', 's4'));
    expect(closedTimestamps.countQuorum(8, 's2', at)).toEqual(closed);
    expect(closedTimestamps.countQuorum(9, 's2', at)).toEqual(closed);
    closedTimestamps.onPromised('s4', 60);
    expect(closedTimestamps.countQuorum(8, 's2', at)).toEqual(closed);
    expect(closedTimestamps.countQuorum(9, 's2', at)).toEqual({ timestamp: 60, index: 9 });
  });

  it('is not confused by claims that arrive out of order', () => {
    const closedTimestamps = new ClosedTimestamps(limitAt(100), 0);
    closedTimestamps.heard({ timestamp: 60, index: 9 }, true);
    closedTimestamps.heard({ timestamp: 50, index: 7 }, true);
    closedTimestamps.advance(7);
    expect(closedTimestamps.validTimestamp).toBe(50);
    closedTimestamps.advance(9);
    expect(closedTimestamps.validTimestamp).toBe(60);
  });

  it('refuses a claim of its own that a crash could make it forget', () => {
    expect(() => new ClosedTimestamps(limitAt(49), 0).claim(closed)).toThrow(/T2/);
  });
});
