/** Who stops when servers differ (T4). */
import { describe, expect, it } from 'vitest';
import { type CheckpointMessage, Checkpoints, checkpointMessage } from '../../../services/applier/checkpoints.js';

const SAME = '1'.repeat(16);
const OTHER = '2'.repeat(16);

function says(server: string, merged_index: number, checksum = SAME, results_checksum = SAME): CheckpointMessage {
  return { server, merged_index, checksum, results_checksum };
}

const of = (...servers: string[]) => new Checkpoints('s1', servers);

describe('checkpoints', () => {
  it('say nothing while all agree, in whatever order they come', () => {
    const checkpoints = of('s1', 's2', 's3');
    expect(checkpoints.heard(says('s2', 2_000)).type).toBe('fine');
    expect(checkpoints.reached(says('s1', 1_000)).type).toBe('fine');
    expect(checkpoints.heard(says('s3', 1_000)).type).toBe('fine');
    expect(checkpoints.reached(says('s1', 2_000)).type).toBe('fine');
  });

  it('stop the one that differs from the other two, and name servers, place and values', () => {
    const checkpoints = of('s1', 's2', 's3');
    checkpoints.reached(says('s1', 1_000));
    expect(checkpoints.heard(says('s2', 1_000, OTHER)).type).toBe('differs');
    const verdict = checkpoints.heard(says('s3', 1_000, OTHER));
    if (verdict.type !== 'stop') throw new Error(verdict.type);
    for (const part of ['s1', 's2', '1000', SAME, OTHER, 'merged logs']) expect(verdict.message).toContain(part);
  });

  it('let the majority go on, loudly', () => {
    const checkpoints = of('s1', 's2', 's3');
    checkpoints.heard(says('s2', 1_000, SAME, OTHER));
    expect(checkpoints.reached(says('s1', 1_000)).type).toBe('differs');
    const verdict = checkpoints.heard(says('s3', 1_000));
    expect(verdict).toMatchObject({ type: 'differs', message: expect.stringContaining('majority') as unknown });
    expect(checkpoints.reached(says('s1', 2_000)).type).toBe('fine');
  });

  it('stop at the next checkpoint when nobody could tell who is right', () => {
    const checkpoints = of('s1', 's2', 's3');
    checkpoints.reached(says('s1', 1_000));
    checkpoints.heard(says('s2', 1_000, SAME, OTHER));
    const verdict = checkpoints.reached(says('s1', 2_000));
    expect(verdict).toMatchObject({ type: 'stop', message: expect.stringContaining('not deterministic') as unknown });
  });

  it('stop both of two', () => {
    const checkpoints = of('s1', 's2');
    checkpoints.reached(says('s1', 1_000));
    expect(checkpoints.heard(says('s2', 1_000, OTHER)).type).toBe('stop');
  });

  it('heed neither themselves nor strangers, and forget what is long past', () => {
    const checkpoints = of('s1', 's2');
    checkpoints.reached(says('s1', 1_000));
    expect(checkpoints.heard(says('s1', 1_000, OTHER)).type).toBe('fine');
    expect(checkpoints.heard(says('s9', 1_000, OTHER)).type).toBe('fine');
    for (let at = 2; at <= 2_000; at++) checkpoints.reached(says('s1', at * 1_000));
    expect(checkpoints.heard(says('s2', 1_000, OTHER)).type).toBe('fine');
    expect(checkpoints.heard(says('s2', 2_000_000, OTHER)).type).toBe('stop');
  });

  it('on the wire are what they are or nothing', () => {
    expect(checkpointMessage.safeParse(says('s2', 1_000)).success).toBe(true);
    for (const bad of [null, 1, {}, { ...says('s2', 1_000), checksum: 'x' }, { ...says('s2', 0) }]) {
      expect(checkpointMessage.safeParse(bad).success).toBe(false);
    }
  });
});
