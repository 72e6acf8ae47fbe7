/** What people see of machines, members and snapshots. */
import { expect, it } from 'vitest';
import { machineTable, membersTable, snapshotsTable } from '../../../services/cli/table.js';

it('shows the versions at each server, and why one stands still', () => {
  const loaded = [
    { version: 1, fingerprint: 'aa' },
    { version: 2, fingerprint: 'bb' },
  ];
  const text = machineTable([
    { server: 's1', name: 'bank', version: 2, appliedIndex: 40, loaded },
    {
      server: 's2',
      name: 'bank',
      version: 1,
      appliedIndex: 7,
      loaded: loaded.slice(0, 1),
      error: 'waits for version 2',
    },
    { server: 's3' },
  ]);
  expect(text.split('\n')).toEqual([
    'server  in force  applied  loaded',
    's1      bank 2    40       1 (aa), 2 (bb)',
    's2      bank 1    7        1 (aa): waits for version 2',
    's3      -         -        -',
  ]);
});

it('shows the members of each group', () => {
  expect(
    membersTable([
      { group: 0, voters: ['s1', 's2', 's3'], learners: ['s4'], committed: false },
      { group: 1, voters: ['s1', 's2', 's3'], learners: [], committed: true },
    ]).split('\n'),
  ).toEqual([
    'group  voters      learners  committed',
    '0      s1, s2, s3  s4        not yet',
    '1      s1, s2, s3  -         yes',
  ]);
});

it('shows snapshots', () => {
  const snapshot = { name: '40-s1', server: 's1', mergedIndex: 40, bytes: 1_234, savedAt: '2026-11-27T10:00:00.000Z' };
  expect(snapshotsTable([{ ...snapshot, confirmed: true }]).split('\n')).toEqual([
    'name   server  merged  bytes  saved at             confirmed',
    '40-s1  s1      40      1234   2026-11-27T10:00:00  yes',
  ]);
});
