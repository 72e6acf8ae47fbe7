/**
 * Batches of commands and of answers: what goes in comes out, and damage is a WireError or harms
 * one command only.
 */
import '../../../shared/wire/protobuf.js';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Answers, type AnswersOptions } from '../../../shared/wire/answers.js';
import {
  BATCH_COMMANDS_MAX,
  batchHeaderLength,
  decodeCommandBatch,
  encodeBatchCommand,
  encodeCommandBatch,
} from '../../../shared/wire/command-batch.js';
import { messageBytesMax } from '../../../shared/wire/connection.js';
import { CraftError } from '../../../shared/wire/errors.js';
import { craft } from '../../../shared/wire/generated/craft.js';
import {
  decodeReplyBatch,
  encodeBatchRefusal,
  encodeFailureFrame,
  encodeSuccessFrame,
} from '../../../shared/wire/reply-batch.js';
import { WireError } from '../../../shared/wire/wire-error.js';

const ACKNOWLEDGEMENTS = ['applied', 'ordered', 'committed'] as const;
const FORMATS = ['json', 'protobuf'] as const;

const command = fc.record({
  name: fc.string({ unit: 'grapheme' }),
  payload: fc.uint8Array({ maxLength: 300 }),
  id: fc.string({ unit: 'grapheme' }),
  acknowledgement: fc.constantFrom(...ACKNOWLEDGEMENTS),
  after: fc.maxSafeNat(),
  traceparent: fc.constantFrom('', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'),
  payloadFormat: fc.constantFrom(...FORMATS),
});
const batch = fc.record({
  firstNumber: fc.integer({ min: 1, max: 2 ** 50 }),
  inbox: fc.constantFrom('', '_INBOX.OXC7ZGBN4B9Q6T', 'a.b.c'),
  commands: fc.array(command, { minLength: 1, maxLength: 8 }),
});
const reply = fc.record({
  number: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  group: fc.nat(7),
  timestamp: fc.maxSafeNat(),
  index: fc.maxSafeNat(),
  resultJson: fc.constantFrom('', '{"version":1}', '"ü"'),
});

/**
 * Typed arrays of another class are not equal to each other, and of a view only its content counts.
 */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_key, one: unknown) => (one instanceof Uint8Array ? Buffer.from(one) : one)));
const encode = (given: typeof batch extends fc.Arbitrary<infer T> ? T : never) =>
  encodeCommandBatch(given.firstNumber, given.inbox, given.commands.map(encodeBatchCommand));
const FRAME = encodeBatchCommand({
  name: 'kv.put',
  payload: Buffer.from('{}'),
  id: '',
  acknowledgement: 'applied',
  after: 0,
  traceparent: '',
  payloadFormat: 'json',
});

