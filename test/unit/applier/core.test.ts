/** Single decisions of the applier core; runs of all of it are the simulator's. */
import { expect, it } from 'vitest';
import { ApplierCore } from '../../../services/applier/core/applier.js';
import type { Effect } from '../../../services/applier/core/effect.js';
import { batchFailure } from '../../../services/applier/engine-worker.js';
import { DamagedError } from '../../../shared/engine/port.js';
import { encodeVerify, VERIFY_COMMAND } from '../../../shared/engine/verify.js';
import { Merge, mergeStart } from '../../../shared/merge/merge.js';
import { InvariantError } from '../../../shared/raft/assert.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import { encodeCommand } from '../../../shared/wire/command.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { MACHINE_COMMAND, type MachineInput } from '../../../shared/wire/machine.js';
import { RESTORE_COMMAND } from '../../../shared/wire/restore.js';

const START = { ...mergeStart(1), timestamp: 0, resultsChecksum: '0'.repeat(16), positions: [] };
const QUEUE = { batchCommandsMax: 10, batchBytesMax: 1_000_000, queuedCommandsMax: 100, queuedBytesMax: 1_000_000 };
const SNAPSHOTS = { entries: 1_000, bytes: 1_000_000, ageMs: 1_000_000 };

type Command = readonly [name: string, payload: Uint8Array];

function entry(index: number, [name, payload]: Command): LogEntry {
  const fields = { id: '', server: 's1', reply: 'inbox', traceparent: '', replyFormat: 'json' } as const;
  const body = encodeCommand({ name, payload, ...fields });
  const { command } = EntryKind;
  return { index, term: 1, timestamp: index, kind: command, bytes: encodeEntry(1, index, command, body) };
}

/**
 * A core of server s1 that has been given these commands, and what it has wanted done since then.
 */
function given(
  commands: readonly Command[],
  divergence?: string,
  versions: readonly number[] = [1],
): { core: ApplierCore; effects: Effect[] } {
  const servers = ['s1', 's2', 's3'];
  const options = {
    server: 's1',
    servers,
    groups: 1,
    machine: { name: 'kv', versions },
    queue: QUEUE,
    snapshots: SNAPSHOTS,
    verifyEveryMs: 600_000,
  };
  const core = new ApplierCore({ ...options, random: () => 0.5 }, { position: START, divergence }, 0);
  core.advance(0);
  const seek = core.run().find(({ type }) => type === 'seek');
  const id = seek?.type === 'seek' ? seek.id : -1;
  core.stream.placed(id, { firstMergedIndex: 1 });
  core.run();
  const merge = new Merge(mergeStart(1));
  merge.add(
    0,
    commands.map((command, at) => entry(at + 1, command)),
    commands.length,
  );
  const run = merge.emit(100, 1_000_000);
  core.stream.read(id, { runs: run === null ? [] : [run], isEnd: true });
  return { core, effects: core.run() };
}

/** The batch that is wanted is applied; what is wanted then. */
function applied(core: ApplierCore, effects: readonly Effect[], version?: number): Effect[] {
  const apply = effects.find(({ type }) => type === 'apply');
  if (apply?.type !== 'apply') throw new Error(`nothing to apply: ${effects.map(({ type }) => type)}`);
  const outcome = { ok: true, json: 'null' } as const;
  const all = apply.batch.commands.map(({ mergedIndex, group, timestamp }) => {
    return { mergedIndex, group, timestamp, outcome, duplicate: false };
  });
  const switched = version === undefined ? {} : { version };
  core.applied({ applied: all, checkpoints: [], resultsChecksum: '1'.repeat(16), ...switched });
  return core.run();
}

it.each([
  ['ends with a broken invariant', new InvariantError('no outcome of merged index 1'), 'fatal'],
  ['tries a batch again after what may pass', new Error('the disk is full'), 'trouble'],
])('%s of the engine', (_, error, type) => {
  const { core } = given([['kv.put', new Uint8Array(0)]]);
  core.engineFailed(error);
  expect(core.run()).toContainEqual(expect.objectContaining({ type, error }));
});

it('waits for the next try after a failure, though more has come meanwhile', () => {
  const { core, effects } = given(Array.from({ length: 12 }, (): Command => ['kv.put', new Uint8Array(0)]));
  expect(effects).toContainEqual(expect.objectContaining({ type: 'apply' }));
  core.advance(1_000);
  core.engineFailed(new Error('the disk is full'));
  core.run();
  expect(core.nextWakeMs).toBeGreaterThan(1_010);
});

