/**
 * What a replica of a group does with each message in each role, by the term of the message. A cell
 * that is missing does not compile. The transcripts say what follows from sequences of messages.
 */
import { describe, expect, it } from 'vitest';
import { ClockGuard } from '../../../shared/clock/guard.js';
import { LOG_START } from '../../../shared/raft/entry.js';
import { Group } from '../../../shared/raft/group.js';
import type { Message, MessageBody } from '../../../shared/raft/message.js';
import { GROUP_DEFAULTS } from '../../../shared/raft/options.js';
import { PromiseLimit } from '../../../shared/raft/promise-limit.js';
import type { Role } from '../../../shared/raft/role.js';
import { decodeConfiguration, encodeConfiguration } from '../../../shared/wire/configuration.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

type Type = MessageBody['type'];
/** How the term of the message compares to the replica's own, which is 3. */
type Age = 'older' | 'same' | 'newer';

const OWN_TERM = 3;
const TERMS: Readonly<Record<Age, number>> = { older: OWN_TERM - 1, same: OWN_TERM, newer: OWN_TERM + 1 };

/**
 * All of server b, to a. What is sent is valid in itself: a heartbeat, a vote request of an
 * up-to-date log, an assent.
 */
const BODIES: Readonly<Record<Type, (role: Role) => MessageBody>> = {
  append: () => ({
    type: 'append',
    prevIndex: 0,
    prevTerm: 0,
    entries: [],
    commitIndex: 0,
    closed: null,

    quorumClosed: null,
    durableIndex: 0,
    tellsAll: false,
    round: 7,
  }),
  snapshot: () => ({ type: 'snapshot', index: 5, commitIndex: 5, configurations: [], round: 7 }),
  'append-reply': (role) => ({
    type: 'append-reply',
    refusal: 'none',
    // The leader's no-op.
    matchIndex: role === 'leader' ? 1 : 0,
    conflictTerm: 0,
    conflictIndex: 0,
    promised: 0,
    round: 1,
  }),
  vote: (role) => ({
    type: 'vote',
    preVote: false,
    lastIndex: 9,
    lastTerm: role === 'leader' ? 1 : 0,
    transfer: false,
  }),
  'vote-reply': (role) => ({ type: 'vote-reply', preVote: role === 'pre-candidate', granted: true, promised: 0 }),
  'timeout-now': () => ({ type: 'timeout-now' }),
};

/**
 * Role, term and commit index afterwards; what is sent, with its term; in brackets what the owner
 * is told.
 */
const TABLE: Readonly<Record<Role, Readonly<Record<Type, Readonly<Record<Age, string>>>>>> = {
  follower: {
    append: {
      older: 'follower 3; append-reply log-mismatch 3 to b',
      same: 'follower 3; append-reply none 3 to b',
      newer: 'follower 4; append-reply none 4 to b',
    },
    snapshot: {
      older: 'follower 3; append-reply log-mismatch 3 to b',
      same: 'follower 3; append-reply snapshot 3 to b; (snapshot-needed)',
      newer: 'follower 4; append-reply snapshot 4 to b; (snapshot-needed)',
    },
    'append-reply': {
      older: 'follower 3',
      same: 'follower 3; (impossible)',
      newer: 'follower 4',
    },
    vote: {
      older: 'follower 3; vote-reply refused 3 to b',
      same: 'follower 3; vote-reply granted 3 to b',
      newer: 'follower 3',
    },
    'vote-reply': {
      older: 'follower 3',
      same: 'follower 3',
      newer: 'follower 4',
    },
    'timeout-now': {
      older: 'follower 3',
      same: 'candidate 4; vote 4 to b; vote 4 to c',
      newer: 'follower 3',
    },
  },
  'pre-candidate': {
    append: {
      older: 'pre-candidate 3; append-reply log-mismatch 3 to b',
      same: 'follower 3; append-reply none 3 to b',
      newer: 'follower 4; append-reply none 4 to b',
    },
    snapshot: {
      older: 'pre-candidate 3; append-reply log-mismatch 3 to b',
      same: 'follower 3; append-reply snapshot 3 to b; (snapshot-needed)',
      newer: 'follower 4; append-reply snapshot 4 to b; (snapshot-needed)',
    },
    'append-reply': {
      older: 'pre-candidate 3',
      same: 'pre-candidate 3',
      newer: 'follower 4',
    },
    vote: {
      older: 'pre-candidate 3; vote-reply refused 3 to b',
      same: 'pre-candidate 3; vote-reply refused 3 to b',
      newer: 'follower 4; vote-reply granted 4 to b',
    },
    'vote-reply': {
      older: 'pre-candidate 3',
      same: 'pre-candidate 3',
      newer: 'candidate 4; vote 4 to b; vote 4 to c',
    },
    'timeout-now': {
      older: 'pre-candidate 3',
      same: 'pre-candidate 3',
      newer: 'pre-candidate 3',
    },
  },
  candidate: {
    append: {
      older: 'candidate 3; append-reply log-mismatch 3 to b',
      same: 'follower 3; append-reply none 3 to b',
      newer: 'follower 4; append-reply none 4 to b',
    },
    snapshot: {
      older: 'candidate 3; append-reply log-mismatch 3 to b',
      same: 'follower 3; append-reply snapshot 3 to b; (snapshot-needed)',
      newer: 'follower 4; append-reply snapshot 4 to b; (snapshot-needed)',
    },
    'append-reply': {
      older: 'candidate 3',
      same: 'candidate 3',
      newer: 'follower 4',
    },
    vote: {
      older: 'candidate 3; vote-reply refused 3 to b',
      same: 'candidate 3; vote-reply refused 3 to b',
      newer: 'follower 4; vote-reply granted 4 to b',
    },
    'vote-reply': {
      older: 'candidate 3',
      same: 'leader 3; append 3 to b; append 3 to c; (became-leader)',
      newer: 'follower 4',
    },
    'timeout-now': {
      older: 'candidate 3',
      same: 'candidate 3',
      newer: 'candidate 3',
    },
  },
  leader: {
    append: {
      older: 'leader 3; append-reply log-mismatch 3 to b',
      same: 'leader 3; (impossible)',
      newer: 'follower 4; append-reply none 4 to b; (lost-leadership)',
    },
    snapshot: {
      older: 'leader 3; append-reply log-mismatch 3 to b',
      same: 'leader 3; (impossible)',
      newer: 'follower 4; append-reply snapshot 4 to b; (lost-leadership); (snapshot-needed)',
    },
    'append-reply': {
      older: 'leader 3',
      same: 'leader 3, committed 1',
      newer: 'follower 4; (lost-leadership)',
    },
    vote: {
      older: 'leader 3; vote-reply refused 3 to b',
      same: 'leader 3; vote-reply refused 3 to b',
      newer: 'leader 3',
    },
    'vote-reply': {
      older: 'leader 3',
      same: 'leader 3',
      newer: 'follower 4; (lost-leadership)',
    },
    'timeout-now': {
      older: 'leader 3',
      same: 'leader 3',
      newer: 'leader 3',
    },
  },
};

