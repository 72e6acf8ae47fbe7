/**
 * What servers send each other: `craft.v1.Envelope` <-> `Envelope`, with the groups' Raft messages
 * and what belongs to no group. Decoding validates everything that the cores take for granted;
 * whatever does not fit is a WireError, never a half-filled object.
 */
import {
  EntryKind,
  type LogEntry,
  type LogIndex,
  type PlacedConfiguration,
  type ServerId,
  type Term,
  type Timestamp,
} from '../raft/entry.js';
import type { AppendEntries, Closed, Message, MessageBody, Refusal, SnapshotNotice } from '../raft/message.js';
import { decodeConfiguration } from './configuration.js';
import { concatBlock, decodeBlock } from './entry-block.js';
import './protobuf.js';
import { itemAt } from '../raft/lists.js';
import { craft } from './generated/craft.js';
import { PROTOCOL, requireReadable } from './protocol.js';
import { WireError } from './wire-error.js';

/** All messages of one turn for one peer, with what a round-trip clock sample needs. */
export interface Envelope {
  readonly from: ServerId;
  readonly groups: number;
  /** Sender's physical clock (microseconds). */
  readonly sentAt: Timestamp;
  /** Sender's monotonic clock (microseconds since any moment). */
  readonly sentMonotonicUs: number;
  /**
   * sentMonotonicUs of the latest envelope that the sender had from the receiver, 0 for none, and
   * how long it was held (µs).
   */
  readonly echoMonotonicUs: number;
  readonly echoHeldUs: number;
  readonly messages: readonly Message[];
  /** Read barriers that the receiver is asked about, and answers to such asks (T6). */
  readonly barrierAsks: readonly number[];
  readonly barrierAnswers: readonly BarrierAnswer[];
  /** The sender waits for every group to close up to this; 0 when it does not. */
  readonly closeUpTo: Timestamp;
}

/**
 * Answer to a read barrier's ask: the largest timestamp of a command that the sender has appended
 * in any group.
 */
export interface BarrierAnswer {
  readonly id: number;
  readonly timestamp: Timestamp;
  /**
   * For each group the place of the newest configuration that the sender knows. Who knows only an
   * older one cannot tell what a quorum is, and waits until it knows this one (T6, T11).
   */
  readonly configurations: readonly ConfigurationPlace[];
}

export interface ConfigurationPlace {
  readonly term: Term;
  readonly index: LogIndex;
}

const pb = craft.v1;

const REFUSALS: readonly Refusal[] = ['none', 'log-mismatch', 'clock', 'snapshot'];

export function encodeEnvelope(envelope: Envelope): Uint8Array {
  return pb.Envelope.encode({
    from: envelope.from,
    groups: envelope.groups,
    sentAt: envelope.sentAt,
    sentMonotonic: envelope.sentMonotonicUs,
    echoMonotonic: envelope.echoMonotonicUs,
    echoHeld: envelope.echoHeldUs,
    messages: envelope.messages.map(encodeMessage),
    barrierAsks: [...envelope.barrierAsks],
    barrierAnswers: envelope.barrierAnswers.map(encodeBarrierAnswer),
    closeUpTo: envelope.closeUpTo,
    protocol: PROTOCOL.writes,
  }).finish();
}

function encodeMessage(message: Message): craft.v1.IGroupMessage {
  const { group, term, body } = message;
  switch (body.type) {
    case 'append':
      return { group, term, appendEntries: encodeAppend(body) };
    case 'snapshot':
      return { group, term, snapshotNotice: encodeNotice(body) };
    case 'append-reply':
      return { group, term, appendReply: { ...body, refusal: REFUSALS.indexOf(body.refusal) } };
    case 'vote':
      return { group, term, voteRequest: body };
    case 'vote-reply':
      return { group, term, voteReply: body };
    case 'timeout-now':
      return { group, term, timeoutNow: {} };
  }
}

function encodeAppend(append: AppendEntries): craft.v1.IAppendEntries {
  const { prevIndex, prevTerm, commitIndex, closed, quorumClosed, durableIndex, tellsAll, round, entries } = append;
  const fields: craft.v1.IAppendEntries = {
    prevIndex,
    prevTerm,
    commitIndex,
    closed,
    quorumClosed,
    round,
    ...(durableIndex === 0 ? {} : { durableIndex }),
    ...(tellsAll ? { tellsAll } : {}),
  };
  if (entries.length > 0) fields.entries = concatBlock(entries);
  return fields;
}

function encodeNotice({ index, commitIndex, configurations, round }: SnapshotNotice): craft.v1.ISnapshotNotice {
  const placed = configurations.map(({ voters, learners, ...place }) => {
    return { ...place, voters: [...voters], learners: [...learners] };
  });
  return { index, commitIndex, configurations: placed, round };
}

function encodeBarrierAnswer({ id, timestamp, configurations }: BarrierAnswer): craft.v1.IBarrierAnswer {
  return {
    id,
    timestamp,
    configurationTerms: configurations.map(({ term }) => term),
    configurationIndexes: configurations.map(({ index }) => index),
  };
}

/**
 * @param to the server that received it
 * @throws WireError; ProtocolError when it is in a version that this build cannot read.
 */
