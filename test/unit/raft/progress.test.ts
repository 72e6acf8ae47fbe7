import { describe, expect, it } from 'vitest';
import { Progress } from '../../../shared/raft/progress.js';

describe('Progress', () => {
  it('probes with one message until the follower has answered, then lets them follow each other', () => {
    const progress = new Progress(5, 0);
    expect(progress.hasRoom(2, 100)).toBe(true);
    progress.onSent(6, 10);
    expect(progress.hasRoom(2, 100)).toBe(false);
    progress.allowProbe();
    expect(progress.hasRoom(2, 100)).toBe(true);
    progress.onMatch(6);
    expect(progress.state).toBe('pipeline');
    expect(progress.nextIndex).toBe(7);
  });

  it('bounds what is on the way, in messages and in bytes', () => {
    const progress = new Progress(1, 0);
    progress.onMatch(0);
    progress.onSent(1, 60);
    expect(progress.hasRoom(2, 100)).toBe(true);
    progress.onSent(2, 60);
    expect(progress.hasRoom(2, 1_000)).toBe(false);
    expect(progress.hasRoom(9, 100)).toBe(false);
    progress.onMatch(1);
    expect(progress.hasRoom(2, 100)).toBe(true);
  });

  it('falls back once for all refusals of one round trip, and never behind what matches', () => {
    const progress = new Progress(10, 0);
    progress.onMatch(3);
    const first = progress.nextRound();
    const second = progress.nextRound();
    progress.fallBack(2);
    expect(progress.nextIndex).toBe(4);
    expect(progress.isCurrent(first)).toBe(false);
    expect(progress.isCurrent(second)).toBe(false);
    expect(progress.isCurrent(progress.nextRound())).toBe(true);
  });
});
