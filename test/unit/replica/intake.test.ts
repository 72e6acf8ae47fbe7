/**
 * What clients send takes little of a round of the event loop, waits in bounded room, and is shed
 * unread beyond that.
 */
import type { Msg, NatsConnection } from '@nats-io/nats-core';
import { beforeEach, describe, expect, it } from 'vitest';
import { type ClientCommand, Ingress } from '../../../services/replica/commands.js';
import type { Acknowledgement, CommandRefusal } from '../../../services/replica/core/effect.js';
import {
  BUDGET_MS,
  Intake,
  LARGE_BYTES,
  ROUND_MS,
  WAITING_BYTES_MAX,
  WAITING_MAX,
} from '../../../services/replica/intake.js';
import { Admission } from '../../../shared/engine/admission.js';
import { loadStateMachine } from '../../../shared/engine/loading.js';
import { createTracing } from '../../../shared/telemetry/tracing.js';
import { encodeBatchCommand, encodeCommandBatch } from '../../../shared/wire/command-batch.js';
import { decodeReplyBatch } from '../../../shared/wire/reply-batch.js';
import { ReplyGuard } from '../../../shared/wire/reply-guard.js';
import { Subjects } from '../../../shared/wire/subjects.js';

let nowMs = 0;
let rounds: { readonly action: () => void; readonly atMs: number }[] = [];
let done: string[] = [];
let intake: Intake;

beforeEach(() => {
  [nowMs, rounds, done] = [0, [], []];
  intake = new Intake({
    nowMs: () => nowMs,
    defer: (action, afterMs) => rounds.push({ action, atMs: nowMs + afterMs }),
  });
});

function take(name: string, bytes = 100, costMs = 0): void {
  intake.take({
    bytes,
    run: () => {
      nowMs += costMs;
      done.push(name);
    },
    shed: () => done.push(`shed ${name}`),
  });
}

/** What one round of the event loop does, which comes when it is due. */
function round(): string[] {
  done = [];
  for (const { action, atMs } of rounds.splice(0)) {
    nowMs = Math.max(nowMs, atMs);
    action();
  }
  return done;
}

