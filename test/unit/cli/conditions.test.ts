/** What `craft status` makes of the conditions that the services report. */
import { describe, expect, it } from 'vitest';
import { serves, standing, suspects, troublesOf } from '../../../services/cli/conditions.js';
import { assess, type StatusLine } from '../../../services/cli/health.js';
import { statusJson, statusTable } from '../../../services/cli/status.js';
import type { ServerHealth, ServiceHealth } from '../../../shared/client/index.js';

const SINCE = Date.UTC(2026, 0, 1);
const ok = (service: string, more: Partial<ServiceHealth> = {}): ServiceHealth => ({
  service,
  serves: true,
  conditions: [],
  ...more,
});
const all = (server: string, ...changed: ServiceHealth[]): ServerHealth => {
  const services = ['replica', 'merger', 'applier'].map(
    (service) => changed.find((one) => one.service === service) ?? ok(service),
  );
  return { server, services };
};
const failing = (service: string, condition: string, why: string, remedy: string): ServiceHealth =>
  ok(service, { serves: false, conditions: [{ condition, ok: false, since: SINCE, why, remedy }] });
const full = failing('merger', 'publish', 'the stream is full', 'make room');

const VOTERS = ['s1', 's2', 's3'];
const line = (server: string): StatusLine => ({
  server,
  groups: [
    {
      group: 0,
      role: server === 's1' ? 'leader' : 'follower',
      leader: 's1',
      term: 1,
      lastIndex: 5,
      commitIndex: 5,
      voters: VOTERS,
      learners: [],
    },
  ],
  state: { server, appliedIndex: 5, ok: true },
});

describe('conditions', () => {
  it('are said with server, service, code, time and remedy; what is ok is not', () => {
    const also = ok('applier', { conditions: [{ condition: 'database', ok: true, since: SINCE }] });
    expect(troublesOf(all('s1', full, also), true)).toEqual([
      's1 merger: the stream is full (publish, since 2026-01-01T00:00:00.000Z); make room',
    ]);
  });

  it('of a service that no process answers for are missing', () => {
    const { services } = all('s1');
    const without = { server: 's1', services: services.filter(({ service }) => service !== 'merger') };
    expect(troublesOf(without, true)).toEqual(['s1 merger: it does not answer; check that it runs']);
    expect(serves(without)).toBe(false);
  });

  it('of a group without a leader are said by the verdict, not by every server', () => {
    const leaderless = failing('replica', 'leader', 'group 0 has no leader', 'start servers');
    expect(troublesOf(all('s1', leaderless), false)).toEqual([]);
    expect(troublesOf(all('s1', leaderless), true)).toHaveLength(1);
  });

  it('make a cluster degraded, and not serving when no server does its work', () => {
    const lines = VOTERS.map(line);
    const one = assess(lines, [all('s1', full), all('s2'), all('s3')]);
    expect(one.level).toBe('degraded');
    expect(
      assess(
        lines,
        VOTERS.map((server) => all(server, full)),
      ).level,
    ).toBe('not serving');
    expect(
      assess(
        lines,
        VOTERS.map((server) => all(server)),
      ).level,
    ).toBe('healthy');
  });

  it('of a server whose replica cannot start say why it is missing', () => {
    const lines = [line('s1'), line('s2')];
    const stuck = failing('replica', 'running', 'the replica cannot start: EACCES', 'mend it');
    const health = assess(lines, [all('s1'), all('s2'), all('s3', stuck)]);
    expect(health.missing).toEqual(['s3']);
    expect(health.problems).toEqual([
      expect.stringMatching(/^s3 replica: the replica cannot start: EACCES .*mend it$/),
    ]);
    expect(statusJson(lines, health, [all('s3', stuck)])).toMatchObject({ servers: [{}, {}, { server: 's3' }] });
  });

  it('fit into 80 columns', () => {
    const long = failing('merger', 'publish', 'word '.repeat(60).trim(), 'make room');
    const text = statusTable([line('s1')], assess([line('s1')], [all('s1', long)]));
    expect(Math.max(...text.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(80);
  });
});

describe('a service that stands still', () => {
  const at = (position: number, stillMs: number): ServiceHealth => ok('applier', { position, stillMs });

  it('is found by two looks, when others are further and it says nothing itself', () => {
    const before = [all('s1', at(10, 9_000)), all('s2', at(50, 100))];
    const now = [all('s1', at(10, 10_000)), all('s2', at(60, 50))];
    expect(suspects(before)).toEqual([{ server: 's1', service: 'applier', position: 10 }]);
    expect(standing(before, now)).toEqual([expect.stringMatching(/^s1 applier: it stands still at 10, .* at 50;/)]);
    expect(assess([], now, before).problems.join()).toContain('s1 applier: it stands still');
  });

  it('is none of no group: it has nothing to move on with', () => {
    const lines = [line('s1'), line('s2'), line('s3')];
    const [was, is] = [9_000, 10_000].map((stillMs) => [
      ...['s1', 's2', 's3'].map((server) => all(server, at(50, 100))),
      all('s9', at(10, stillMs)),
    ]);
    expect(assess(lines, is, was).problems).toEqual([]);
    expect(assess(lines, is?.slice(0, 3), was?.slice(0, 3)).problems).toEqual([]);
  });

  it('is none that moves, that is as far as the others were, that is idle with them, or that has told why', () => {
    const before = [all('s1', at(10, 9_000)), all('s2', at(50, 100))];
    expect(standing(before, [all('s1', at(11, 0)), all('s2', at(60, 50))])).toEqual([]);
    const idle = [all('s1', at(50, 9_000)), all('s2', at(50, 9_000))];
    expect(standing(idle, idle)).toEqual([]);
    const moved = [all('s1', at(50, 9_000)), all('s2', at(51, 10))];
    expect(standing(idle, moved)).toEqual([]);
    const told = { ...failing('applier', 'database', 'away', 'see'), position: 10, stillMs: 9_000 };
    expect(suspects([all('s1', told), all('s2', at(50, 100))])).toEqual([]);
  });
});
