/** What `craft doctor` finds of the servers and their snapshots. */
import { expect, it } from 'vitest';
import { examine } from '../../../../services/cli/doctor/examine.js';
import type { Facts } from '../../../../services/cli/doctor/facts.js';
import { SERVER_CHECKS } from '../../../../services/cli/doctor/servers.js';
import type { StatusLine } from '../../../../services/cli/health.js';
import {
  database,
  environment,
  HEALTHY,
  known,
  NOW_MS,
  position,
  s1,
  s2,
  s3,
  server,
  servers,
  snapshot,
  VOTERS,
} from './facts.js';
import { itFinds } from './sightings.js';

itFinds(SERVER_CHECKS, [
  [
    'releases-differ',
    servers(s1, s2, { ...s3, version: '1.1.0' }),
    /several releases of craft: s1, s2 1\.0\.0; s3 1\.1\.0; finish the upgrade/,
  ],
  [
    'release-here',
    { here: { version: '0.9.0', node: 'v22.2.0' } },
    /this craft is 0\.9\.0, the servers are 1\.0\.0; install/,
  ],
  [
    'node-version',
    { here: { version: '1.0.0', node: 'v20.2.0' } },
    /^this machine: Node\.js v20\.2\.0 is too old.*install Node\.js 22\.2/,
  ],
  ['node-version', { here: { version: '1.0.0', node: 'v22.1.0' } }, /v22\.1\.0 is too old/],
  ['node-version', servers(s1, s2, { ...s3, node: 'v24.0.0' }), /s1, s2 22; s3 24; run one version/],
  [
    'snapshot-late',
    { snapshots: known({ snapshots: [snapshot('2026-01-01T09:00:00Z')], nowMs: NOW_MS }) },
    /the newest one is 180 min and 30 commands old.*craft snapshot take/,
  ],
  [
    'snapshot-late',
    {
      ...environment({ CRAFT_SNAPSHOT_ENTRIES: '20' }),
      snapshots: known({ snapshots: [snapshot('2026-01-01T11:00:00Z', false)], nowMs: NOW_MS }),
    },
    /no confirmed snapshot after 60 commands, and one that no majority has confirmed/,
  ],
  [
    'snapshot-groups',
    {
      snapshots: known({
        snapshots: [{ ...snapshot('2026-01-01T11:00:00Z'), position: position(30, [10, 21]) }],
        nowMs: NOW_MS,
      }),
    },
    /does not match the log of group 1, 2; check whether/,
  ],
  [
    'degraded',
    servers(s1, s2, { ...s3, logStore: { ok: false, since: '2026-01-01', error: 'ENOSPC' } }),
    /^cluster: s3 cannot write its log store/,
  ],
  ['not-serving', servers(), /^cluster: no server answers; check that the servers run/],
]);

it('the checks wait longer for the next snapshot after a large one, as the servers do', () => {
  const of = (bytes: number) => ({
    ...environment({ CRAFT_SNAPSHOT_ENTRIES: '10' }),
    snapshots: known({ snapshots: [snapshot('2026-01-01T11:00:00Z', true, bytes)], nowMs: NOW_MS }),
  });
  const codesOf = (facts: Partial<Facts>) => examine({ ...HEALTHY, ...facts }).map(({ code }) => code);
  expect(codesOf(of(1_000))).toEqual(['snapshot-late']);
  expect(codesOf(of(3 * 1024 * 1024))).toEqual([]);
});

it('the checks leave a snapshot alone that goes beyond the log of a follower, where no leader answers', () => {
  const beyond = { ...snapshot('2026-01-01T11:00:00Z'), position: position(30, [10, 21, 10]) };
  const snapshots = known({ snapshots: [beyond], nowMs: NOW_MS });
  const codesOf = (...all: StatusLine[]) =>
    examine({ ...HEALTHY, snapshots, ...servers(...all) }).map(({ code }) => code);
  expect(codesOf(s1, s2, s3)).toContain('snapshot-groups');
  expect(codesOf(s1, s3)).not.toContain('snapshot-groups');
});

it('the checks leave a fresh cluster alone: no snapshot yet, no bucket, an empty database', () => {
  const fresh = servers(
    ...VOTERS.map((one) => server(one, { state: { server: one, appliedIndex: 0, ok: true }, mergedIndex: 0 })),
  );
  const facts = {
    ...HEALTHY,
    ...fresh,
    ...database({ state: known(undefined) }),
    snapshots: known({ snapshots: [], nowMs: NOW_MS }),
  };
  expect(examine(facts)).toEqual([]);
});