describe('an intake', () => {
  it('reads at once, and asks for no rounds when nothing comes', () => {
    for (const name of ['a', 'b', 'c']) take(name, LARGE_BYTES - 1, BUDGET_MS / 4);
    take('large', LARGE_BYTES, 0);
    expect(done).toEqual(['a', 'b', 'c', 'large']);
    expect(rounds).toEqual([]);
    take('d', 100, BUDGET_MS / 8);
    nowMs += ROUND_MS;
    for (const name of ['e', 'f', 'g']) take(name, 100, BUDGET_MS / 2);
    expect(done.slice(4)).toEqual(['d', 'e', 'f']);
    expect(rounds).toHaveLength(1);
    round();
    expect(done).toEqual(['g']);
  });

  it('reads nothing more in a round in which one message took longer than all of them may', () => {
    take('a', LARGE_BYTES, 3 * ROUND_MS);
    take('b', LARGE_BYTES, 3 * ROUND_MS);
    take('c');
    expect(done).toEqual(['a']);
    expect(round()).toEqual(['c']);
    expect(round()).toEqual(['b']);
    take('d');
    expect(done).toEqual(['b']);
    expect(round()).toEqual(['d']);
  });

  it('leaves to the next round what would take longer, in its order', () => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) take(name, 100, BUDGET_MS / 2);
    expect(done).toEqual(['a', 'b']);
    expect(round()).toEqual(['c', 'd']);
    take('f', 100, 0);
    expect(done).toEqual(['c', 'd']);
    expect(round()).toEqual(['e', 'f']);
    take('g');
    expect(done).toEqual(['e', 'f', 'g']);
    expect(rounds).toEqual([]);
  });

  it('reads small messages before large ones, which take half of the time, however many small ones come', () => {
    take('first', 100, BUDGET_MS);
    for (let at = 0; at < 3; at++) take(`large ${at}`, LARGE_BYTES, 2 * BUDGET_MS);
    for (let at = 0; at < 8; at++) take(`small ${at}`, 100, BUDGET_MS / 2);
    expect(round()).toEqual(['small 0', 'small 1', 'large 0']);
    expect(round()).toEqual(['small 2', 'small 3']);
    expect(round()).toEqual(['small 4', 'small 5', 'large 1']);
    expect(round()).toEqual(['small 6', 'small 7']);
    const beforeMs = nowMs;
    expect(round()).toEqual(['large 2']);
    expect(nowMs - beforeMs).toBe(BUDGET_MS + 2 * BUDGET_MS);
    expect(round()).toEqual([]);
    expect(rounds).toEqual([]);
  });

  it('reads small messages while large ones rest', () => {
    take('large 1', LARGE_BYTES, 3 * ROUND_MS);
    take('large 2', LARGE_BYTES, 3 * ROUND_MS);
    expect(round()).toEqual([]);
    take('small 1');
    nowMs += ROUND_MS;
    take('small 2', 100, BUDGET_MS);
    take('small 3');
    expect(done).toEqual(['small 1', 'small 2']);
    // The round of the large one is due later than that of the small one.
    expect(rounds.map(({ atMs }) => atMs - nowMs)).toEqual([3 * ROUND_MS - ROUND_MS - BUDGET_MS, 0]);
    done = [];
    rounds.pop()?.action();
    expect(done).toEqual(['small 3']);
    expect(round()).toEqual(['large 2']);
  });

  it('sheds what finds no room, and large messages do not take the room of small ones', () => {
    take('first', 100, BUDGET_MS);
    const size = 1024 * 1024;
    for (let bytes = 0; bytes < WAITING_BYTES_MAX; bytes += size) take('large', size);
    done = [];
    take('one more', size);
    expect(done).toEqual(['shed one more']);
    for (let at = 0; at < WAITING_MAX; at++) take('small');
    take('one more');
    expect(done).toEqual(['shed one more', 'shed one more']);
    expect(round()).toHaveLength(WAITING_MAX + WAITING_BYTES_MAX / size);
    take('again');
    expect(done.at(-1)).toBe('again');
  });

  it('says when it is empty', async () => {
    await intake.empty();
    take('a', 100, BUDGET_MS);
    take('b');
    let isEmpty = false;
    const waiting = intake.empty().then(() => {
      isEmpty = true;
    });
    await Promise.resolve();
    expect(isEmpty).toBe(false);
    round();
    await waiting;
    expect(done).toEqual(['b']);
  });
});