it('names the batch that will be tried again, for the log', () => {
  const { core } = given([
    ['kv.put', new Uint8Array(0)],
    ['kv.delete', new Uint8Array(0)],
  ]);
  core.engineFailed(new Error('the disk is full'));
  const trouble = core.run().find((effect) => effect.type === 'trouble');
  expect(trouble?.batch).not.toBeNull();
  if (trouble?.batch == null) return;
  const { message } = batchFailure(trouble.batch, trouble.error);
  expect(message).toBe('applying merged index 1 to 2 (kv.put) failed: the disk is full');
});

it('trusts the state of a restored file, whatever the state was before, and says so to who wanted it', () => {
  const payload = Buffer.from(JSON.stringify({ object: 'file', digest: 'digest', replace: true }));
  const { core, effects } = given([[RESTORE_COMMAND, payload]], 'other rows');
  expect(core.refusal).toContain('other rows');
  expect(applied(core, effects)).toContainEqual(expect.objectContaining({ type: 'answer', isTrusted: true }));
  expect(core).toMatchObject({ refusal: undefined, divergence: undefined });
});

it('saves no snapshot at a mark at which it has no vote: it could never count', () => {
  const { core, effects } = given([
    [VERIFY_COMMAND, encodeVerify({})],
    [VERIFY_COMMAND, encodeVerify({ snapshotBy: 's1' })],
  ]);
  const begun = applied(core, effects);
  expect(begun).toContainEqual({ type: 'begin', mark: 1, save: false });
  expect(core.verifyingAt).toBe(1);
  core.begun({ ...START, mergedIndex: 1 });
  const second = applied(core, core.run());
  expect(second.filter(({ type }) => type === 'begin')).toEqual([]);
  expect(core.isAtRest).toBe(false);
  core.verified(1, '2'.repeat(16));
  core.run();
  expect(core.isAtRest).toBe(true);
});

it('offers to take the snapshot that is wanted, unless it cannot even apply what comes', () => {
  const { core, effects } = given([['kv.put', Buffer.from('{}')]]);
  const asked = (atMs: number) => {
    core.advance(atMs);
    return core.run().filter(({ type }) => type === 'ask-verify');
  };
  const listed = (atMs: number) => {
    core.advance(atMs);
    core.bucket.listed([]);
    core.run();
  };
  applied(core, effects);
  listed(1);
  core.advance(2_000);
  const look = core.run().find(({ type }) => type === 'look');
  core.lookFailed(look?.type === 'look' ? look.id : -1, new DamagedError('a table is missing'));
  core.wantSnapshot();
  for (let atMs = 2_000; atMs < 5_000; atMs += 500) expect(asked(atMs)).toEqual([]);
  core.installed({ ...START, mergedIndex: 1 });
  core.run();
  asked(5_000);
  expect(asked(6_000)).toEqual([{ type: 'ask-verify', save: true }]);
});

/** What a core of s1 wants done about one put that s2 answers, or this server. */
function queued(server: string, reply: string): { core: ApplierCore; types: () => string[] } {
  const { core } = given([]);
  const fields = { id: '', server, reply, traceparent: '', replyFormat: 'json' } as const;
  const body = encodeCommand({ name: 'kv.put', payload: Buffer.from('{"key":"k","value":1}'), ...fields });
  const { command } = EntryKind;
  const merge = new Merge(mergeStart(1));
  merge.add(0, [{ index: 1, term: 1, timestamp: 1, kind: command, bytes: encodeEntry(1, 1, command, body) }], 1);
  const run = merge.emit(100, 1_000_000);
  core.stream.followed(1, run === null ? [] : [run]);
  return { core, types: () => core.run().flatMap(({ type }) => (type === 'apply' ? [type] : [])) };
}

it('applies at once what a client waits for here, and lets other commands collect for a moment', () => {
  expect(queued('s1', 'inbox').types()).toEqual(['apply']);
  for (const { core, types } of [queued('s2', 'inbox'), queued('s1', '')]) {
    expect(types()).toEqual([]);
    expect(core.nextWakeMs).toBe(10);
    core.advance(9);
    expect(types()).toEqual([]);
    core.advance(10);
    expect(types()).toEqual(['apply']);
  }
});

it('applies at once what a read waits for', () => {
  const { core, types } = queued('s2', 'inbox');
  expect(types()).toEqual([]);
  core.setAwaited(true);
  expect(types()).toEqual(['apply']);
});

// Versions of the state machine (T12).

