/**
 * The NATS client holds whatever has come for a subscription that is read slowly, in memory,
 * without a bound and without a word.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from 'nats';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MergedLogReader } from '../../services/applier/stream.js';
import { Merge, mergeStart } from '../../shared/merge/merge.js';
import { EntryKind } from '../../shared/raft/entry.js';
import { watchNats } from '../../shared/telemetry/nats-watch.js';
import { encodeCommand } from '../../shared/wire/command.js';
import { encodeEntry } from '../../shared/wire/entry-block.js';
import { encodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { eventually, startTestNats, type TestNats } from '../harness/index.js';

const MIB = 1024 * 1024;
const STREAM = 'SLOW';
const MESSAGES = 64;
/** One piece (services/applier/stream.ts), and the message that goes beyond it. */
const PIECE_BYTES_MAX = 2 * MIB;

let nats: TestNats;
beforeAll(async () => {
  nats = await startTestNats();
});
afterAll(() => nats?.stop());

it('pitfall: slow subscriber: whoever applies slowly is sent a bounded part of the merged log ahead', async () => {
  const connection = await connect({ servers: nats.url });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: STREAM, subjects: ['slow'], allow_direct: true });
  const payload = Buffer.from(JSON.stringify({ key: 'k', value: 'x'.repeat(MIB / 2) }));
  const command = {
    name: 'kv.put',
    payload,
    id: '',
    server: '',
    reply: '',
    traceparent: '',
    replyFormat: 'json' as const,
  };
  const merge = new Merge(mergeStart(1));
  const entries = Array.from({ length: MESSAGES }, (_, at) => {
    const bytes = encodeEntry(1, at + 1, EntryKind.command, encodeCommand(command));
    return { index: at + 1, term: 1, timestamp: at + 1, kind: EntryKind.command, bytes };
  });
  merge.add(0, entries, MESSAGES);
  let bytesEach = 0;
  for (let run = merge.emit(1, MIB); run !== null; run = merge.emit(1, MIB)) {
    const message = encodeMergedBatch(run);
    bytesEach = message.length;
    await jetstream(connection).publish('slow', message);
  }
  expect(bytesEach * MESSAGES).toBeGreaterThan(8 * PIECE_BYTES_MAX);

  const slow = await connect({ servers: nats.url });
  const reader = new MergedLogReader({
    connection: slow,
    stream: STREAM,
    subject: 'slow',
    warn: () => undefined,
    onReadable: () => undefined,
  });
  expect(await reader.seek(1)).toMatchObject({ firstMergedIndex: 1 });
  let read = 0;
  for (let isEnd = false; !isEnd; ) {
    const before = slow.stats().inBytes;
    const piece = await reader.read();
    await slow.flush();
    expect(slow.stats().inBytes - before).toBeLessThan(PIECE_BYTES_MAX);
    expect(piece.runs[0]?.firstMergedIndex).toBe(read + 1);
    read = piece.runs[piece.runs.length - 1]?.after.mergedIndex ?? read;
    isEnd = piece.isEnd;
  }
  expect(read).toBe(MESSAGES);
  expect(await reader.read()).toEqual({ runs: [], isEnd: true });
  expect([await reader.reaches(MESSAGES), await reader.reaches(MESSAGES + 1)]).toEqual([true, false]);
  await slow.close();
  await connection.close();
}, 60_000);

it('pitfall: slow subscriber: one that has a limit is said aloud, and so is a connection that is lost', async () => {
  const said: { kind: string; detail: unknown }[] = [];
  const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 });
  void watchNats(connection, (kind, detail) => said.push({ kind, detail }));
  const unread = connection.subscribe('unread', { slow: 2 });
  for (let n = 0; n < 5; n++) connection.publish('unread');
  await connection.flush();
  await eventually('the slow one is named', () => said.length > 0);
  expect(said[0]).toMatchObject({ kind: 'a subscription is read too slowly', detail: { subject: 'unread' } });
  unread.unsubscribe();
  await nats.kill('SIGKILL');
  await nats.restart();
  await eventually('the way back', () => said.some(({ kind }) => kind === 'connected to NATS again'));
  expect(said.map(({ kind }) => kind)).toContain('the connection to NATS is lost');
  await connection.close();
});

it('pitfall: slow subscriber: every core subscription of the services takes messages as they come, and none waits in a queue of the client', () => {
  const files = ['services', 'shared'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => join(folder, file)),
  );
  const subscriptions = files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      readFileSync(file, 'utf8')
        .split(/\.subscribe\(/)
        .slice(1)
        .map((rest) => ({ file, rest })),
    );
  expect(subscriptions.length).toBeGreaterThan(5);
  // An own method of that name takes nothing; a subscription of NATS has its options, with the
  // callback, right behind the subject.
  const queued = subscriptions.filter(
    ({ rest }) => !rest.startsWith(')') && !/^[^;]*?\{\s*(queue: \w+,\s*)?callback\b/.test(rest),
  );
  expect(queued.map(({ file, rest }) => `${file}: ${rest.slice(0, 60)}`)).toEqual([]);
});
