/**
 * What replica, merger and applier record of an entry, and that they do nothing for one that is not
 * sampled.
 */
import { InMemorySpanExporter, type ReadableSpan } from '@opentelemetry/sdk-trace-base';
import { expect, it } from 'vitest';
import { CallRecorder } from '../../../services/applier/call-recorder.js';
import { ApplierTracing } from '../../../services/applier/tracing.js';
import { MergerTracing } from '../../../services/merger/tracing.js';
import type { ClientCommand } from '../../../services/replica/commands.js';
import { ReplicaTracing } from '../../../services/replica/tracing.js';
import type { Applied, MergedCommand } from '../../../shared/engine/port.js';
import { Merge, mergeStart } from '../../../shared/merge/merge.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import { databaseAttributes } from '../../../shared/telemetry/conventions.js';
import { formatOrigin, parseOrigin } from '../../../shared/telemetry/traceparent.js';
import { createTracing, type Tracing } from '../../../shared/telemetry/tracing.js';
import { encodeCommand } from '../../../shared/wire/command.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const COMMAND = `00-${TRACE}-00f067aa0ba902b7-01`;
const ORIGIN = { receivedUs: 1_000, callerSpanId: 'b7ad6b7169203331', isAppliers: true, subject: 'craft.cmd.kv.put' };
const FIELDS = {
  name: 'kv.put',
  payload: Buffer.from('{}'),
  id: '',
  server: 's1',
  reply: '_INBOX.x',
  replyFormat: 'json',
} as const;

/** Fails the test when anything is done with it. */
const UNTOUCHED: Tracing = {
  enabled: true,
  begin: () => expect.unreachable('begin'),
  recordSpan: () => expect.unreachable('recordSpan'),
  recordAs: () => expect.unreachable('recordAs'),
  serverOf: () => expect.unreachable('serverOf'),
  stop: () => Promise.resolve(),
};
const NO_CLOCK = () => expect.unreachable('the clock');

function entry(index: number, timestamp: number, traceparent: string): LogEntry {
  const { command } = EntryKind;
  const body = encodeCommand({ ...FIELDS, traceparent });
  return { index, term: 1, timestamp, kind: command, bytes: encodeEntry(1, timestamp, command, body) };
}

function merged(mergedIndex: number, traceparent: string): MergedCommand {
  const traceOrigin = traceparent === '' ? '' : formatOrigin(ORIGIN);
  return { ...FIELDS, mergedIndex, group: 0, index: mergedIndex, term: 1, timestamp: 2_000, traceparent, traceOrigin };
}

function done(commands: readonly MergedCommand[], outcome: Applied['outcome'] = { ok: true, json: 'null' }) {
  const applied = commands.map(({ mergedIndex, group, timestamp }) => ({
    mergedIndex,
    group,
    timestamp,
    outcome,
    duplicate: false,
  }));
  return { applied, checkpoints: [], resultsChecksum: '' };
}

function group(role: 'leader' | 'follower', watermark: number, term = 1) {
  return { role, watermark, termAt: () => term };
}

/** Runs `work` with real tracing, and gives what it recorded. */
async function recorded(work: (tracing: Tracing) => void): Promise<ReadableSpan[]> {
  const exporter = new InMemorySpanExporter();
  let spans: ReadableSpan[] = [];
  const tracing = createTracing({
    service: 'test',
    server: 's1',
    cluster: 'craft',
    exporter: {
      export: (batch, callback) => exporter.export(batch, callback),
      shutdown: () => {
        spans = exporter.getFinishedSpans();
        return exporter.shutdown();
      },
    },
  });
  work(tracing);
  await tracing.stop();
  return spans;
}

const named = (spans: readonly ReadableSpan[], name: string) => spans.filter((span) => span.name.startsWith(name));

it('an entry that is not sampled costs neither a span nor a look at the clock', () => {
  const plain = [entry(1, 10, ''), entry(2, 20, '')];
  const replica = new ReplicaTracing(UNTOUCHED, 'craft.rpc.s1', [group('leader', 0)]);
  expect(replica.onWrite({ groups: [{ group: 0, entries: plain }] })).toBeUndefined();
  replica.onTurn();

  const merger = new MergerTracing(UNTOUCHED, NO_CLOCK);
  const merge = new Merge(mergeStart(1));
  merge.add(0, plain, 20);
  merger.fed([{ group: 0, entries: plain, watermark: 20 }]);
  const run = merge.emit(10, 1_000);
  if (run === null) throw new Error('two entries have their places');
  merger.emitted(run);

  const commands = [merged(1, ''), merged(2, '')];
  const applier = new ApplierTracing(UNTOUCHED, 's1', () => 1);
  // One look a batch, whatever is in it.
  expect(applier.begins({ commands, checksum: '' })).toBeUndefined();
  applier.committed();
  applier.answered(commands, done(commands), true);
});

it('nothing is done with tracing that is off', () => {
  const replica = new ReplicaTracing({ ...UNTOUCHED, enabled: false }, 'craft.rpc.s1', [group('leader', 0)]);
  expect(replica.onWrite({ groups: [{ group: 0, entries: [entry(1, 10, COMMAND)] }] })).toBeUndefined();
});

