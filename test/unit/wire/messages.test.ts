/**
 * Everything that crosses an internal subject: what goes in comes out, and damaged bytes are a
 * WireError, never anything else.
 */
import '../../../shared/wire/protobuf.js';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EntryKind, type PlacedConfiguration } from '../../../shared/raft/entry.js';
import type { MessageBody } from '../../../shared/raft/message.js';
import { decodeBarrierReply, encodeBarrierReply } from '../../../shared/wire/barrier.js';
import { decodeCommand, encodeCommand, traceparentOf } from '../../../shared/wire/command.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../../shared/wire/envelope.js';
import { decodeFeedReply, decodeFeedRequest, encodeFeedReply, encodeFeedRequest } from '../../../shared/wire/feed.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import { decodeMergedBatch, encodeMergedBatch } from '../../../shared/wire/merged-batch.js';
import { ProtocolError } from '../../../shared/wire/protocol.js';
import { WireError } from '../../../shared/wire/wire-error.js';

const safe = fc.maxSafeNat();
const closed = fc.option(fc.record({ timestamp: safe, index: safe }));

/** Entries directly after `prevIndex` with increasing timestamps, of one term. */
const run = fc
  .tuple(
    fc.nat(1_000),
    fc.integer({ min: 1, max: 1_000 }),
    fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 }),
  )
  .map(([prevIndex, term, bodies]) => ({
    prevIndex,
    term,
    entries: bodies.map((body, i) => ({
      index: prevIndex + 1 + i,
      term,
      timestamp: 1_790_000_000_000_000 + i,
      kind: EntryKind.command,
      bytes: encodeEntry(term, 1_790_000_000_000_000 + i, EntryKind.command, body),
    })),
  }));

const servers = fc.constantFrom('s1', 's2', 's3', 's4');
const names = fc.array(servers, { maxLength: 4 });
const voters = fc.array(servers, { minLength: 1, maxLength: 4 });
const UNKNOWN: PlacedConfiguration = { index: 0, term: 0, voters: [], learners: [] };
const configurations: fc.Arbitrary<PlacedConfiguration[]> = fc
  .uniqueArray(fc.record({ index: safe, term: safe, voters, learners: names }), {
    minLength: 1,
    maxLength: 3,
    selector: ({ index }) => index,
  })
  .map((list) => list.sort((a, b) => a.index - b.index))
  // A server that has joined does not know what the group began with.
  .chain((list) =>
    fc.boolean().map((isUnknown) => (isUnknown ? [UNKNOWN, ...list.filter(({ index }) => index > 0)] : list)),
  );

const body: fc.Arbitrary<{ term: number; body: MessageBody }> = fc.oneof(
  fc
    .tuple(run, safe, closed, closed, safe, safe, fc.boolean())
    .map(([log, commitIndex, closed, quorumClosed, durableIndex, round, tellsAll]) => ({
      term: log.term,
      body: {
        type: 'append' as const,
        prevIndex: log.prevIndex,
        prevTerm: log.term,
        entries: log.entries,
        commitIndex,
        closed,
        quorumClosed,
        durableIndex,
        tellsAll,
        round,
      },
    })),
  fc.tuple(safe, safe, configurations, safe).map(([term, above, placed, round]) => {
    const index = placed[0]?.index ?? 0;
    const commitIndex = Math.min(index + above, Number.MAX_SAFE_INTEGER);
    return { term, body: { type: 'snapshot' as const, index, commitIndex, configurations: placed, round } };
  }),
  fc.record({
    term: safe,
    body: fc.record({
      type: fc.constant('append-reply' as const),
      refusal: fc.constantFrom('none' as const, 'log-mismatch' as const, 'clock' as const, 'snapshot' as const),
      matchIndex: safe,
      conflictTerm: safe,
      conflictIndex: safe,
      promised: safe,
      round: safe,
    }),
  }),
  fc.record({
    term: safe,
    body: fc.record({
      type: fc.constant('vote' as const),
      preVote: fc.boolean(),
      transfer: fc.boolean(),
      lastIndex: safe,
      lastTerm: safe,
    }),
  }),
  fc.record({
    term: safe,
    body: fc.record({
      type: fc.constant('vote-reply' as const),
      preVote: fc.boolean(),
      granted: fc.boolean(),
      promised: safe,
    }),
  }),
  fc.record({ term: safe, body: fc.constant({ type: 'timeout-now' as const }) }),
);

