/**
 * What no correct server can have sent is dropped and told. It must not end the service, whichever
 * server sent it and whatever is in it.
 */
import { describe, expect, it } from 'vitest';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import type { Closed, Message, MessageBody, Refusal } from '../../../shared/raft/message.js';
import { encodeConfiguration } from '../../../shared/wire/configuration.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';
import { decodeEnvelope, type Envelope, encodeEnvelope } from '../../../shared/wire/envelope.js';
import { WireError } from '../../../shared/wire/wire-error.js';
import { Random } from '../../simulation/random.js';
import { Cores } from './cores.js';

const NAMES = ['s1', 's2', 's3'];
const EPOCH_US = 1_790_000_000_000_000;

function entry(index: number, term: number, timestamp: number, kind: EntryKind, body: Uint8Array): LogEntry {
  return { index, term, timestamp, kind, bytes: encodeEntry(term, timestamp, kind, body) };
}

const EMPTY: Envelope = {
  from: '',
  groups: 1,
  sentAt: 0,
  sentMonotonicUs: 0,
  echoMonotonicUs: 0,
  echoHeldUs: 0,
  messages: [],
  barrierAsks: [],
  barrierAnswers: [],
  closeUpTo: 0,
};

/**
 * Small numbers, so that they meet what the servers really have; and a few that are out of all
 * proportion.
 */
class Forger {
  constructor(private readonly random: Random) {}

  /** Undefined for one that is not well-formed. */
  envelope(to: string, aboutMs: number): Envelope | undefined {
    const from = this.random.pick(NAMES.filter((name) => name !== to));
    const messages = Array.from({ length: 1 + this.random.below(2) }, () => this.message(from, to, aboutMs));
    const barrierAnswers = [
      {
        id: this.random.below(4),
        timestamp: this.timestamp(aboutMs),
        configurations: [{ term: this.term(), index: this.index() }],
      },
    ];
    const rest = { barrierAsks: [this.random.below(4)], barrierAnswers, closeUpTo: this.timestamp(aboutMs) };
    try {
      return decodeEnvelope(encodeEnvelope({ ...EMPTY, from, messages, ...rest }), to);
    } catch (error) {
      if (error instanceof WireError) return undefined;
      throw error;
    }
  }

  private message(from: string, to: string, aboutMs: number): Message {
    return { group: 0, from, to, term: this.term(), body: this.body(aboutMs) };
  }

  private body(aboutMs: number): MessageBody {
    const { random } = this;
    const round = random.below(6);
    switch (random.below(8)) {
      case 0:
        return {
          type: 'snapshot',
          index: this.index(),
          commitIndex: this.index(),
          configurations: [this.configuration()],
          round,
        };
      case 1:
        return {
          type: 'vote',
          preVote: random.chance(0.5),
          transfer: random.chance(0.5),
          lastIndex: this.index(),
          lastTerm: this.term(),
        };
      case 2:
        return {
          type: 'vote-reply',
          preVote: random.chance(0.5),
          granted: random.chance(0.7),
          promised: this.timestamp(aboutMs),
        };
      case 3:
        return {
          type: 'append-reply',
          refusal: random.pick<Refusal>(['none', 'none', 'log-mismatch', 'clock', 'snapshot']),
          matchIndex: this.index(),
          conflictTerm: this.term(),
          conflictIndex: this.index(),
          promised: this.timestamp(aboutMs),
          round,
        };
      case 4:
        return { type: 'timeout-now' };
      default:
        return this.append(aboutMs, round);
    }
  }

  private append(aboutMs: number, round: number): MessageBody {
    const { random } = this;
    const prevIndex = this.index();
    const prevTerm = this.term();
    const entries: LogEntry[] = [];
    let term = prevTerm;
    let timestamp = this.timestamp(aboutMs);
    for (let at = random.below(4); at > 0; at--) {
      term += random.below(2);
      timestamp += 1 + random.below(1_000);
      const kind = random.pick([EntryKind.command, EntryKind.command, EntryKind.noOp, EntryKind.configuration]);
      const body =
        kind === EntryKind.configuration && random.chance(0.7)
          ? encodeConfiguration(this.configuration())
          : new Uint8Array([7]);
      entries.push(entry(prevIndex + entries.length + 1, term, timestamp, kind, body));
    }
    return {
      type: 'append',
      prevIndex,
      prevTerm,
      entries,
      commitIndex: this.index(),
      closed: this.closed(aboutMs),
      tellsAll: random.chance(0.5),
      quorumClosed: this.closed(aboutMs),
      durableIndex: random.chance(0.5) ? this.index() : 0,
      round,
    };
  }

  private configuration() {
    const voters = NAMES.filter(() => this.random.chance(0.6));
    return { index: this.index(), term: this.term(), voters, learners: NAMES.filter((name) => !voters.includes(name)) };
  }

  private closed(aboutMs: number): Closed | null {
    return this.random.chance(0.5) ? { timestamp: this.timestamp(aboutMs), index: this.index() } : null;
  }

  private index(): number {
    return this.random.chance(0.02) ? this.random.below(2 ** 50) : this.random.below(12);
  }

  private term(): number {
    return this.random.chance(0.02) ? this.random.below(2 ** 50) : this.random.below(8);
  }

  private timestamp(aboutMs: number): number {
    if (this.random.chance(0.05)) return this.random.below(2 ** 52);
    return EPOCH_US + (aboutMs + this.random.below(400) - 200) * 1_000 + this.random.below(1_000);
  }
}