describe('batches of commands', () => {
  it('come out as they went in', () => {
    fc.assert(
      fc.property(batch, (given) => {
        expect(plain(decodeCommandBatch(encode(given)))).toEqual(plain(given));
      }),
    );
  });

  it('are byte for byte what the generated code writes, and no longer than was said', () => {
    fc.assert(
      fc.property(batch, (given) => {
        const bytes = encode(given);
        const commands = given.commands.map(({ acknowledgement, payloadFormat, ...one }) => ({
          ...one,
          acknowledgement: ACKNOWLEDGEMENTS.indexOf(acknowledgement),
          payloadFormat: FORMATS.indexOf(payloadFormat),
        }));
        const generated = craft.v1.CommandBatch.encode({ ...given, commands }).finish();
        expect(Buffer.compare(bytes, generated)).toBe(0);
        const frames = given.commands.reduce((sum, one) => sum + encodeBatchCommand(one).length, 0);
        expect(bytes.length).toBeLessThanOrEqual(batchHeaderLength(given.inbox) + frames);
      }),
    );
  });

  it('of random or damaged bytes are a WireError or a batch, never another failure', () => {
    const decode = (bytes: Uint8Array) => {
      try {
        decodeCommandBatch(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => decode(bytes)),
      { numRuns: 1_000 },
    );
    fc.assert(
      fc.property(batch, fc.nat(), fc.nat(255), fc.nat(), (given, at, value, end) => {
        const bytes = Buffer.from(encode(given));
        bytes[at % bytes.length] = value;
        decode(bytes);
        decode(bytes.subarray(0, end % bytes.length));
      }),
      { numRuns: 500 },
    );
  });

  it('a command that cannot be read leaves the others as they are', () => {
    const bad = [
      { what: 'a field that runs past the end', bytes: [0x0a, 9, 0x61] },
      { what: 'an acknowledgement that there is none of', bytes: [0x20, 3] },
      { what: 'a format that there is none of', bytes: [0x38, 2] },
      { what: 'a number above 2^53', bytes: [0x28, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f] },
      { what: 'a group, which protobuf has no more', bytes: [0x0b] },
    ];
    for (const { what, bytes } of bad) {
      const broken = Buffer.from([0x1a, bytes.length, ...bytes]);
      const { commands } = decodeCommandBatch(encodeCommandBatch(7, 'inbox', [FRAME, broken, FRAME]));
      expect(
        commands.map((one) => (one instanceof WireError ? 'malformed' : one.name)),
        what,
      ).toEqual(['kv.put', 'malformed', 'kv.put']);
    }
  });

  it('pass over fields of later versions', () => {
    const later = [0x7a, 1, 0, 0x81, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 0x8d, 0x01, 1, 2, 3, 4, 0x90, 0x01, 5];
    const frame = Buffer.from([0x1a, 2 + later.length + 3, ...later, 0x0a, 3, 0x61, 0x62, 0x63]);
    const bytes = Buffer.concat([Buffer.from(later), encodeCommandBatch(1, '', [frame])]);
    expect(decodeCommandBatch(bytes).commands).toMatchObject([{ name: 'abc' }]);
  });

  it.each([
    ['without commands', encodeCommandBatch(1, 'inbox', [])],
    ['with too many commands', encodeCommandBatch(1, 'inbox', Array(BATCH_COMMANDS_MAX + 1).fill(FRAME))],
    ['without a number', encodeCommandBatch(0, 'inbox', [FRAME])],
    ['with numbers that end beyond 2^53', encodeCommandBatch(Number.MAX_SAFE_INTEGER, 'inbox', [FRAME])],
    ['with white space in the inbox', encodeCommandBatch(1, 'a\r\nPUB craft.rpc.s1 0\r\n', [FRAME])],
    ['with a blank in the inbox', encodeCommandBatch(1, 'a b', [FRAME])],
    ['with a wildcard in the inbox', encodeCommandBatch(1, 'a.*', [FRAME])],
    ['with another wildcard in the inbox', encodeCommandBatch(1, 'a.>', [FRAME])],
    ['with an inbox that is no ASCII', encodeCommandBatch(1, 'ü', [FRAME])],
    ['with an inbox that is too long', encodeCommandBatch(1, 'i'.repeat(256), [FRAME])],
  ])('are refused as a whole %s', (_, bytes) => {
    expect(() => decodeCommandBatch(bytes)).toThrow(WireError);
  });

  it('of the largest size are taken', () => {
    const bytes = encodeCommandBatch(1, 'i'.repeat(255), Array(BATCH_COMMANDS_MAX).fill(FRAME));
    expect(decodeCommandBatch(bytes).commands).toHaveLength(BATCH_COMMANDS_MAX);
  });
});

describe('batches of answers', () => {
  it('come out as they went in, and are what the generated code writes', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 5 }), (given) => {
        const bytes = Buffer.concat(given.map(({ number, ...success }) => encodeSuccessFrame(number, success)));
        expect(decodeReplyBatch(bytes)).toEqual({
          replies: given.map((one) => ({ ...one, error: undefined })),
          error: undefined,
        });
        const generated = craft.v1.ReplyBatch.encode({ replies: given.map((one) => ({ ...one, ok: true })) }).finish();
        expect(Buffer.compare(bytes, generated)).toBe(0);
      }),
    );
  });

  it('carry failures of single commands and of a whole batch', () => {
    const error = { code: 'REJECTED', message: 'no' };
    expect(decodeReplyBatch(encodeFailureFrame(9, 'REJECTED', 'no')).replies).toMatchObject([{ number: 9, error }]);
    const refusal = { code: 'INVALID_ARGUMENT', message: 'a batch without commands' };
    expect(decodeReplyBatch(encodeBatchRefusal('INVALID_ARGUMENT', refusal.message))).toEqual({
      replies: [],
      error: refusal,
    });
    // Neither a success nor an error: nothing that is good news.
    expect(decodeReplyBatch(Buffer.from([0x0a, 2, 0x38, 4])).replies).toMatchObject([
      { number: 4, error: { code: '' } },
    ]);
  });

  it('of random bytes are a WireError or a batch, never another failure', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          decodeReplyBatch(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('answers', () => {
  function collector(messageBytesMax = 1_000_000) {
    const sent: { subject: string; data: Uint8Array; code: string }[] = [];
    const publish: AnswersOptions['publish'] = (subject, data, headers) =>
      sent.push({ subject, data, code: headers?.get('Nats-Service-Error-Code') ?? '' });
    return { sent, answers: new Answers({ publish, messageBytesMax: () => messageBytesMax }) };
  }
  const to = (reply: string, replyNumber: number) => ({ reply, replyNumber, replyFormat: 'protobuf' as const });
  const numbers = (data: Uint8Array) => decodeReplyBatch(data).replies.map(({ number }) => number);
  /** Of a frame of less than 16 KiB: a tag, a length of one or two bytes, the content. */
  const firstFrameLength = ([, low = 0, high = 0]: Uint8Array) =>
    low < 0x80 ? 2 + low : 3 + (low & 0x7f) + 128 * high;
  const success = { group: 1, timestamp: 5, index: 3, resultJson: '"result"' };

  it('to commands that came alone leave at once, each by itself, in the form of old', () => {
    const { sent, answers } = collector();
    answers.succeed({ ...to('a', 0), replyFormat: 'json' }, success);
    answers.fail({ ...to('b', 0), replyFormat: 'json' }, 'REJECTED', 'no');
    expect(answers.isWaiting).toBe(false);
    expect(sent.map(({ subject, code }) => [subject, code])).toEqual([
      ['a', ''],
      ['b', '409'],
    ]);
    expect(JSON.parse(Buffer.from(sent[0]?.data ?? []).toString())).toMatchObject({ ok: true, index: 3 });
  });

  it('to commands of batches collect by inbox until they are sent, in their order', () => {
    const { sent, answers } = collector();
    answers.succeed(to('a', 1), success);
    answers.fail(to('b', 1), 'OVERLOADED', 'later');
    answers.failWith(to('a', 7), new CraftError('REJECTED', 'no'));
    answers.failWith(to('a', 3), new Error('secret'));
    answers.succeed(to('', 4), success);
    expect(sent).toEqual([]);
    answers.flush();
    expect(sent.map(({ subject, data }) => [subject, numbers(data)])).toEqual([
      ['a', [1, 7, 3]],
      ['b', [1]],
    ]);
    expect(decodeReplyBatch(sent[0]?.data ?? new Uint8Array(0)).replies.map(({ error }) => error)).toEqual([
      undefined,
      { code: 'REJECTED', message: 'no' },
      { code: 'INTERNAL', message: 'internal error' },
    ]);
    answers.flush();
    expect(sent).toHaveLength(2);
  });

  it('are split at the size of a message; what is larger than that is refused alone', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(200), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 60, max: 400 }),
        (sizes, max) => {
          const { sent, answers } = collector(max);
          const kept: number[] = [];
          for (const [at, size] of sizes.entries()) {
            try {
              answers.succeed(to('a', at + 1), { ...success, resultJson: 'x'.repeat(size) });
              kept.push(at + 1);
            } catch (error) {
              expect(error).toBeInstanceOf(RangeError);
              expect(size).toBeGreaterThan(max - 60);
            }
          }
          answers.flush();
          expect(sent.flatMap(({ data }) => numbers(data))).toEqual(kept);
          for (const [at, { data }] of sent.entries()) {
            expect(data.length).toBeLessThanOrEqual(max);
            // No message ends that the first answer of the next one had room in.
            const next = sent[at + 1]?.data;
            if (next !== undefined) expect(data.length + firstFrameLength(next)).toBeGreaterThan(max);
          }
        },
      ),
    );
  });

  it('that cannot be sent throw, and are not sent with later ones', () => {
    let isOpen = false;
    const sent: string[] = [];
    const answers = new Answers({
      publish: (subject) => {
        if (!isOpen) throw new Error('closed');
        sent.push(subject);
      },
      messageBytesMax: () => 1_000,
    });
    answers.succeed(to('a', 1), success);
    expect(() => answers.flush()).toThrow('closed');
    isOpen = true;
    answers.succeed(to('b', 1), success);
    answers.flush();
    expect(sent).toEqual(['b']);
  });
});

describe('the size of messages', () => {
  it('is what the NATS server said last, also after a reconnect to another one', () => {
    const connection: { info?: { max_payload: number } } = {};
    const bytesMax = messageBytesMax(connection as Parameters<typeof messageBytesMax>[0]);
    expect(bytesMax()).toBe(1_048_576);
    connection.info = { max_payload: 5_000 };
    expect(bytesMax()).toBe(5_000);
    delete connection.info;
    expect(bytesMax()).toBe(5_000);
    connection.info = { max_payload: 9_000 };
    expect(bytesMax()).toBe(9_000);
  });
});