describe('a command for a group that takes none', async () => {
  const machine = new Admission(await loadStateMachine(undefined));
  const published: { subject: string; data: Uint8Array }[] = [];
  const connection = {
    publish: (subject: string, data: Uint8Array) => published.push({ subject, data }),
    info: { max_payload: 1_048_576 },
  } as unknown as NatsConnection;
  const message = (data: string | Uint8Array) => ({ data: Buffer.from(data), reply: '_INBOX.x' }) as unknown as Msg;
  const refused: string[] = [];
  const codes: string[] = [];
  let refusal: CommandRefusal = 'overloaded';
  let offered: readonly ClientCommand[] = [];
  const ingress = new Ingress(
    {
      server: 's1',
      replies: new ReplyGuard(new Subjects('craft'), '_INBOX_services', (reply) => refused.push(reply)),
      machine,
      payloadBytesMax: () => 1_000,
      refusal: (_, acknowledgement) => (refusal !== 'behind' || acknowledgement === 'applied' ? refusal : null),
      offer: (_, commands) => {
        if (refusal !== 'behind') throw new Error('offered');
        offered = commands;
        return commands.map(() => null);
      },
      onRefused: (code) => codes.push(code),
      onFailure: (what, error) => {
        throw new Error(what, { cause: error });
      },
    },
    connection,
    createTracing({ service: 'replica', server: 's1', cluster: 'craft' }),
  );
  const lastAnswer = () => JSON.parse(Buffer.from(published.at(-1)?.data ?? []).toString()) as unknown;

  it.each([
    ['overloaded', 'OVERLOADED'],
    ['not-leader', 'NOT_LEADER'],
  ] as const)('is refused before it is read: %s', (reason, code) => {
    refusal = reason;
    codes.length = 0;
    ingress.take(message('no JSON'), 'kv.put', 0, 0);
    expect(lastAnswer()).toMatchObject({ ok: false, error: { code } });
    expect(ingress.takeBatch(message('no batch'), 0, 0)).toBe(0);
    expect(decodeReplyBatch(published.at(-1)?.data ?? new Uint8Array()).error).toMatchObject({ code });
    expect(codes).toEqual([code, code]);
  });

  const put = (acknowledgement: Acknowledgement) =>
    encodeBatchCommand({
      name: 'kv.put',
      payload: Buffer.from('{"key":"a","value":1}'),
      id: '',
      acknowledgement,
      after: 0,
      traceparent: '',
      payloadFormat: 'json',
    });

  it('is refused where its client waits for a state that is behind; others of the batch are taken', async () => {
    refusal = 'behind';
    const batch = encodeCommandBatch(1, '_INBOX.x', [put('applied'), put('committed'), put('ordered')]);
    expect(ingress.takeBatch(message(batch), 0, 0)).toBe(3);
    expect(offered.map(({ acknowledgement }) => acknowledgement)).toEqual(['committed', 'ordered']);
    // Answers leave at the end of the turn.
    await Promise.resolve();
    const { replies } = decodeReplyBatch(published.at(-1)?.data ?? new Uint8Array());
    expect(replies).toMatchObject([{ number: 1, error: { code: 'OVERLOADED' } }]);
  });

  it('is one that a client waits for, unless it comes without a reply subject', () => {
    refusal = 'behind';
    const batch = message(encodeCommandBatch(1, '_INBOX.x', [put('committed')]));
    for (const [reply, isAwaited] of [
      ['_INBOX.x', true],
      ['', false],
      [undefined, false],
    ] as const) {
      ingress.takeBatch({ ...batch, reply } as Msg, 0, 0);
      expect(offered, reply).toMatchObject([{ isAwaited }]);
      offered = [];
    }
  });

  it('is answered on the reply subject of its batch when that comes from another account', async () => {
    refusal = 'behind';
    const batch = encodeCommandBatch(1, '_INBOX.x', [put('applied')]);
    expect(ingress.takeBatch({ ...message(batch), reply: '_R_.a.b' } as Msg, 0, 0)).toBe(1);
    await Promise.resolve();
    expect(published.at(-1)?.subject).toBe('_R_.a.b');
  });

  it('is refused with its whole batch when the answers are to go to an inbox of the services', () => {
    refusal = 'behind';
    offered = [];
    for (const inbox of ['_INBOX_services.x', 'craft.log.s1', '$JS.API.INFO']) {
      expect(ingress.takeBatch(message(encodeCommandBatch(1, inbox, [put('committed')])), 0, 0), inbox).toBe(0);
      const { error } = decodeReplyBatch(published.at(-1)?.data ?? new Uint8Array());
      expect(error, inbox).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(published.at(-1)?.subject).toBe('_INBOX.x');
      expect(refused.pop()).toBe(inbox);
    }
    expect(offered).toEqual([]);
  });

  it('is shed with OVERLOADED, alone or in a batch', () => {
    refusal = 'not-leader';
    ingress.shed(message('no JSON'));
    expect(lastAnswer()).toMatchObject({ ok: false, error: { code: 'OVERLOADED' } });
    ingress.shedBatch(message(encodeCommandBatch(1, '_INBOX.x', [put('applied')])));
    expect(decodeReplyBatch(published.at(-1)?.data ?? new Uint8Array()).error).toMatchObject({ code: 'OVERLOADED' });
  });
});
