/**
 * When a cluster is ready: every group has a leader that all of the servers in question agree on.
 */
import { expect, it } from 'vitest';
import { agreement } from '../../../deploy/local/readiness.js';
import type { ServerStatus } from '../../../shared/client/index.js';

/** One group, as a server sees it. */
function status(server: string, leader: string | null): ServerStatus {
  const role = leader === server ? 'leader' : 'follower';
  const indexes = { lastIndex: 1, commitIndex: 1, watermark: 1 };
  return { server, cluster: 'craft', groups: [{ group: 0, role, leader, term: 1, ...indexes }] };
}

it('has the leader that all agree on', () => {
  const all = [status('s1', 's2'), status('s2', 's2'), status('s3', 's2')];
  expect(agreement(all, ['s1', 's2', 's3'], 1)).toEqual({ leaders: ['s2'], missing: [] });
});

it('misses who does not answer, who sees another leader, and a second leader', () => {
  expect(agreement([status('s1', 's1')], ['s1', 's2'], 1).missing).toEqual(['s2 does not answer']);
  for (const other of [status('s2', null), status('s2', 's3'), status('s2', 's2')]) {
    expect(agreement([status('s1', 's1'), other], ['s1', 's2'], 1).missing).toEqual([
      'group 0 has no leader that all agree on',
    ]);
  }
});

it('does not ask a server that has been taken out: it hears of no leader any more', () => {
  const all = [status('s1', 's1'), status('s2', 's1'), status('s3', 's3')];
  expect(agreement(all, ['s1', 's2'], 1)).toEqual({ leaders: ['s1'], missing: [] });
});
