/**
 * A disk that takes a write and never ends it: a server that has it leads nothing for long, and
 * helps no other to lead.
 */
import { describe, expect, it } from 'vitest';
import { Cores, commandsOf, ELECTION_TIMEOUT_MS } from './cores.js';

/** Three servers; s1 leads group 0, s2 group 1. */
function started(): Cores {
  const cores = new Cores(['s1', 's2', 's3'], { groups: 2 });
  cores.pass(200);
  expect(cores.leadersOf(0)).toEqual(['s1']);
  expect(cores.leadersOf(1)).toEqual(['s2']);
  return cores;
}

const command = (text: string) => new TextEncoder().encode(text);

/** The group takes commands again, at another server, and acknowledges them. */
function expectServedWithout(cores: Cores, hung: string): void {
  cores.pass(3 * ELECTION_TIMEOUT_MS);
  const [leader = ''] = cores.leadersOf(0);
  expect(cores.leadersOf(0)).toHaveLength(1);
  expect(leader).not.toBe(hung);
  const before = cores.server(leader).told.filter(({ type }) => type === 'committed').length;
  expect(cores.offer(leader, 0, command('goes on'))).toBeNull();
  cores.pass(100);
  expect(cores.server(leader).told.filter(({ type }) => type === 'committed')).toHaveLength(before + 1);
}

describe('pitfall: hung disk', () => {
  it('a leader whose own entries are not written for an election timeout stops leading, though its heartbeats go on', () => {
    const cores = started();
    cores.server('s1').isDiskHung = true;
    expect(cores.offer('s1', 0, command('hangs'))).toBeNull();
    cores.pass(ELECTION_TIMEOUT_MS - 100);
    expect(cores.leadersOf(0)).toEqual(['s1']);
    cores.pass(200);
    expect(cores.leadersOf(0)).not.toContain('s1');
    expectServedWithout(cores, 's1');
  });

  it('a leader whose disk hangs over entries of another group stops leading as well, and leaves no command waiting for it', () => {
    const cores = started();
    const hung = cores.server('s1');
    hung.isDiskHung = true;
    // s1 follows in this group: its write of this entry is what hangs.
    expect(cores.offer('s2', 1, command('elsewhere'))).toBeNull();
    cores.pass(100);
    expect(hung.isWriting).toBe(true);
    expect(cores.offer('s1', 0, command('behind it'))).toBeNull();
    cores.pass(ELECTION_TIMEOUT_MS + 100);
    expect(cores.leadersOf(0)).not.toContain('s1');
    // It was in no log, and its client hears so: a definite refusal (T9).
    expect(hung.told.filter(({ type }) => type === 'refused')).toMatchObject([{ reason: 'not-leader' }]);
    expectServedWithout(cores, 's1');
  });

  it('a disk that is slow, but writes, costs no leadership', () => {
    const cores = started();
    const slow = cores.server('s1');
    for (let round = 0; round < 5; round++) {
      slow.isDiskHung = true;
      expect(cores.offer('s1', 0, command(`slow ${round}`))).toBeNull();
      cores.pass(ELECTION_TIMEOUT_MS - 100);
      slow.isDiskHung = false;
      cores.pass(100);
    }
    expect(cores.leadersOf(0)).toEqual(['s1']);
    expect(commandsOf(cores.server('s3'), 0)).toHaveLength(5);
  });

  it('a follower whose disk hangs gives no vote: with the only other voter gone nobody leads, until the disk works again', () => {
    const cores = started();
    cores.server('s3').isDiskHung = true;
    cores.server('s1').isCutOff = true;
    cores.pass(5 * ELECTION_TIMEOUT_MS);
    // s2 led group 1 with the hung follower; it stamps nothing that could be committed, and wins
    // nothing.
    expect(cores.server('s2').core.groups[0]?.role).not.toBe('leader');
    expect(cores.server('s3').core.groups[0]?.role).not.toBe('leader');
    cores.server('s3').isDiskHung = false;
    cores.pass(5 * ELECTION_TIMEOUT_MS);
    expect(cores.leadersOf(0).filter((name) => name !== 's1')).toHaveLength(1);
  });

  it('a server whose disk was hung follows, and leads again by itself when it works', () => {
    const cores = started();
    const hung = cores.server('s1');
    hung.isDiskHung = true;
    expect(cores.offer('s1', 0, command('first'))).toBeNull();
    cores.pass(4 * ELECTION_TIMEOUT_MS);
    expect(cores.leadersOf(0)).not.toContain('s1');
    hung.isDiskHung = false;
    cores.pass(10 * ELECTION_TIMEOUT_MS);
    // The preferred leader is well and complete again.
    expect(cores.leadersOf(0)).toEqual(['s1']);
    const logs = cores.servers.map((server) => commandsOf(server, 0).map(({ timestamp }) => timestamp));
    expect(logs[1]).toEqual(logs[0]);
    expect(logs[2]).toEqual(logs[0]);
  });
});