const envelope: fc.Arbitrary<Envelope> = fc.record({
  from: fc.constant('s1'),
  groups: fc.constant(3),
  sentAt: safe,
  sentMonotonicUs: safe,
  echoMonotonicUs: safe,
  echoHeldUs: safe,
  messages: fc.array(
    fc.tuple(fc.nat(2), body).map(([group, one]) => ({ group, from: 's1', to: 's2', ...one })),
    { maxLength: 4 },
  ),
  barrierAsks: fc.array(safe, { maxLength: 3 }),
  barrierAnswers: fc.array(
    fc.record({
      id: safe,
      timestamp: safe,
      configurations: fc.array(fc.record({ term: safe, index: safe }), { minLength: 3, maxLength: 3 }),
    }),
    { maxLength: 3 },
  ),
  closeUpTo: safe,
});

/** Plain values: views of bytes compare by content. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

/**
 * A message in another version of the protocol: whatever else it has, fields that nobody here knows
 * among them.
 */
const inProtocol = (field: number, protocol: number, ...rest: number[]): Uint8Array =>
  Uint8Array.of(...rest, 8 * field, protocol, 0xc2, 0x3e, 1, 0);

describe('the version of the protocol', () => {
  it('is looked at before anything else, and a version that cannot be read is named with its sender', () => {
    const from = [0x0a, 2, 0x73, 0x32];
    expect(() => decodeEnvelope(inProtocol(12, 7, ...from), 's1')).toThrow(
      expect.objectContaining({ name: 'ProtocolError', from: 's2', protocol: 7 }) as Error,
    );
    expect(() => decodeFeedRequest(inProtocol(5, 7), 3)).toThrow(ProtocolError);
    expect(() => decodeFeedReply(inProtocol(3, 7), 3)).toThrow(
      'a service of this server writes protocol 7, and this build of craft reads 1',
    );
  });

  it('is 1 in a message of before there was a number', () => {
    expect(decodeEnvelope(Uint8Array.of(0x0a, 2, 0x73, 0x32), 's1')).toMatchObject({ from: 's2', groups: 0 });
  });
});

