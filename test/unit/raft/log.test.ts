import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../../shared/raft/assert.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import { EMPTY_LOG, RaftLog } from '../../../shared/raft/log.js';

function entry(index: number, term: number, timestamp = index * 10): LogEntry {
  return { index, term, timestamp, kind: EntryKind.command, bytes: new Uint8Array(10) };
}

function logOf(...terms: number[]): RaftLog {
  const log = new RaftLog(EMPTY_LOG);
  log.append(terms.map((term, i) => entry(i + 1, term)));
  return log;
}

describe('RaftLog', () => {
  it('knows the term of every index, and the runs of equal terms', () => {
    const log = logOf(1, 1, 3, 3, 4);
    expect([0, 1, 2, 3, 4, 5, 6].map((index) => log.termAt(index))).toEqual([0, 1, 1, 3, 3, 4, 0]);
    expect(log.firstIndexOfRun(4)).toBe(3);
    expect(log.lastIndexOfTerm(3)).toBe(4);
    expect(log.lastIndexOfTerm(2)).toBe(0);
    expect(log.lastIndexOfTerm(4)).toBe(5);
  });

  it('keeps the terms of entries that have left the window', () => {
    const log = logOf(1, 1, 2, 2, 2, 2, 3, 3);
    log.shrink(7, 20);
    expect(log.firstInWindow).toBe(7);
    expect(log.termAt(2)).toBe(1);
    expect(log.at(6)).toBeUndefined();
    expect(log.at(7)?.index).toBe(7);
  });

  it('does not shrink past what must stay', () => {
    const log = logOf(1, 1, 1, 1);
    log.shrink(2, 1);
    expect(log.firstInWindow).toBe(2);
  });

  it('truncates a suffix with its terms', () => {
    const log = logOf(1, 1, 2, 3);
    log.truncateFrom(3);
    expect(log.lastIndex).toBe(2);
    expect(log.lastTerm).toBe(1);
    log.append([entry(3, 4)]);
    expect(log.termAt(3)).toBe(4);
  });

  it('gives the same array for the same slice, and never a stale one', () => {
    const log = logOf(1, 1, 1, 1);
    const slice = log.slice(2, 4, 1_000);
    expect(log.slice(2, 4, 1_000)).toBe(slice);
    log.truncateFrom(3);
    log.append([entry(3, 2), entry(4, 2)]);
    expect(log.slice(2, 4, 1_000).map((one) => one.term)).toEqual([1, 2, 2]);
  });

  it('cuts a slice at its bytes, but gives at least one entry', () => {
    const log = logOf(1, 1, 1, 1);
    expect(log.slice(1, 4, 25)).toHaveLength(2);
    expect(log.slice(1, 4, 1)).toHaveLength(1);
  });

  it.each([
    ['a gap', [entry(1, 1), entry(3, 1)]],
    ['a falling term', [entry(1, 2), entry(2, 1)]],
    ['a timestamp that does not increase (T1)', [entry(1, 1, 10), entry(2, 1, 10)]],
  ])('refuses %s as a broken invariant', (_, entries) => {
    expect(() => new RaftLog(EMPTY_LOG).append(entries)).toThrow(InvariantError);
  });
});
