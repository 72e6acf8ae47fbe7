/**
 * What a group's log is made of. Plain data: the consensus core imports nothing, so this file is
 * also where the rest of the system takes the basic vocabulary from.
 */

declare const kind: unique symbol;

/**
 * A number of one kind. Where it is declared, a number of another kind does not compile, and `===`
 * of two kinds does not either. A plain number passes for any kind: a literal, the result of
 * arithmetic, what a decoder has read. So kinds are checked where values are handed on, and cost
 * nothing where they are made.
 */
type Kind<Name extends string> = number & { readonly [kind]?: Name };

/** Name of a server, for example `s1`. */
export type ServerId = string;
/** Number of a group, 0 .. K-1. */
export type GroupId = Kind<'GroupId'>;
/** Raft term; 0 before the first election. */
export type Term = Kind<'Term'>;
/** Index in one group's log; the first entry has index 1. */
export type LogIndex = Kind<'LogIndex'>;
/** Place in the merged log; the first command has 1. */
export type MergedIndex = Kind<'MergedIndex'>;
/** Integer microseconds since the Unix epoch, < 2^53. */
export type Timestamp = Kind<'Timestamp'>;
/**
 * A moment on the clock of this process that is never set, in milliseconds. It says nothing at
 * another server, and nothing after a restart. Spans of time are plain numbers.
 */
export type MonotonicMs = Kind<'MonotonicMs'>;

/** Values are those of `craft.v1.EntryKind` on the wire. */
export const EntryKind = { noOp: 1, configuration: 2, command: 3 } as const;
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind];

/** One entry of a group's log. */
export interface LogEntry extends LogPosition {
  readonly kind: EntryKind;
  /**
   * The entry as a frame of `craft.v1.EntryBlock` (tag, length, `Entry`): encoded once by the
   * leader that stamped it and carried unchanged everywhere. Frames laid end to end are a valid
   * block. Never modified.
   */
  readonly bytes: Uint8Array;
}

/**
 * Encodes a frame of `EntryBlock`; given to the core so that it stays free of the wire format. Must
 * be pure.
 */
export type EncodeEntry = (term: Term, timestamp: Timestamp, kind: EntryKind, body: Uint8Array) => Uint8Array;

/**
 * What a server must never forget about a group (Raft paper, figure 2), and the commit index, which
 * is only a hint.
 */
export interface HardState {
  readonly term: Term;
  readonly votedFor: ServerId | null;
  readonly commitIndex: LogIndex;
}

/**
 * A place in one group's log, with what the log-matching check (term) and T1 (timestamp) need to go
 * on after it.
 */
export interface LogPosition {
  readonly index: LogIndex;
  readonly term: Term;
  readonly timestamp: Timestamp;
}

/** No entry has this index: it is before the first one. */
export const BEFORE_FIRST: LogIndex = 0;

/**
 * The index that follows, of the same kind: plain arithmetic would make a number that passes for
 * any.
 */
export function indexAfter<I extends LogIndex | MergedIndex>(index: I): I {
  return (index + 1) as I;
}

/** The index before, of the same kind. */
export function indexBefore<I extends LogIndex | MergedIndex>(index: I): I {
  return (index - 1) as I;
}

/** No command has this place in the merged log: it is before the first one. */
export const NOTHING_MERGED: MergedIndex = 0;

/** No entry has this timestamp, and no claim or promise: all are later. */
export const BEFORE_ALL: Timestamp = 0;

/** Before the first entry. */
export const LOG_START: LogPosition = { index: BEFORE_FIRST, term: 0, timestamp: BEFORE_ALL };

/** The members of a group. Learners receive the log and do not vote. */
export interface Configuration {
  readonly voters: readonly ServerId[];
  readonly learners: readonly ServerId[];
}

/** Of one member (T11). */
export interface ConfigurationChange {
  readonly type: 'add' | 'promote' | 'demote' | 'remove';
  readonly server: ServerId;
}

/**
 * A configuration with the place of the entry that brought it. Index 0 and term 0: the one that a
 * group began with. Index 0 and RECOVERED_TERM: one that was written by hand after a quorum was
 * lost.
 */
export interface PlacedConfiguration extends Configuration {
  readonly index: LogIndex;
  readonly term: Term;
}

/** Newer than what a group began with, older than every entry; no entry has index 0. */
const RECOVERED_TERM: Term = 1;

/**
 * The configuration of the survivors of a lost quorum (T11): the next leader puts it into the log,
 * so that nothing older counts any more.
 */
export function recoveredConfiguration(voters: readonly ServerId[]): PlacedConfiguration {
  return { voters, learners: [], index: 0, term: RECOVERED_TERM };
}

export function isRecovered({ index, term }: PlacedConfiguration): boolean {
  return index === 0 && term === RECOVERED_TERM;
}