describe('envelopes', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(envelope, (given) => {
        expect(plain(decodeEnvelope(encodeEnvelope(given), 's2'))).toEqual(plain(given));
      }),
    );
  });

  it('that are damaged are a WireError or another envelope, never another failure', () => {
    fc.assert(
      fc.property(envelope, fc.nat(), fc.nat(255), (given, at, value) => {
        const bytes = Uint8Array.from(encodeEnvelope(given));
        if (bytes.length === 0) return;
        bytes[at % bytes.length] = value;
        try {
          decodeEnvelope(bytes, 's2');
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('of random bytes are a WireError or an envelope, never another failure', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeEnvelope(bytes, 's2');
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it('with entries that no leader can send are refused', () => {
    const entries = [
      { index: 1, term: 5, timestamp: 10, kind: EntryKind.command, bytes: encodeEntry(5, 10, 3, new Uint8Array()) },
      { index: 2, term: 5, timestamp: 10, kind: EntryKind.command, bytes: encodeEntry(5, 10, 3, new Uint8Array()) },
    ];
    const message = (term: number, count: number) => ({
      from: 's1',
      groups: 1,
      sentAt: 1,
      sentMonotonicUs: 1,
      echoMonotonicUs: 0,
      echoHeldUs: 0,
      barrierAsks: [],
      barrierAnswers: [],
      closeUpTo: 0,
      messages: [
        {
          group: 0,
          from: 's1',
          to: 's2',
          term,
          body: {
            type: 'append' as const,
            prevIndex: 0,
            prevTerm: 0,
            entries: entries.slice(0, count),
            commitIndex: 0,
            closed: null,
            quorumClosed: null,
            durableIndex: 0,
            tellsAll: false,
            round: 1,
          },
        },
      ],
    });
    expect(() => decodeEnvelope(encodeEnvelope(message(5, 1)), 's2')).not.toThrow();
    expect(() => decodeEnvelope(encodeEnvelope(message(4, 1)), 's2')).toThrow(/of term 5/);
    expect(() => decodeEnvelope(encodeEnvelope(message(5, 2)), 's2')).toThrow(/does not increase/);
  });
});

describe('the feed', () => {
  it('requests and replies come out as they went in', () => {
    const request = { positions: [1, 0, 7], watermarks: [0, 5, 2 ** 53 - 1], waitingFor: 12, bytesMax: 1_000 };
    expect(decodeFeedRequest(encodeFeedRequest(request), 3)).toEqual(request);
    fc.assert(
      fc.property(run, safe, ({ entries }, watermark) => {
        const groups = [
          { group: 0, entries, watermark },
          { group: 1, entries: [], watermark: 0 },
        ];
        for (const bases of [null, [watermark, 0]]) {
          const reply = decodeFeedReply(encodeFeedReply({ groups, bases }), 2);
          expect(plain(reply.groups)).toEqual(plain(groups));
          expect(reply.bases).toEqual(bases);
        }
      }),
    );
  });

  it('refuses a request about another number of groups', () => {
    const request = { positions: [1], watermarks: [0], waitingFor: 0, bytesMax: 1 };
    expect(() => decodeFeedRequest(encodeFeedRequest(request), 3)).toThrow(WireError);
  });

  it('and barrier replies refuse garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const decode of [decodeFeedRequest, decodeFeedReply, decodeBarrierReply]) {
          try {
            decode(bytes, 3);
          } catch (error) {
            expect(error).toBeInstanceOf(WireError);
          }
        }
      }),
      { numRuns: 1_000 },
    );
    expect(decodeBarrierReply(encodeBarrierReply([4, 0, 9]), 3)).toEqual([4, 0, 9]);
  });
});

describe('commands', () => {
  const command = fc.record({
    name: fc.string(),
    payload: fc.uint8Array({ maxLength: 50 }),
    id: fc.string(),
    server: fc.constant('s1'),
    reply: fc.string(),
    traceparent: fc.constantFrom('', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
    replyFormat: fc.constantFrom('json' as const, 'protobuf' as const),
    replyNumber: fc.oneof(fc.constant(0), fc.maxSafeNat()),
    traceOrigin: fc.constantFrom('', '1790000000000123,00f067aa0ba902b7,1,craft.cmd.kv.put'),
  });

  it('come out as they went in, and their trace context is found without decoding the rest', () => {
    fc.assert(
      fc.property(command, (given) => {
        const bytes = encodeCommand(given);
        expect(plain(decodeCommand(bytes))).toEqual(plain(given));
        expect(traceparentOf(bytes)).toBe(given.traceparent);
      }),
    );
  });

  it('are byte for byte what the generated code writes', () => {
    fc.assert(
      fc.property(command, (given) => {
        const replyFormat = given.replyFormat === 'protobuf' ? 1 : 0;
        const generated = craft.v1.Command.encode({ ...given, replyFormat }).finish();
        expect(plain(encodeCommand(given))).toBe(plain(generated));
      }),
    );
  });

  it('of random bytes are a WireError or a command, never another failure', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const decode of [decodeCommand, traceparentOf]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(error).toBeInstanceOf(WireError);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('merged batches', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(run, ({ entries }) => {
        if (entries.length === 0) return;
        const given = {
          firstMergedIndex: 11,
          groups: entries.map((_, i) => i % 3),
          entries,
          checkpoints: [{ mergedIndex: 11, checksum: '00000000000000ff' }],
          after: { mergedIndex: 10 + entries.length, checksum: '0123456789abcdef', positions: [3, 2, 1] },
        };
        expect(plain(decodeMergedBatch(encodeMergedBatch(given)))).toEqual(plain(given));
      }),
    );
  });
});
