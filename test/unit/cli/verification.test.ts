import { expect, it } from 'vitest';
import { Verification, type Verified } from '../../../services/cli/verification.js';
import type { ServerStatus, StateStatus } from '../../../shared/client/index.js';

const VOTERS = ['s1', 's2', 's3'];

function rows(mergedIndex: number, kv = 'same', resultsChecksum = 'results'): Verified {
  const tables = [
    { name: 'kv', rows: 3, checksum: kv },
    { name: 'more', rows: 2, checksum: 'more' },
  ];
  return { mergedIndex, checksum: `of ${kv}`, resultsChecksum, tables };
}

function status(server: string, state: Partial<StateStatus> | undefined): ServerStatus {
  const group = { group: 0, role: 'follower', leader: 's1', term: 1, lastIndex: 9, commitIndex: 9, voters: VOTERS };
  if (state === undefined) return { server, groups: [group] };
  return { server, groups: [group], state: { server, appliedIndex: 20, ok: true, trusted: true, ...state } };
}

/** What the servers say, in order of their names; null does not answer. */
function heard(from: number, ...rounds: (Partial<StateStatus> | undefined | null)[][]): Verification {
  const verification = new Verification(from);
  for (const round of rounds) {
    verification.hear(round.flatMap((state, at) => (state === null ? [] : [status(VOTERS[at] ?? '', state)])));
  }
  return verification;
}

it('finds equal servers equal, at a mark that all have looked at', () => {
  const one = { verified: rows(10) };
  const verification = heard(10, [one, one, { verifying: 10 }]);
  expect(verification.settled).toBeUndefined();
  expect(verification.needsMark(10)).toBe(false);
  verification.hear([status('s1', { verified: rows(15) }), status('s2', one), status('s3', one)]);
  expect(verification.settled).toBe(10);
  const line = { ok: true, verdict: 'equal', mergedIndex: 10, checksum: 'of same', rows: 5 };
  expect(verification.judge()).toEqual(VOTERS.map((server) => ({ server, ...line })));
});

it('does not count marks of before', () => {
  const one = { verified: rows(9) };
  const verification = heard(10, [one, one, one]);
  expect(verification.settled).toBeUndefined();
  expect(verification.judge().map(({ verdict }) => verdict)).toEqual(['missing', 'missing', 'missing']);
});

it('wants another mark once all are past it and at rest, and one has left it out', () => {
  const [done, busy, behind] = [{ verified: rows(10) }, { verifying: 8 }, { appliedIndex: 9 }];
  expect(heard(10, [done, done, busy]).needsMark(10)).toBe(false);
  expect(heard(10, [done, done, behind]).needsMark(10)).toBe(false);
  expect(heard(10, [done, done, { verified: rows(8) }]).needsMark(10)).toBe(true);
  expect(heard(10, [done, done, { verified: rows(8) }]).settled).toBeUndefined();
  expect(heard(10, [done, done, done]).needsMark(10)).toBe(false);
});

it('names the tables in which a server differs, before and after it knows that itself', () => {
  const [same, other] = [{ verified: rows(10) }, { verified: rows(10, 'other') }];
  const line = { server: 's2', ok: false, verdict: 'differs', mergedIndex: 10, tables: ['kv'] };
  expect(heard(10, [same, other, same]).judge()[1]).toMatchObject({ ...line, error: 'a majority has other rows' });
  const known = { ...other, divergence: 'rows differ', trusted: false, ok: false };
  const later = heard(20, [same, known, same], [{ verified: rows(20) }, known, { verified: rows(20) }]);
  expect(later.settled).toBe(20);
  expect(later.judge()).toMatchObject([
    { verdict: 'equal' },
    { ...line, error: 'rows differ' },
    { verdict: 'equal', mergedIndex: 20 },
  ]);
});

it('tells outcomes that differ where rows are equal', () => {
  const verification = heard(10, [
    { verified: rows(10) },
    { verified: rows(10) },
    { verified: rows(10, 'same', 'other') },
  ]);
  expect(verification.judge()[2]).toMatchObject({
    ok: false,
    verdict: 'differs',
    error: expect.stringContaining('outcomes'),
  });
  expect(verification.judge()[2]).not.toHaveProperty('tables');
});

it('decides nothing without a majority of the voters', () => {
  const undecided = heard(10, [{ verified: rows(10, 'a') }, { verified: rows(10, 'b') }, { verified: rows(10, 'c') }]);
  expect(undecided.judge().map(({ verdict }) => verdict)).toEqual(['undecided', 'undecided', 'undecided']);
  const alone = heard(10, [{ verified: rows(10) }, null, undefined]);
  expect(alone.settled).toBe(10);
  expect(alone.missing).toEqual(['s2', 's3']);
  expect(alone.judge().map(({ verdict }) => verdict)).toEqual(['undecided', 'missing', 'missing']);
});

it('says what keeps a server from it', () => {
  const away = { ok: false, error: 'the database is away', appliedIndex: 5 };
  const verification = heard(10, [{ verified: rows(10) }, { verified: rows(10) }, away]);
  expect(verification.settled).toBeUndefined();
  expect(verification.needsMark(10)).toBe(false);
  expect(verification.judge()[2]).toEqual({
    server: 's3',
    ok: false,
    verdict: 'missing',
    error: 'the database is away',
  });
});

it('waits for no server when all that answer are known to differ', () => {
  const differs = { ok: false, trusted: false, divergence: 'rows differ' };
  expect(heard(10, [null, differs, null])).toMatchObject({ isFutile: true, settled: undefined });
  expect(heard(10, [null, differs, {}]).isFutile).toBe(false);
});