it('an entry waits for each group whose watermark is before it, also its own, until that has passed', async () => {
  const groups = [group('follower', 10), group('follower', 5), group('follower', 99)];
  const spans = await recorded((tracing) => {
    const replica = new ReplicaTracing(tracing, 'craft.rpc.s1', groups);
    replica.onWrite({ groups: [{ group: 0, entries: [entry(1, 50, COMMAND)] }] })?.();
    replica.onTurn();
    groups[1] = group('follower', 60);
    replica.onTurn();
    groups[0] = group('follower', 50);
    replica.onTurn();
    replica.onTurn();
  });
  expect(spans.map(({ name }) => name)).toEqual(['craft.replicate', 'craft.wait group 1', 'craft.wait group 0']);
  const [replicate, ...waits] = spans;
  for (const wait of waits) expect(wait.parentSpanContext?.spanId).toBe(replicate?.parentSpanContext?.spanId);
});

it('an entry that another leader has replaced waits for nothing that is told of', async () => {
  const groups = [group('follower', 0)];
  const spans = await recorded((tracing) => {
    const replica = new ReplicaTracing(tracing, 'craft.rpc.s1', groups);
    replica.onWrite({ groups: [{ group: 0, entries: [entry(1, 50, COMMAND)] }] })?.();
    groups[0] = group('follower', 60, 2);
    replica.onTurn();
  });
  expect(spans.map(({ name }) => name)).toEqual(['craft.replicate']);
});

function placed(tracing: Tracing, acknowledgement: 'applied' | 'committed') {
  const span = tracing.begin('craft.command', 'kv.put', COMMAND, 1_000);
  const command = { name: 'kv.put', acknowledgement, span, receivedUs: 1_000, subject: 'craft.cmd.kv.put' };
  return { command: command as unknown as ClientCommand, index: 1, term: 1, timestamp: 2_000 };
}

it.each([
  ['replaced', 'applied', 'NOT_LEADER', true],
  ['unknown', 'committed', 'TIMEOUT_UNKNOWN', true],
  // It may be applied yet: its applier ends the command then.
  ['unknown', 'applied', 'TIMEOUT_UNKNOWN', false],
] as const)('a lost leadership is an event of the commit: %s, %s', async (outcome, acknowledgement, error, isEnded) => {
  const spans = await recorded((tracing) => {
    const replica = new ReplicaTracing(tracing, 'craft.rpc.s1', [group('follower', 0)]);
    replica.onFailed(0, placed(tracing, acknowledgement), outcome);
  });
  const [commit] = named(spans, 'craft.commit');
  expect(commit?.attributes['error.type']).toBe(error);
  expect(commit?.events.map(({ name }) => name)).toEqual(['craft.leader_changed']);
  expect(named(spans, 'craft.command').map(({ attributes }) => attributes['error.type'])).toEqual(
    isEnded ? [error] : [],
  );
});

it.each([
  ['leader', []],
  ['follower', ['craft.leader_changed']],
] as const)('a commit that a %s reports has these events: %j', async (role, events) => {
  const spans = await recorded((tracing) => {
    const replica = new ReplicaTracing(tracing, 'craft.rpc.s1', [group(role, 0)]);
    replica.onCommitted(0, placed(tracing, 'committed'));
  });
  const found = named(spans, 'craft.commit')[0]?.events ?? [];
  expect(found.map(({ name }) => name)).toEqual(events);
  for (const { attributes } of found) expect(attributes).toEqual({ 'craft.group': 0 });
});

it('tries of a batch that failed are events of one apply span, which begins with the first', async () => {
  const commands = [merged(7, COMMAND)];
  const batch = { commands, checksum: '' };
  let nowUs = 10_000;
  const spans = await recorded((tracing) => {
    const applier = new ApplierTracing(tracing, 's1', () => nowUs++);
    applier.begins({ commands: [merged(6, COMMAND)], checksum: '' });
    applier.failed(new Error('of a batch that was given up'));
    applier.begins(batch);
    applier.failed(Object.assign(new Error('away'), { code: 'CONNECTION_LOST' }));
    const onCall = applier.begins(batch);
    onCall?.({ text: 'update craft.position set x = $1', startUs: nowUs, endUs: nowUs });
    applier.committed();
    applier.answered(commands, done(commands, { ok: false, message: 'no', failed: true }), true);
  });
  const [apply] = named(spans, 'craft.apply');
  expect(apply?.events).toMatchObject([
    { name: 'craft.retry', attributes: { 'error.type': 'CONNECTION_LOST', 'exception.message': 'away' } },
  ]);
  expect(apply?.startTime).toEqual([0, 10_002_000]);
  const [command] = named(spans, 'craft.command');
  expect(command?.spanContext()).toMatchObject({ traceId: TRACE, spanId: '00f067aa0ba902b7' });
  expect(command?.parentSpanContext?.spanId).toBe(ORIGIN.callerSpanId);
  expect(command?.attributes).toMatchObject({ 'error.type': 'INTERNAL', 'craft.ack': 'applied' });
  // It is found with the others of the service that received it.
  expect(command?.resource.attributes['service.name']).toBe('craft-replica');
  expect(apply?.resource.attributes['service.name']).toBe('craft-test');
  // The span of the server has the id that its replica and its merger derive, too.
  expect(named(spans, 'craft.server s1')[0]?.spanContext().spanId).toBe(apply?.parentSpanContext?.spanId);
  expect(named(spans, 'UPDATE craft.position')[0]?.parentSpanContext?.spanId).toBe(apply?.spanContext().spanId);
});