export function decodeEnvelope(bytes: Uint8Array, to: string): Envelope {
  const decoded = decode(bytes);
  if (decoded.from === '') throw new WireError('an envelope without a sender');
  const { from } = decoded;
  requireReadable(from, decoded.protocol);
  return {
    from,
    groups: decoded.groups,
    sentAt: safe(decoded.sentAt),
    sentMonotonicUs: safe(decoded.sentMonotonic),
    echoMonotonicUs: safe(decoded.echoMonotonic),
    echoHeldUs: safe(decoded.echoHeld),
    messages: decoded.messages.map((message) => {
      const group = message.group ?? 0;
      if (group >= decoded.groups) throw new WireError(`no group ${group}`);
      return { group, from, to, term: safe(message.term), body: decodeBody(message) };
    }),
    barrierAsks: decoded.barrierAsks.map(safe),
    barrierAnswers: decoded.barrierAnswers.map((answer) => decodeBarrierAnswer(answer, decoded.groups)),
    closeUpTo: safe(decoded.closeUpTo),
  };
}

function decode(bytes: Uint8Array): craft.v1.Envelope {
  try {
    return pb.Envelope.decode(bytes);
  } catch (cause) {
    throw new WireError('not an envelope', { cause });
  }
}

function decodeBody(message: craft.v1.IGroupMessage): MessageBody {
  const { appendEntries, appendReply, voteRequest, voteReply, timeoutNow, snapshotNotice } = message;
  if (appendEntries) return decodeAppend(appendEntries, safe(message.term));
  if (appendReply) {
    const refusal = REFUSALS[appendReply.refusal ?? 0];
    if (refusal === undefined) throw new WireError(`unknown refusal ${appendReply.refusal}`);
    return {
      type: 'append-reply',
      refusal,
      matchIndex: safe(appendReply.matchIndex),
      conflictTerm: safe(appendReply.conflictTerm),
      conflictIndex: safe(appendReply.conflictIndex),
      promised: safe(appendReply.promised),
      round: safe(appendReply.round),
    };
  }
  if (voteRequest) {
    return {
      type: 'vote',
      preVote: voteRequest.preVote ?? false,
      transfer: voteRequest.transfer ?? false,
      lastIndex: safe(voteRequest.lastIndex),
      lastTerm: safe(voteRequest.lastTerm),
    };
  }
  if (voteReply) {
    return {
      type: 'vote-reply',
      preVote: voteReply.preVote ?? false,
      granted: voteReply.granted ?? false,
      promised: safe(voteReply.promised),
    };
  }
  if (timeoutNow) return { type: 'timeout-now' };
  if (snapshotNotice) return decodeNotice(snapshotNotice);
  throw new WireError('a message of unknown type');
}

function decodeAppend(append: craft.v1.IAppendEntries, term: Term): AppendEntries {
  const prevIndex = safe(append.prevIndex);
  const prevTerm = safe(append.prevTerm);
  const entries =
    append.entries && append.entries.length > 0 ? decodeBlock(append.entries, prevIndex + 1) : ([] as LogEntry[]);
  // No entry is of term 0.
  let lastTerm = Math.max(prevTerm, 1);
  let lastTimestamp = 0;
  for (const entry of entries) {
    // What a correct leader cannot send must not reach the core, which would take it for a broken
    // invariant.
    if (entry.term < lastTerm || entry.term > term) throw new WireError(`entry ${entry.index} of term ${entry.term}`);
    if (entry.timestamp <= lastTimestamp) throw new WireError(`timestamp of entry ${entry.index} does not increase`);
    if (entry.kind === EntryKind.configuration) decodeConfiguration(entry);
    lastTerm = entry.term;
    lastTimestamp = entry.timestamp;
  }
  return {
    type: 'append',
    prevIndex,
    prevTerm,
    entries,
    commitIndex: safe(append.commitIndex),
    closed: decodeClosed(append.closed),
    quorumClosed: decodeClosed(append.quorumClosed),
    durableIndex: safe(append.durableIndex),
    tellsAll: append.tellsAll ?? false,
    round: safe(append.round),
  };
}

function decodeNotice({ index, commitIndex, configurations, round }: craft.v1.ISnapshotNotice): SnapshotNotice {
  const placed: PlacedConfiguration[] = (configurations ?? []).map((one) => {
    const { voters, learners } = one;
    return { index: safe(one.index), term: safe(one.term), voters: voters ?? [], learners: learners ?? [] };
  });
  // The first is in force at the base; they are in the order of the log.
  const isOrdered = placed.every((one, at) => at === 0 || one.index > itemAt(placed, at - 1).index);
  const first = placed[0]?.index ?? Number.POSITIVE_INFINITY;
  // A server that has joined does not know what the group began with.
  const haveVoters = placed.every((one) => one.voters.length > 0 || (one.index === 0 && one.term === 0));
  if (first > safe(index) || !isOrdered || !haveVoters || safe(commitIndex) < safe(index)) {
    throw new WireError('a snapshot notice whose configurations are not those of its log');
  }
  return {
    type: 'snapshot',
    index: safe(index),
    commitIndex: safe(commitIndex),
    configurations: placed,
    round: safe(round),
  };
}

function decodeBarrierAnswer(answer: craft.v1.IBarrierAnswer, groups: number): BarrierAnswer {
  const terms = answer.configurationTerms ?? [];
  const indexes = answer.configurationIndexes ?? [];
  if (terms.length !== groups || indexes.length !== groups) throw new WireError('a barrier answer of another shape');
  const configurations = terms.map((term, group) => ({ term: safe(term), index: safe(indexes[group]) }));
  return { id: safe(answer.id), timestamp: safe(answer.timestamp), configurations };
}

function decodeClosed(closed: craft.v1.IClosed | null | undefined): Closed | null {
  return closed ? { timestamp: safe(closed.timestamp), index: safe(closed.index) } : null;
}

/** A number that a message does not have is 0 in protobuf. */
function safe(value: number | null | undefined): number {
  const number = value ?? 0;
  if (!Number.isSafeInteger(number) || number < 0) throw new WireError(`number ${number} out of range`);
  return number;
}
