/** What follows when servers have made different things of the same log (T4). */
import { describe, expect, it } from 'vitest';
import { type CheckpointMessage, Comparison, checkpointMessage } from '../../../services/applier/core/comparison.js';

const SAME = '1'.repeat(16);
const OTHER = '2'.repeat(16);
const THIRD = '3'.repeat(16);

function says(server: string, merged_index: number, results_checksum = SAME): CheckpointMessage {
  return { server, merged_index, checksum: SAME, results_checksum };
}

const rows = (server: string, merged_index: number, rows_checksum: string): CheckpointMessage => ({
  ...says(server, merged_index),
  rows_checksum,
});

class Server {
  readonly told: CheckpointMessage[] = [];
  readonly differs: string[] = [];
  readonly confirmed: number[] = [];
  readonly undecided: string[] = [];
  readonly others: string[] = [];
  readonly comparison: Comparison;

  constructor(...voters: string[]) {
    this.comparison = new Comparison('s1', voters, {
      tell: (message) => void this.told.push(message),
      differs: (reason) => {
        this.differs.push(reason);
        this.comparison.end();
      },
      confirmed: (mergedIndex) => void this.confirmed.push(mergedIndex),
      undecided: (message) => void this.undecided.push(message),
      otherDiffers: (message) => void this.others.push(message),
    });
    this.comparison.advance(1);
  }

  reached(mergedIndex: number, results = SAME): void {
    this.comparison.reached(mergedIndex, SAME, results);
  }

  verified(mergedIndex: number, checksum = SAME): void {
    this.comparison.verified(mergedIndex, SAME, SAME, checksum);
  }

  get isQuiet(): boolean {
    return this.differs.length + this.undecided.length + this.others.length === 0;
  }
}

