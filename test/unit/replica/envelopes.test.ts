/** Which envelopes a command takes, and that no answer waits for those that may wait. */
import { describe, expect, it } from 'vitest';
import { PATIENCE_MS } from '../../../services/replica/core/outbox.js';
import { Timeline, type TimelineOptions } from './timeline.js';

const LATENCY_MS = 0.2;
const DISK_MS = 0.5;
/** A round trip and a follower's write; turns take a microsecond each. */
const COMMIT_MS = 2 * LATENCY_MS + DISK_MS + 0.01;

const SERVERS = ['s1', 's2', 's3'];

/** Each server leads its group, has had a few commands, and has said all that it has to say. */
function settled(options: Partial<TimelineOptions> = {}, servers: readonly string[] = SERVERS): Timeline {
  const timeline = new Timeline(servers, { groups: 3, latencyMs: LATENCY_MS, diskMs: DISK_MS, ...options });
  timeline.pass(2_000);
  for (const [group, name] of SERVERS.entries()) {
    timeline.offer(name, group, 'ordered');
    timeline.pass(40);
  }
  timeline.begin();
  return timeline;
}

describe('a single command', () => {
  it('takes these ten envelopes on three servers that lead a group each', () => {
    const timeline = settled();
    timeline.offer('s1', 0, 'ordered');
    timeline.pass(30);
    expect(timeline.envelopes.map(({ text }) => text)).toEqual([
      's1->s2 append [0]',
      's1->s3 append [0]',
      // The other leaders close up to the entry; only s1 waits for that, and not before the entry
      // is committed.
      's2->s1 reply [0], claim [1]',
      's3->s1 reply [0], claim [2]',
      // From here on for the databases of s2 and s3; nothing else has gone there meanwhile.
      's2->s3 claim [1]',
      's3->s2 claim [2]',
      's1->s2 reply [1], commit [0]',
      's1->s3 reply [2], commit [0]',
      's3->s2 reply [1]',
      's2->s3 reply [2]',
    ]);
  });

  it('takes about five where the next one follows soon', () => {
    const timeline = settled();
    for (let n = 0; n < 100; n++) {
      timeline.told.length = 0;
      timeline.offer('s1', 0, 'ordered');
      timeline.until('s1 ordered 0');
      timeline.pass(1.5);
    }
    expect(timeline.envelopes.length).toBeLessThanOrEqual(5.5 * 100);
  });
});

describe('what may wait', () => {
  it('delays no answer: an entry is ordered as soon as it is committed', () => {
    const timeline = settled();
    timeline.offer('s1', 0, 'ordered');
    timeline.until('s1 ordered 0');
    expect(timeline.told.map(({ text }) => text)).toEqual(['s1 committed 0', 's1 ordered 0']);
    expect(timeline.told[1]?.atMs).toBe(timeline.told[0]?.atMs);
    expect(timeline.told[1]?.atMs).toBeLessThanOrEqual(COMMIT_MS);
  });

  it('delays an answer by little where the acknowledgement that it goes with is late', () => {
    const timeline = settled();
    timeline.server('s2').diskMs = 100;
    timeline.offer('s1', 0, 'ordered');
    expect(timeline.until('s1 committed 0')).toBeLessThanOrEqual(COMMIT_MS);
    expect(timeline.until('s1 ordered 0')).toBeLessThanOrEqual(PATIENCE_MS + COMMIT_MS);
  });

  it('delays nothing with five servers, where claims have to come back before they count', () => {
    const timeline = settled({}, [...SERVERS, 's4', 's5']);
    timeline.offer('s1', 0, 'ordered');
    // The append, the claims that it causes, the promises, and what they have come to; on each way
    // a write may be in between.
    expect(timeline.until('s1 ordered 0')).toBeLessThanOrEqual(4 * LATENCY_MS + 2 * DISK_MS + 0.01);
  });

  it('delays no linearizable read, whenever in the course of a command it begins', () => {
    // At another server the read waits until that has heard of the commit, which is one way later.
    const known = { s1: COMMIT_MS, s2: COMMIT_MS + LATENCY_MS, s3: COMMIT_MS + LATENCY_MS };
    for (const [name, knownMs] of Object.entries(known)) {
      for (let atMs = 0; atMs < 2; atMs += 0.15) {
        const timeline = settled();
        timeline.offer('s1', 0, 'ordered');
        timeline.pass(atMs);
        timeline.read(name);
        const mostMs = Math.max(knownMs, atMs + 2 * LATENCY_MS) + 0.02;
        expect(timeline.until(`${name} reads`), `read at ${name} after ${atMs} ms`).toBeLessThanOrEqual(mostMs);
      }
    }
  });

  it('comes soon also when the timer for it is late, with the next tick', () => {
    const timeline = settled({ isWakerLate: true });
    timeline.offer('s1', 0, 'committed');
    timeline.until('s1 committed 0');
    const commits = () => SERVERS.map((name) => timeline.server(name).core.groups[0]?.commitIndex);
    const [index] = commits();
    expect(commits()).toEqual([index, (index ?? 0) - 1, (index ?? 0) - 1]);
    timeline.pass(20 + PATIENCE_MS + LATENCY_MS);
    expect(commits()).toEqual([index, index, index]);
  });
});