const START_US = 1_790_000_000_000_000;
/** Nobody has heard of a leader for so long that nobody protects one (milliseconds). */
const NOW_MS = 10_000;

/**
 * Server a of the group a, b, c, in that role and term 3, with nothing left to write or to send.
 */
function replicaIn(role: Role): Group {
  const clock = new ClockGuard({ offsetUsMax: 500_000, promiseWindowUs: 250_000 });
  const term = role === 'follower' || role === 'pre-candidate' ? OWN_TERM : OWN_TERM - 1;
  const group = new Group(
    {
      ...GROUP_DEFAULTS,
      group: 0,
      server: 'a',
      bootstrap: { voters: ['a', 'b', 'c'], learners: [] },
      clock,
      promiseLimit: new PromiseLimit(0, 250_000),
      encodeEntry,
      encodeConfiguration,
      decodeConfiguration,
      random: () => 0,
    },
    {
      hardState: { term, votedFor: null, commitIndex: 0 },
      base: LOG_START,
      configurations: [],
      lastIndex: 0,
      termStarts: [],
      tail: [],
    },
    0,
  );
  clock.advance(START_US + NOW_MS * 1_000, NOW_MS);
  const receive = (from: string, body: MessageBody) =>
    group.receive({ group: 0, from, to: 'a', term: OWN_TERM, body }, NOW_MS);
  if (role === 'follower') receive('b', BODIES.append(role));
  else group.tick(NOW_MS);
  if (role === 'candidate' || role === 'leader') receive('c', BODIES['vote-reply']('pre-candidate'));
  if (role === 'leader') {
    settle(group);
    receive('c', BODIES['vote-reply'](role));
  }
  settle(group);
  expect([group.role, group.term]).toEqual([role, OWN_TERM]);
  return group;
}

/** Makes all writes durable; gives what was sent. */
function settle(group: Group): Message[] {
  const sent = group.takeMessages();
  for (let pending = group.takeWrite(); pending !== null; pending = group.takeWrite()) {
    sent.push(...pending.after);
    group.written(pending, NOW_MS);
    sent.push(...group.takeMessages());
  }
  return sent;
}

/** What becomes of one message, in the words of the table. */
function transition(role: Role, type: Type, age: Age): string {
  const group = replicaIn(role);
  group.takeEvents();
  group.receive({ group: 0, from: 'b', to: 'a', term: TERMS[age], body: BODIES[type](role) }, NOW_MS);
  const sent = settle(group).map(show);
  const told = group.takeEvents().map(({ type: event }) => event);
  const committed = group.commitIndex === 0 ? '' : `, committed ${group.commitIndex}`;
  return [`${group.role} ${group.term}${committed}`, ...sent, ...told.map((event) => `(${event})`)].join('; ');
}

function show({ to, term, body }: Message): string {
  return `${body.type}${detailOf(body)} ${term} to ${to}`;
}

function detailOf(body: MessageBody): string {
  if (body.type === 'append-reply') return ` ${body.refusal}`;
  if (body.type === 'vote-reply') return body.granted ? ' granted' : ' refused';
  return body.type === 'vote' && body.preVote ? ' (pre-vote)' : '';
}

describe.each(Object.keys(TABLE) as Role[])('a %s gets', (role) => {
  const row = TABLE[role];
  it.each(Object.keys(row) as Type[])('%s', (type) => {
    const ages = Object.keys(TERMS) as Age[];
    const found = Object.fromEntries(ages.map((age) => [age, transition(role, type, age)]));
    expect(found).toEqual(row[type]);
  });
});