it('a command waits from when it is read; it does not when it is read again while its batch is under way', async () => {
  const commands = [merged(1, COMMAND)];
  const merge = new Merge(mergeStart(1));
  merge.add(0, [entry(1, 2_000, COMMAND)], 2_000);
  const run = merge.emit(1, 1_000);
  if (run === null) throw new Error('the entry has its place');
  let nowUs = 10_000;
  const spans = await recorded((tracing) => {
    const applier = new ApplierTracing(tracing, 's1', () => nowUs++);
    applier.arrived([run]);
    for (const isAgain of [false, true]) {
      applier.begins({ commands, checksum: '' });
      if (isAgain) applier.arrived([run]);
      applier.committed();
      applier.answered(commands, done(commands), true);
    }
  });
  expect(named(spans, 'craft.queue').map(({ startTime }) => startTime)).toEqual([[0, 10_000_000]]);
});

it('another server, and an entry of an older version, leave the span of the command alone', async () => {
  const own = merged(7, COMMAND);
  const spans = await recorded((tracing) => {
    const applier = new ApplierTracing(tracing, 's1', () => 10_000);
    for (const command of [
      { ...own, server: 's2' },
      { ...own, traceOrigin: '' },
    ]) {
      applier.begins({ commands: [command], checksum: '' });
      applier.committed();
      applier.answered([command], done([command]), true);
    }
  });
  // By their beginnings: the commit, the server that led the entry, the others.
  const starts = named(spans, 'craft.server s1').map(({ startTime }) => startTime);
  expect(starts).toEqual([
    [0, (ORIGIN.receivedUs + 2) * 1_000],
    [0, 2_001_000],
  ]);
  expect([...named(spans, 'craft.command'), ...named(spans, 'craft.answer')]).toEqual([]);
});

it('results of a state that is not to be trusted are told as unknown', async () => {
  const commands = [merged(7, COMMAND)];
  const spans = await recorded((tracing) => {
    const applier = new ApplierTracing(tracing, 's1', () => 10_000);
    applier.begins({ commands, checksum: '' });
    applier.committed();
    applier.answered(commands, done(commands), false);
  });
  expect(named(spans, 'craft.command')[0]?.attributes['error.type']).toBe('TIMEOUT_UNKNOWN');
});

it('calls to the database beyond a bound are one span that says how many', () => {
  const calls = new CallRecorder();
  for (let at = 0; at < 100; at++) calls.add({ text: 'select 1', startUs: at, endUs: at + 1 });
  const told: unknown[] = [];
  calls.each((call, count) => told.push([call.startUs, call.endUs, count]));
  expect(told).toHaveLength(33);
  expect(told.at(-1)).toEqual([32, 100, 68]);
  expect(databaseAttributes({ text: 'select 1', startUs: 0, endUs: 1 }, 68)).toMatchObject({
    label: 'BATCH',
    more: { 'db.operation.name': 'BATCH', 'db.operation.batch.size': 68 },
  });
});

it.each([
  ['begin isolation level read committed; set local synchronous_commit = off', 'BEGIN'],
  ['commit', 'COMMIT'],
  ['savepoint craft_1', 'SAVEPOINT'],
  ['select key, version from public.kv where key = any($1)', 'SELECT public.kv'],
  ['insert into "accounts" ("id") values ($1)', 'INSERT "accounts"'],
  ['-- why\n delete from kv', 'DELETE kv'],
  ['', 'STATEMENT'],
])('a statement has the name of its operation and what that is on: %s', (text, label) => {
  expect(databaseAttributes({ text, startUs: 0, endUs: 0 }).label).toBe(label);
});

it('a failed statement has its SQLSTATE', () => {
  expect(databaseAttributes({ text: 'commit', startUs: 0, endUs: 0, error: '40001' })).toMatchObject({
    error: '40001',
    more: { 'db.response.status_code': '40001' },
  });
});

it('the origin of a trace comes out as it went in; what is none is undefined', () => {
  expect(parseOrigin(formatOrigin(ORIGIN))).toEqual(ORIGIN);
  const root = { ...ORIGIN, callerSpanId: '', isAppliers: false, subject: 'craft.cmd.a,b' };
  expect(parseOrigin(formatOrigin(root))).toEqual(root);
  for (const text of ['', 'x', '1,2,3', '1,00f067aa0ba902b7,2,x']) expect(parseOrigin(text)).toBeUndefined();
});