describe('well-formed messages of a liar', () => {
  it.each(Array.from({ length: 25 }, (_, at) => at + 1))('end no server (seed %d)', (seed) => {
    const random = new Random(seed);
    const forger = new Forger(random.fork(1));
    const cores = new Cores(NAMES, { groups: 1 });
    let aboutMs = 0;
    for (let n = 0; n < 1_500; n++) {
      const victim = random.pick(NAMES);
      const server = cores.server(victim);
      const envelope = forger.envelope(victim, aboutMs);
      if (envelope !== undefined) server.core.receive(envelope);
      if (random.chance(0.3)) cores.offer(victim, 0, new Uint8Array([1]));
      if (random.chance(0.1)) server.core.barrier(n);
      if (random.chance(0.05)) server.isCutOff = !server.isCutOff;
      if (random.chance(0.5)) cores.settle();
      if (!random.chance(0.2)) continue;
      const ms = random.pick([20, 40, 400]);
      cores.pass(ms);
      aboutMs += ms;
    }
    expect(cores.servers.flatMap(({ told }) => told).length).toBeGreaterThan(0);
  });
});

describe('the impossible is told, with its sender, and changes nothing', () => {
  const TERM = 1;
  const NO_CLAIM = { closed: null, quorumClosed: null, durableIndex: 0, tellsAll: false } as const;
  const command = (index: number, term: number, timestamp: number) =>
    entry(index, term, timestamp, EntryKind.command, new Uint8Array([1]));
  const later = (ms: number) => EPOCH_US + ms * 1_000;
  const append = (given: Partial<MessageBody & { type: 'append' }>): MessageBody => ({
    type: 'append',
    prevIndex: 4,
    prevTerm: TERM,
    entries: [],
    commitIndex: 0,
    round: 1,
    ...NO_CLAIM,
    ...given,
  });
  const matched: MessageBody = {
    type: 'append-reply',
    refusal: 'none',
    matchIndex: 9,
    conflictTerm: 0,
    conflictIndex: 0,
    promised: 0,
    round: 1,
  };
  const notice = { type: 'snapshot', index: 9, commitIndex: 9, round: 1 } as const;
  const configurations = [{ index: 0, term: 0, voters: NAMES, learners: [] }];

  /** s1 leads term 1 with a no-op and three commands, all committed and closed up to about now. */
  const rows: [what: RegExp, to: string, from: string, term: number, body: MessageBody][] = [
    [/s1 leads term 1, not s2/, 's1', 's2', 1, append({})],
    [/s1 leads term 1, not s2/, 's3', 's2', 1, append({})],
    [/s1 leads term 1, not s2/, 's3', 's2', 1, { ...notice, configurations }],
    [/nobody leads term 0/, 's3', 's2', 0, append({})],
    [/no cluster has come to term/, 's3', 's2', 2 ** 40, append({})],
    [
      /no cluster has come to term/,
      's3',
      's2',
      2 ** 40,
      { type: 'vote', preVote: false, transfer: true, lastIndex: 9, lastTerm: 1 },
    ],
    [/no entry of term 9/, 's3', 's2', 9, { type: 'vote', preVote: false, transfer: true, lastIndex: 9, lastTerm: 9 }],
    [/of this server itself/, 's3', 's3', 1, append({})],
    [/entry 4 is committed/, 's3', 's2', 2, append({ prevTerm: 2 })],
    [/entry 3 is committed/, 's3', 's2', 2, append({ prevIndex: 2, entries: [command(3, 2, later(900))] })],
    [/T1: the timestamp of entry 5/, 's3', 's1', 1, append({ entries: [command(5, 1, later(1))] })],
    [/T3: entry 5 is at \d+, which is closed/, 's3', 's1', 1, append({ entries: [command(5, 1, later(390))] })],
    [
      /entry 5 .* its leader has closed/,
      's3',
      's1',
      1,
      append({ entries: [command(5, 1, later(390))], closed: { timestamp: later(395), index: 4 } }),
    ],
    [/a quorum has not closed/, 's3', 's1', 1, append({ quorumClosed: { timestamp: later(395), index: 4 } })],
    [/entry 9 was never sent to it/, 's1', 's2', 1, matched],
  ];

  it.each(rows)('%s (to %s)', (what, to, from, term, body) => {
    const cores = new Cores(NAMES, { groups: 1 });
    cores.pass(40);
    for (let n = 0; n < 3; n++) cores.offer('s1', 0, new Uint8Array([1]));
    cores.pass(360);
    const { core, told } = cores.server(to);
    const group = core.groups[0];
    // A server waits for the groups to close up to now.
    cores.server('s1').core.receive({ ...EMPTY, from: 's2', closeUpTo: later(395) });
    cores.pass(100);
    const before = { term: group?.term, leader: group?.leader, last: group?.lastIndex, commit: group?.commitIndex };
    expect(before).toEqual({ term: TERM, leader: 's1', last: 4, commit: 4 });
    group?.receive({ group: 0, from, to, term, body }, 500);
    cores.settle();
    const found = told.filter(({ type }) => type === 'impossible');
    expect(found).toEqual([{ type: 'impossible', group: 0, from, what: expect.stringMatching(what) }]);
    expect({ term: group?.term, leader: group?.leader, last: group?.lastIndex, commit: group?.commitIndex }).toEqual(
      before,
    );
  });
});
