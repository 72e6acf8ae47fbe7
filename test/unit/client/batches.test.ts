/**
 * Which commands travel together and what becomes of each: the client's core, with time and the
 * network as inputs.
 */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Attempts } from '../../../shared/client/attempts.js';
import { CommandBatches, CommandCall, type Effect } from '../../../shared/client/batches.js';
import {
  CraftError,
  OutcomeUnknownError,
  PayloadTooLargeError,
  UnavailableError,
} from '../../../shared/client/errors.js';
import { BATCH_COMMANDS_MAX } from '../../../shared/wire/command-batch.js';
import type { NumberedReply } from '../../../shared/wire/reply-batch.js';
import { Random } from '../../chaos/random.js';

const MESSAGE_BYTES = 1_000_000;
const TIMEOUT_MS = 10_000;
const ATTEMPT_MS = 2_500;

class NamedCall extends CommandCall {
  constructor(
    readonly name: string,
    nowMs: number,
    { bytes = 100, group = undefined as number | undefined, timeoutMs = TIMEOUT_MS } = {},
  ) {
    const options = { id: name, timeoutMs, attemptTimeoutMs: ATTEMPT_MS, isHarmless: false };
    super(new Uint8Array(bytes), group, name, new Attempts(options, nowMs));
  }
}

type Sent = Effect<NamedCall> & { type: 'send' };

let nowMs: number;
let batches: CommandBatches<NamedCall>;
/** What the messages carried, in order of sending; forgotten when it is looked at. */
let sent: Sent[];
/** Of the message that was sent last: the number of its first command. */
let lastNumber: number;
/** By name of the call. */
let outcomes: Map<string, NumberedReply | unknown>;

beforeEach(() => {
  nowMs = 1_000;
  sent = [];
  outcomes = new Map();
  batches = new CommandBatches(() => 0.5);
});

function add(name: string, options: { bytes?: number; group?: number; timeoutMs?: number } = {}): NamedCall {
  const call = new NamedCall(name, nowMs, options);
  batches.add(call);
  return call;
}

function drain(): void {
  for (const effect of batches.takeEffects()) {
    if (effect.type === 'send') {
      lastNumber = effect.firstNumber;
      sent.push(effect);
      continue;
    }
    expect(outcomes.has(effect.call.name), `${effect.call.name} ends twice`).toBe(false);
    outcomes.set(effect.call.name, effect.type === 'succeeded' ? effect.reply : effect.error);
  }
}

/** A turn, and what it sends: names of the commands in each message. */
function run(bytesMax = MESSAGE_BYTES): string[][] {
  batches.run(nowMs, bytesMax);
  drain();
  return sent.splice(0).map(({ calls }) => calls.map(({ name }) => name));
}

/** Lets time pass, with a turn whenever one is asked for. */
function pass(ms: number): string[][] {
  const endMs = nowMs + ms;
  const messages: string[][] = [];
  while (wakesBy(endMs)) messages.push(...run());
  nowMs = endMs;
  return messages;
}

/** Lets time pass until something is sent. */
function untilSent(): string[][] {
  const endMs = nowMs + TIMEOUT_MS;
  while (wakesBy(endMs)) {
    const messages = run();
    if (messages.length > 0) return messages;
  }
  return [];
}

function wakesBy(endMs: number): boolean {
  const atMs = batches.wakeAtMs;
  if (atMs === null || atMs > endMs) return false;
  nowMs = Math.max(nowMs, atMs);
  return true;
}

const success = (number: number, resultJson = ''): NumberedReply => {
  return { number, group: 1, timestamp: 5, index: 7, resultJson, error: undefined };
};
const failure = (number: number, code: string): NumberedReply => {
  return { number, group: 0, timestamp: 0, index: 0, resultJson: '', error: { code, message: `because ${code}` } };
};
function replied(...replies: NumberedReply[]): void {
  for (const reply of replies) batches.replied(reply, nowMs);
  drain();
}
const names = (count: number, prefix = 'c') => Array.from({ length: count }, (_, at) => `${prefix}${at}`);