const PUT: Command = ['kv.put', Buffer.from('{}')];
const switchTo = (version: number, more: Partial<MachineInput> = {}): Command => [
  MACHINE_COMMAND,
  Buffer.from(JSON.stringify({ name: 'kv', version, ...more })),
];
const placesOf = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => (effect.type === 'apply' ? [effect.batch.commands.map((one) => one.mergedIndex)] : []));
const saidOf = (effects: readonly Effect[]) => effects.filter(({ type }) => type === 'waiting' || type === 'version');

it('applies a switch as a batch of its own, says so, and wants a snapshot of after it', () => {
  const { core, effects } = given([PUT, PUT, switchTo(2), PUT], undefined, [1, 2]);
  expect(placesOf(effects)).toEqual([[1, 2]]);
  const second = applied(core, effects);
  expect(placesOf(second)).toEqual([[3]]);
  expect(core.version).toBe(1);
  const third = applied(core, second, 2);
  expect([core.version, saidOf(third), placesOf(third)]).toEqual([2, [{ type: 'version', version: 2 }], [[4]]]);
  applied(core, third);
  core.bucket.listed([]);
  core.run();
  const asked: Effect[] = [];
  for (let atMs = 500; atMs <= 20_000; atMs += 500) {
    core.advance(atMs);
    asked.push(...core.run());
  }
  expect(asked).toContainEqual({ type: 'ask-verify', save: true });
});

it('waits before a switch to a version that it has not, whatever comes after it, and says for what', () => {
  const { core, effects } = given([PUT, switchTo(2), PUT, [VERIFY_COMMAND, encodeVerify({})]]);
  const waiting = applied(core, effects);
  expect(placesOf(waiting)).toEqual([]);
  expect(saidOf(waiting)).toEqual([
    { type: 'waiting', reason: expect.stringMatching(/merged index 2 for version 2/) as unknown },
  ]);
  expect(core.waiting).toMatch(/version 2/);
  for (let atMs = 1_000; atMs < 60_000; atMs += 1_000) {
    core.advance(atMs);
    expect(placesOf(core.run())).toEqual([]);
    // It does not look again and again meanwhile.
    expect(core.nextWakeMs).toBeGreaterThan(atMs + 100);
  }
  expect(core.appliedIndex).toBe(1);
});

it('does not wait for what every server refuses: backwards, of another name, in force already', () => {
  const { core, effects } = given([switchTo(1), switchTo(7, { name: 'bank' }), PUT], undefined, [1]);
  let next = effects;
  for (const place of [1, 2, 3]) {
    expect(placesOf(next)).toEqual([[place]]);
    next = applied(core, next);
  }
});

it('goes on from a snapshot of after the switch when it has not got the version before', () => {
  const { core, effects } = given([[VERIFY_COMMAND, encodeVerify({})], PUT, switchTo(2)], undefined, [2]);
  // What needs no code of the machine is applied.
  expect(placesOf(effects)).toEqual([[1]]);
  core.advance(1);
  let next = applied(core, effects);
  core.begun({ ...START, mergedIndex: 1 });
  core.verified(1, '2'.repeat(16));
  next = [...next, ...core.run()];
  expect(placesOf(next)).toEqual([]);
  expect(core.waiting).toMatch(/merged index 2 for version 1/);
  const snapshot = (mergedIndex: number, version: number) => ({
    name: `at ${mergedIndex}`,
    server: 's2',
    position: { ...START, mergedIndex, version },
    bytes: 0,
    confirmed: true,
  });
  core.advance(2_001);
  core.run();
  // Of one with a version that it has not, either, nothing could go on.
  core.bucket.listed([snapshot(3, 2), snapshot(9, 3)]);
  const install = core.run().find(({ type }) => type === 'install');
  expect(install).toMatchObject({ snapshot: { name: 'at 3' } });
  core.installed({ ...START, mergedIndex: 3, version: 2 });
  expect(saidOf(core.run())).toEqual([
    { type: 'waiting', reason: undefined },
    { type: 'version', version: 2 },
  ]);
  expect([core.version, core.waiting]).toEqual([2, undefined]);
});

it('begins a new log with its newest version when it has not got the first one', () => {
  const { core, effects } = given([], undefined, [3, 4]);
  expect(effects.filter(({ type }) => type === 'ask-machine')).toEqual([]);
  core.advance(3_000);
  expect(core.run()).toContainEqual({ type: 'ask-machine', version: 4 });
  const other = given([PUT], undefined, [3, 4]);
  other.core.advance(3_000);
  expect(other.core.run().filter(({ type }) => type === 'ask-machine')).toEqual([]);
});
