/** What `craft status` makes of the answers of all servers. */
import { describe, expect, it } from 'vitest';
import { assess, type StatusLine } from '../../../services/cli/health.js';
import { statusTable } from '../../../services/cli/status.js';

const VOTERS = ['s1', 's2', 's3'];

interface Given {
  readonly leads?: readonly number[];
  readonly term?: number;
  readonly lastIndex?: number;
  readonly applied?: number;
  readonly voters?: readonly string[];
  readonly learners?: readonly string[];
}

/** A server of two groups. */
function server(name: string, given: Given = {}): StatusLine {
  const { leads = [], term = 2, lastIndex = 9, applied = 20, voters = VOTERS, learners = [] } = given;
  const groups = [0, 1].map((group) => ({
    group,
    role: leads.includes(group) ? 'leader' : 'follower',
    leader: null,
    term,
    lastIndex,
    commitIndex: lastIndex,
    voters: [...voters],
    learners: [...learners],
    watermark: 1_000_000 - group * 3_000,
  }));
  const state = { server: name, appliedIndex: applied, ok: true };
  return { server: name, version: '0.1.0', groups, clock: { offsetUs: 120, ok: true }, state, mergedIndex: applied };
}

const healthy = [server('s1', { leads: [0] }), server('s2', { leads: [1] }), server('s3')];

describe('the verdict', () => {
  it('is healthy when all members answer, all groups are led and all databases go on; a database behind is no problem', () => {
    const { level, verdict, problems } = assess([...healthy.slice(0, 2), server('s3', { applied: 13 })]);
    expect({ level, verdict, problems }).toEqual({
      level: 'healthy',
      verdict: 'healthy: 3 of 3 servers, 2 of 2 groups led, behind by 7',
      problems: [],
    });
  });

  it('is degraded when a member does not answer, and names it', () => {
    const health = assess(healthy.slice(0, 2));
    expect(health.verdict).toBe('degraded: 2 of 3 servers, 2 of 2 groups led, behind by 0');
    expect(health.missing).toEqual(['s3']);
    expect(health.problems).toEqual([expect.stringMatching(/^s3 does not answer: .*craft members remove s3$/)]);
    expect(statusTable(healthy.slice(0, 2))).toMatch(/^s3 +missing$/m);
  });

  it('is degraded when one database stands still, and not serving when none goes on', () => {
    const stuck = (one: StatusLine): StatusLine => ({
      ...one,
      state: { server: one.server, appliedIndex: 3, ok: false, since: '2026-01-01', error: 'the database is away' },
    });
    const [first, ...others] = healthy as [StatusLine, ...StatusLine[]];
    expect(assess([stuck(first), ...others])).toMatchObject({
      level: 'degraded',
      problems: ['s1 cannot apply the merged log since 2026-01-01: the database is away'],
    });
    expect(assess(healthy.map(stuck)).level).toBe('not serving');
  });

  it('is not serving when a group has no leader: the merged log stands still', () => {
    const { level, verdict, problems } = assess([server('s1', { leads: [0] }), server('s2'), server('s3')]);
    expect(level).toBe('not serving');
    expect(verdict).toContain('1 of 2 groups led');
    expect(problems).toEqual([expect.stringMatching(/^group 1 has no leader, .*election/)]);
  });

  it('does not believe a leader without a majority', () => {
    const { level, problems } = assess([server('s1', { leads: [0, 1] })]);
    expect(level).toBe('not serving');
    expect(problems[0]).toMatch(/too few of its voters answer \(silent: s2, s3\).*craft recover/);
  });

  it('believes the newest term: an old leader that was cut off does not count, nor do its members', () => {
    const old = server('s1', { leads: [0, 1], term: 2, voters: ['s1', 's2', 's9'] });
    const servers = [old, server('s2', { leads: [0, 1], term: 3 }), server('s3', { term: 3 })];
    const { level, missing, groups } = assess(servers);
    expect({ level, missing }).toEqual({ level: 'healthy', missing: [] });
    expect(groups.map(({ leader }) => leader)).toEqual(['s2', 's2']);
  });

  it('names clocks that are too far off, log stores that fail, appliers that are silent, streams that cannot be read', () => {
    const [s1, s2, s3] = healthy as [StatusLine, StatusLine, StatusLine];
    const { level, problems } = assess([
      { ...s1, clock: { offsetUs: -700_000, ok: false } },
      { ...s2, logStore: { ok: false, since: '2026-01-01', error: 'ENOSPC' } },
      { server: s3.server, groups: s3.groups, streamError: 'timeout' },
    ]);
    expect(level).toBe('degraded');
    expect(problems).toEqual([
      'the clock of s1 is -700.0 ms off, too far to lead: set it right (chrony, NTP)',
      expect.stringMatching(/^s2 cannot write its log store since 2026-01-01, .*ENOSPC$/),
      expect.stringMatching(/^the stream of s3 cannot be read: timeout/),
      's3 has no applier that answers: its database stands still',
    ]);
  });

  it('names servers whose releases of craft do not understand each other', () => {
    const [s1, ...others] = healthy as [StatusLine, ...StatusLine[]];
    const refused = [{ server: 's2', protocol: 3, since: '2026-01-01' }];
    const { level, problems } = assess([
      { ...s1, protocol: { writes: 1, oldest: 1, newest: 2, refused } },
      ...others.map((one) => ({ ...one, protocol: { writes: 3, oldest: 1, newest: 3, refused: [] } })),
    ]);
    expect(level).toBe('degraded');
    expect(problems).toEqual([
      's1 cannot read what s2 sends since 2026-01-01: it reads protocol 1 to 2, and s2 writes 3; run neighbouring releases of craft',
    ]);
  });
});

describe('the tables', () => {
  it('show who leads, how far every server and group is, and what followers and learners lack', () => {
    const shape = { voters: VOTERS, learners: ['s4'] };
    const text = statusTable([
      server('s1', { leads: [0], ...shape }),
      server('s2', { leads: [1], lastIndex: 8, ...shape }),
      server('s3', { lastIndex: 7, ...shape }),
      server('s4', { lastIndex: 2, applied: 4, ...shape }),
    ]);
    expect(text).toBe(
      [
        'healthy: 4 of 4 servers, 2 of 2 groups led, behind by 16',
        '',
        'server  leads  clock   merged  applied  machine  craft',
        's1      0      0.1 ms  20      20       -        0.1.0',
        's2      1      0.1 ms  20      20       -        0.1.0',
        's3      -      0.1 ms  20      20       -        0.1.0',
        's4      -      0.1 ms  4       4        -        0.1.0',
        '',
        'group  leader  term  last  commit  watermark  others lack',
        '0      s1      2     9     9       0 ms       s2 1 s3 2 s4 7 (learner)',
        '1      s2      2     8     8       -3 ms      s1 0 s3 1 s4 6 (learner)',
      ].join('\n'),
    );
  });
});
