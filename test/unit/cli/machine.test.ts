/** What `craft machine` makes of what servers say of their versions (T12). */
import { expect, it } from 'vitest';
import { newerVersion } from '../../../services/cli/machine.js';
import { machineProblems } from '../../../services/cli/machine-problems.js';
import { statusTable } from '../../../services/cli/status.js';
import type { ServerStatus } from '../../../shared/client/index.js';

function server(
  name: string,
  version: number,
  loaded: Readonly<Record<number, string>>,
  machine = 'bank',
): ServerStatus {
  const versions = Object.entries(loaded).map(([number, fingerprint]) => ({ version: Number(number), fingerprint }));
  const state = { server: name, appliedIndex: 1, ok: true, machine: { name: machine, version, loaded: versions } };
  return { server: name, groups: [], state };
}

const silent: ServerStatus = { server: 's9', groups: [] };

it('says nothing of servers that fit together, also in the middle of a rolling upgrade', () => {
  const all = [server('s1', 1, { 1: 'a' }), server('s2', 1, { 1: 'a', 2: 'b' }), silent];
  expect(machineProblems(all)).toEqual([]);
});

it('tells two builds of one version, and several machines', () => {
  const builds = machineProblems([
    server('s1', 1, { 1: 'a', 2: 'b' }),
    server('s2', 1, { 1: 'a', 2: 'c' }),
    server('s3', 1, { 1: 'a', 2: 'b' }),
  ]);
  expect(builds).toEqual([
    expect.stringMatching(/^version 2 of bank is not the same everywhere \(s1, s3: b; s2: c\)/) as unknown,
  ]);
  const machines = [server('s1', 1, { 1: 'a' }), server('s2', 1, { 1: 'x' }, 'shop')];
  expect(machineProblems(machines)).toEqual(['the servers have several state machines: bank, shop']);
});

it('finds the newest version that all have, where it is not in force everywhere', () => {
  expect(newerVersion([server('s1', 1, { 1: 'a' }), server('s2', 1, { 1: 'a' })])).toBeUndefined();
  expect(newerVersion([server('s1', 1, { 1: 'a', 2: 'b' }), server('s2', 1, { 1: 'a' })])).toBeUndefined();
  expect(newerVersion([server('s1', 2, { 1: 'a', 2: 'b' }), server('s2', 1, { 1: 'a', 2: 'b', 3: 'c' })])).toBe(2);
  expect(newerVersion([server('s1', 1, { 2: 'b', 3: 'c' }), server('s2', 1, { 3: 'c' })])).toBe(3);
  expect(newerVersion([server('s1', 1, { 2: 'b' }), silent])).toBeUndefined();
  expect(newerVersion([])).toBeUndefined();
});

it('is told by craft status', () => {
  const all = [server('s1', 1, { 1: 'a' }), server('s2', 1, { 1: 'b' })].map((one) => ({ ...one, mergedIndex: 1 }));
  expect(statusTable(all)).toMatch(/^version 1 of bank is not the same everywhere/m);
});