describe('a comparison', () => {
  it('says nothing while all agree, in whatever order they come', () => {
    const server = new Server('s1', 's2', 's3');
    server.comparison.heard(says('s2', 2_000));
    server.reached(1_000);
    server.comparison.heard(says('s3', 1_000));
    server.reached(2_000);
    expect(server.isQuiet).toBe(true);
    expect(server.told.map(({ merged_index }) => merged_index)).toEqual([1_000, 2_000]);
  });

  it('finds the one that differs from the other two, and names servers, place, values and the way out', () => {
    const server = new Server('s1', 's2', 's3');
    server.reached(1_000);
    server.comparison.heard(says('s2', 1_000, OTHER));
    expect(server.differs).toEqual([]);
    server.comparison.heard(says('s3', 1_000, OTHER));
    for (const part of ['s1', 's2', '1000', SAME, OTHER, 'outcomes', 'not deterministic', 'craft rebuild s1']) {
      expect(server.differs[0]).toContain(part);
    }
    // It has said what it has there, and from here on it has no vote, and hears none.
    server.told.splice(0, 1);
    server.reached(2_000);
    server.comparison.heard(says('s2', 2_000, OTHER));
    expect([server.told.length, server.differs.length]).toEqual([1, 1]);
    server.comparison.begin();
    server.reached(3_000);
    expect(server.told).toHaveLength(2);
  });

  it('names the server that differs from a majority, which goes on', () => {
    const server = new Server('s1', 's2', 's3');
    server.comparison.heard(says('s2', 1_000, OTHER));
    server.reached(1_000);
    server.comparison.heard(says('s3', 1_000));
    expect(server.others[0]).toContain('craft rebuild s2');
    expect(server.differs).toEqual([]);
    server.comparison.advance(60_000);
    expect(server.comparison.isUndecided).toBe(false);
  });

  it('needs a majority of all voters, not of those that speak', () => {
    const server = new Server('s1', 's2', 's3', 's4', 's5');
    server.reached(1_000);
    server.comparison.heard(says('s2', 1_000, OTHER));
    server.comparison.heard(says('s3', 1_000, OTHER));
    expect(server.differs).toEqual([]);
    server.comparison.heard(says('s4', 1_000, OTHER));
    expect(server.differs).toHaveLength(1);
  });

  it('trusts nobody while no majority says which is right, asks again, and trusts again once a later round is agreed', () => {
    const server = new Server('s1', 's2', 's3');
    server.reached(1_000);
    server.comparison.heard(says('s2', 1_000, OTHER));
    expect(server.undecided).toHaveLength(1);
    expect(server.comparison.isUndecided).toBe(false);
    server.comparison.advance(10_000);
    expect(server.comparison.isUndecided).toBe(true);
    expect(server.told[1]).toMatchObject({ merged_index: 1_000, ask: true });
    server.comparison.heard(says('s3', 1_000));
    expect(server.comparison.isUndecided).toBe(false);
  });

  it('takes equal outcomes for no word about rows that differ', () => {
    const server = new Server('s1', 's2', 's3');
    server.verified(10);
    server.comparison.heard(rows('s2', 10, OTHER));
    server.reached(1_000);
    server.comparison.heard(says('s2', 1_000));
    server.comparison.advance(10_000);
    expect(server.comparison.isUndecided).toBe(true);
    server.verified(1_500);
    server.comparison.heard(rows('s3', 1_500, SAME));
    expect(server.comparison.isUndecided).toBe(false);
    expect(server.confirmed).toEqual([1_500]);
  });

  it('leaves two that differ, and three that all do, without a verdict', () => {
    const two = new Server('s1', 's2');
    two.reached(1_000);
    two.comparison.heard(says('s2', 1_000, OTHER));
    const three = new Server('s1', 's2', 's3');
    three.reached(1_000);
    three.comparison.heard(says('s2', 1_000, OTHER));
    three.comparison.heard(says('s3', 1_000, THIRD));
    for (const { comparison, differs } of [two, three]) {
      comparison.advance(10_000);
      expect([comparison.isUndecided, differs]).toEqual([true, []]);
    }
  });

  it('confirms by rows only, once a majority has the same', () => {
    const server = new Server('s1', 's2', 's3');
    server.reached(1_000);
    server.comparison.heard(says('s2', 1_000));
    server.verified(1_001);
    expect(server.confirmed).toEqual([]);
    server.comparison.heard(rows('s2', 1_001, SAME));
    expect(server.confirmed).toEqual([1_001]);
    const alone = new Server('s1');
    alone.verified(7);
    expect(alone.confirmed).toEqual([7]);
  });

  it('by time: tells where it is, and compares with what others say of places that it has passed', () => {
    const server = new Server('s1', 's2', 's3');
    server.comparison.ended(41, SAME, SAME);
    server.comparison.ended(42, SAME, SAME);
    server.comparison.advance(10_000);
    expect(server.told).toEqual([says('s1', 42)]);
    server.comparison.heard(says('s2', 41, OTHER));
    server.comparison.heard(says('s3', 41, OTHER));
    expect(server.differs).toHaveLength(1);
  });

  it('answers a server that asks, from what it has', () => {
    const server = new Server('s1', 's2', 's3');
    server.reached(1_000);
    server.comparison.heard({ ...says('s2', 1_000), ask: true });
    server.comparison.heard({ ...says('s2', 2_000), ask: true });
    expect(server.told).toEqual([says('s1', 1_000), says('s1', 1_000)]);
  });

  it('heeds neither itself nor servers without a vote, and has none without one', () => {
    const server = new Server('s1', 's2', 's3');
    server.reached(1_000);
    server.comparison.heard(says('s1', 1_000, OTHER));
    server.comparison.heard(says('s9', 1_000, OTHER));
    expect(server.isQuiet).toBe(true);
    const learner = new Server('s2', 's3', 's4');
    expect(learner.comparison.isVoter).toBe(false);
    learner.reached(1_000);
    learner.comparison.heard(says('s2', 1_000, OTHER));
    learner.comparison.heard(says('s3', 1_000, OTHER));
    expect(learner.differs).toHaveLength(1);
  });

  it('keeps a bounded number of rounds, the newest ones', () => {
    const server = new Server('s1', 's2', 's3');
    for (let at = 1; at <= 2_000; at++) server.reached(at * 1_000);
    server.comparison.heard(says('s2', 1_000, OTHER));
    expect(server.isQuiet).toBe(true);
    server.comparison.heard(says('s2', 2_000_000, OTHER));
    expect(server.undecided).toHaveLength(1);
  });

  it('on the wire is what it is or nothing', () => {
    expect(checkpointMessage.safeParse(rows('s2', 1_000, OTHER)).success).toBe(true);
    for (const bad of [null, 1, {}, { ...says('s2', 1_000), checksum: 'x' }, says('s2', 0), rows('s2', 5, 'x')]) {
      expect(checkpointMessage.safeParse(bad).success).toBe(false);
    }
  });
});