describe('messages', () => {
  it('carry what is issued in one turn, in its order, numbered without a hole; later turns do not wait', () => {
    for (const name of ['a', 'b', 'c']) add(name);
    batches.run(nowMs, MESSAGE_BYTES);
    const [effect] = batches.takeEffects();
    expect(effect).toMatchObject({ type: 'send', firstNumber: 1, group: undefined });
    expect((effect as Sent).calls.map(({ name, number }) => [name, number])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
    add('d');
    expect(run()).toEqual([['d']]);
    expect(batches.takeEffects()).toEqual([]);
    expect(run()).toEqual([]);
  });

  it('go to one target each', () => {
    add('a', { group: 0 });
    add('b');
    add('c', { group: 0 });
    add('d', { group: 2 });
    batches.run(nowMs, MESSAGE_BYTES);
    const effects = batches.takeEffects() as Sent[];
    expect(effects.map(({ group, calls }) => [group, calls.map(({ name }) => name)])).toEqual([
      [0, ['a', 'c']],
      [undefined, ['b']],
      [2, ['d']],
    ]);
  });

  it('are bounded in commands', () => {
    const all = names(BATCH_COMMANDS_MAX + 1);
    for (const name of all) add(name);
    expect(run()).toEqual([all.slice(0, -1), all.slice(-1)]);
  });

  it('are bounded in bytes, also by what NATS takes, which may change', () => {
    for (const name of ['a', 'b', 'c']) add(name, { bytes: 100_000 });
    expect(run()).toEqual([['a', 'b'], ['c']]);
    for (const name of ['d', 'e', 'f']) add(name, { bytes: 400 });
    expect(run(800)).toEqual([['d', 'e'], ['f']]);
    for (const name of ['g', 'h']) add(name, { bytes: 400 });
    expect(run(799)).toEqual([['g'], ['h']]);
    // Larger than what messages usually end at, and smaller than NATS takes.
    for (const name of ['i', 'j', 'k']) add(name, { bytes: name === 'j' ? 900_000 : 10 });
    expect(run()).toEqual([['i'], ['j'], ['k']]);
  });

  it('a command that is larger than a message fails alone', () => {
    add('a');
    add('b', { bytes: MESSAGE_BYTES + 1 });
    add('c');
    expect(run()).toEqual([['a', 'c']]);
    expect(outcomes.get('b')).toBeInstanceOf(PayloadTooLargeError);
  });

  it('a few commands while many are under way wait for company, for a millisecond at most', () => {
    for (const name of names(64)) add(name);
    run();
    add('late');
    expect(run()).toEqual([]);
    expect(batches.isHolding).toBe(true);
    expect(batches.wakeAtMs).toBe(nowMs + 1);
    nowMs += 0.5;
    add('later');
    expect(run()).toEqual([]);
    nowMs += 0.5;
    expect(run()).toEqual([['late', 'later']]);
    expect(batches.isHolding).toBe(false);
    // As many as a quarter of those under way are enough.
    for (const name of names(17, 'd')) add(name);
    expect(run()).toHaveLength(1);
  });

  it('an answer or more commands end the wait', () => {
    for (const name of names(12)) add(name);
    run();
    add('late');
    add('later');
    expect(run()).toEqual([]);
    replied(...[1, 2, 3, 4].map((number) => success(number)));
    expect(run()).toEqual([['late', 'later']]);
    // An idle client, and one with little under way, sends at once.
    replied(...[5, 6, 7, 8].map((number) => success(number)));
    add('last');
    expect(run()).toEqual([['last']]);
  });
});

describe('answers', () => {
  it('end each command by itself: one that is refused harms no other', () => {
    for (const name of ['a', 'b', 'c', 'd']) add(name);
    run();
    replied(success(3, '"c"'), failure(1, 'REJECTED'), failure(4, 'INVALID_ARGUMENT'), success(2, '"b"'));
    expect(outcomes.get('a')).toMatchObject({ code: 'REJECTED', message: 'because REJECTED' });
    expect(outcomes.get('b')).toMatchObject({ resultJson: '"b"' });
    expect(outcomes.get('c')).toMatchObject({ resultJson: '"c"' });
    expect(outcomes.get('d')).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(batches.wakeAtMs).toBe(null);
  });

  it('that half of the commands do not get: only those are sent again, under new numbers', () => {
    for (const name of ['a', 'b', 'c', 'd']) add(name);
    run();
    replied(success(2), success(4));
    expect(pass(ATTEMPT_MS)).toEqual([]);
    expect(pass(100)).toEqual([['a', 'c']]);
    // Those of the first attempt come now, and are nobody's.
    replied(success(1), success(3), success(2), failure(4, 'REJECTED'));
    expect(outcomes.has('a')).toBe(false);
    replied(success(6, '"c"'), success(5, '"a"'));
    expect(outcomes.get('a')).toMatchObject({ resultJson: '"a"' });
    expect(outcomes.get('c')).toMatchObject({ resultJson: '"c"' });
  });

  it('that come twice, or to numbers that were never given, change nothing', () => {
    add('a');
    add('b');
    run();
    replied(success(1), success(1), failure(1, 'REJECTED'), success(0), success(99), failure(3, 'OVERLOADED'));
    expect([...outcomes.keys()]).toEqual(['a']);
    replied(success(2));
    expect([...outcomes.keys()]).toEqual(['a', 'b']);
  });

  it.each(['OVERLOADED', 'NOT_LEADER', 'UNAVAILABLE', 'TIMEOUT_UNKNOWN'])(
    '%s: tried again after a pause, together',
    (code) => {
      for (const name of ['a', 'b', 'c']) add(name);
      run();
      replied(failure(1, code), success(2), failure(3, code));
      expect(run()).toEqual([]);
      // Half of 10 ms and half of a random part of the rest, in ticks of 5 ms.
      expect(batches.wakeAtMs).toBe(1_010);
      nowMs = 1_010;
      expect(run()).toEqual([['a', 'c']]);
      replied(success(4), success(5));
      expect(outcomes.get('c')).toMatchObject({ number: 5 });
    },
  );

  it('pauses grow, and end at the deadline with what is known (T9)', () => {
    add('refused', { timeoutMs: 3_000 });
    add('unknown', { timeoutMs: 3_000 });
    run();
    let number = 0;
    const gaps: number[] = [];
    for (let lastMs = nowMs; !outcomes.has('refused'); lastMs = nowMs) {
      replied(failure(++number, 'OVERLOADED'), failure(++number, number === 2 ? 'TIMEOUT_UNKNOWN' : 'OVERLOADED'));
      nowMs = batches.wakeAtMs ?? Number.NaN;
      gaps.push(nowMs - lastMs);
      run();
    }
    expect(gaps.slice(0, 6)).toEqual([10, 15, 30, 60, 120, 240]);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(500);
    expect(outcomes.get('refused')).toBeInstanceOf(UnavailableError);
    expect((outcomes.get('refused') as Error).cause).toMatchObject({ code: 'OVERLOADED' });
    expect(outcomes.get('unknown')).toBeInstanceOf(OutcomeUnknownError);
    expect(nowMs).toBeLessThanOrEqual(4_010);
    expect(batches.wakeAtMs).toBe(null);
  });

  it.each([
    ['a refusal', (number: number) => batches.replied(failure(number, 'OVERLOADED'), nowMs), UnavailableError],
    ['silence', () => undefined, OutcomeUnknownError],
    [
      'a word of a later version',
      (number: number) => batches.replied(failure(number, 'ASLEEP'), nowMs),
      OutcomeUnknownError,
    ],
  ])('after %s nothing but a result or REJECTED is definite', (_, first, errorClass) => {
    add('ends');
    run();
    first(1);
    expect(untilSent()).toEqual([['ends']]);
    replied(failure(2, 'INTERNAL'));
    const isDefinite = errorClass === UnavailableError;
    expect(outcomes.get('ends')).toMatchObject(
      isDefinite ? { code: 'INTERNAL' } : { code: 'TIMEOUT_UNKNOWN', id: 'ends' },
    );
    add('rejected');
    run();
    first(3);
    expect(untilSent()).toEqual([['rejected']]);
    replied(failure(lastNumber, 'REJECTED'));
    expect(outcomes.get('rejected')).toMatchObject({ code: 'REJECTED' });
  });
});

describe('a batch', () => {
  it('that no server received is sent again, and what was not sent is definitely not executed', () => {
    add('a');
    add('b', { timeoutMs: 200 });
    run();
    add('c');
    run();
    batches.refused(1, 'no-responders', nowMs);
    drain();
    expect(untilSent()).toEqual([['a', 'b']]);
    while (!outcomes.has('b')) {
      batches.refused(lastNumber, 'no-responders', nowMs);
      drain();
      untilSent();
    }
    expect(outcomes.get('b')).toBeInstanceOf(UnavailableError);
    expect(outcomes.has('a')).toBe(false);
    expect(outcomes.has('c')).toBe(false);
  });

  it('that was refused as a whole fails each of its commands, and no other', () => {
    for (const name of ['a', 'b']) add(name);
    run();
    add('c');
    run();
    replied(success(2));
    batches.refused(1, new CraftError('INVALID_ARGUMENT', 'no batch'), nowMs);
    batches.refused(2, new CraftError('INVALID_ARGUMENT', 'no batch'), nowMs);
    batches.refused(Number.NaN, 'malformed', nowMs);
    drain();
    expect(outcomes.get('a')).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(outcomes.get('b')).toMatchObject({ number: 2 });
    expect(outcomes.has('c')).toBe(false);
  });

  it('that cannot be sent fails its commands; one that was sent before is unknown', () => {
    add('a');
    add('b');
    run();
    replied(failure(2, 'TIMEOUT_UNKNOWN'), failure(1, 'OVERLOADED'));
    nowMs = batches.wakeAtMs ?? Number.NaN;
    run();
    batches.unsent(3, new UnavailableError('cannot send'));
    drain();
    expect(outcomes.get('a')).toMatchObject({ code: 'UNAVAILABLE', message: 'cannot send' });
    expect(outcomes.get('b')).toBeInstanceOf(OutcomeUnknownError);
  });
});

describe('an end before the outcome', () => {
  it('of the caller: with its reason when nothing can have happened, else unknown', () => {
    const reason = new Error('enough');
    const [ready, underWay, refused, unknown] = ['ready', 'underWay', 'refused', 'unknown'].map((name) => add(name));
    if (ready !== undefined) batches.abort(ready, reason);
    expect(run()).toEqual([['underWay', 'refused', 'unknown']]);
    replied(failure(2, 'OVERLOADED'), failure(3, 'TIMEOUT_UNKNOWN'));
    for (const call of [underWay, refused, unknown, ready]) if (call !== undefined) batches.abort(call, reason);
    drain();
    expect(outcomes.get('ready')).toBe(reason);
    expect(outcomes.get('underWay')).toMatchObject({ code: 'TIMEOUT_UNKNOWN', cause: reason });
    expect(outcomes.get('refused')).toBe(reason);
    expect(outcomes.get('unknown')).toMatchObject({ code: 'TIMEOUT_UNKNOWN' });
    replied(success(1));
    expect(pass(TIMEOUT_MS)).toEqual([]);
  });

  it('of the client: what is under way is unknown, the rest and all that comes later is unavailable', () => {
    add('underWay');
    add('paused');
    run();
    replied(failure(2, 'OVERLOADED'));
    add('ready');
    batches.close();
    add('later');
    drain();
    expect(outcomes.get('underWay')).toBeInstanceOf(OutcomeUnknownError);
    for (const name of ['paused', 'ready', 'later']) expect(outcomes.get(name), name).toBeInstanceOf(UnavailableError);
    expect(batches.wakeAtMs).toBe(null);
    expect(run()).toEqual([]);
  });
});

describe('whatever the network does', () => {
  /** How a batch fares: each of its answers is lost, late, doubled or refused, in any order. */
  const fate = fc.record({
    isReceived: fc.boolean(),
    answers: fc.array(
      fc.record({
        delayMs: fc.oneof(fc.nat(50), fc.nat(6_000)),
        copies: fc.integer({ min: 0, max: 2 }),
        code: fc.constantFrom('', '', '', 'OVERLOADED', 'NOT_LEADER', 'REJECTED', 'TIMEOUT_UNKNOWN'),
      }),
      { minLength: 1, maxLength: 6 },
    ),
  });
  const turns = fc.array(fc.record({ afterMs: fc.nat(40), commands: fc.nat(12) }), { minLength: 1, maxLength: 10 });

  it('every call ends once, in time, and never with the answer to another one', () => {
    fc.assert(
      fc.property(turns, fc.array(fate, { minLength: 1, maxLength: 20 }), fc.nat(), (turns, fates, seed) => {
        nowMs = 1_000;
        outcomes = new Map();
        const random = new Random(seed);
        batches = new CommandBatches(() => random.next());
        /** Answers on their way: when, and what happens then. */
        const arrivals: { atMs: number; reply: NumberedReply }[] = [];
        const numbers = new Set<number>();
        /**
         * A command that was executed under its name has this result, whichever attempt is
         * answered.
         */
        let messages = 0;
        const issuedAtMs = new Map<string, number>();
        const turn = () => {
          batches.run(nowMs, 1_200);
          drain();
          for (const { firstNumber, calls } of sent.splice(0)) {
            expect(calls.length).toBeLessThanOrEqual(12);
            const { isReceived, answers } = fates[messages++ % fates.length] ?? { isReceived: false, answers: [] };
            for (const [at, call] of calls.entries()) {
              const number = firstNumber + at;
              expect(call.number).toBe(number);
              expect(numbers.has(number)).toBe(false);
              numbers.add(number);
              const answer = answers[at % answers.length];
              if (!isReceived || answer === undefined) continue;
              const { code, copies, delayMs } = answer;
              // By the name in the message: nothing that the core keeps for the call.
              const reply = code === '' || code === 'REJECTED' ? success(number, call.name) : failure(number, code);
              for (let copy = 0; copy < copies; copy++) arrivals.push({ atMs: nowMs + delayMs * (copy + 1), reply });
            }
          }
          arrivals.sort((a, b) => a.atMs - b.atMs);
        };
        const passUntil = (endMs: number) => {
          for (;;) {
            const next = Math.min(arrivals[0]?.atMs ?? Infinity, batches.wakeAtMs ?? Infinity);
            if (next > endMs) break;
            nowMs = Math.max(nowMs, next);
            while ((arrivals[0]?.atMs ?? Infinity) <= nowMs) {
              const arrival = arrivals.shift();
              if (arrival !== undefined) batches.replied(arrival.reply, nowMs);
            }
            turn();
          }
          nowMs = endMs;
        };
        let issued = 0;
        for (const { afterMs, commands } of turns) {
          passUntil(nowMs + afterMs);
          for (let n = 0; n < commands; n++) {
            const name = `"c${issued++}"`;
            issuedAtMs.set(name, nowMs);
            add(name);
          }
          turn();
        }
        passUntil(nowMs + TIMEOUT_MS + 100);
        expect(outcomes.size).toBe(issued);
        for (const [name, outcome] of outcomes) {
          if (outcome instanceof CraftError) expect(['UNAVAILABLE', 'TIMEOUT_UNKNOWN']).toContain(outcome.code);
          else expect(outcome).toMatchObject({ resultJson: name });
        }
        expect(batches.wakeAtMs).toBe(null);
      }),
      { numRuns: 100 },
    );
  });
});
