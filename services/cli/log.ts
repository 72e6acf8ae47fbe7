/**
 * The merged log of one server, read from its stream by direct gets alone: no consumer, nothing
 * that a reader could pause or remove. They are all that the NATS user of a reader may send.
 * Positions are merged indexes; stream sequences mean nothing outside this file.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type JetStreamManager, jetstreamManager, type StoredMsg } from '@nats-io/jetstream';
import { type NatsConnection, NoRespondersError, PermissionViolationError } from 'nats';
import { CraftError } from '../../shared/client/index.js';
import type { MergedRun } from '../../shared/merge/merge.js';
import type { LogIndex, MergedIndex, Term, Timestamp } from '../../shared/raft/entry.js';
import { itemAt } from '../../shared/raft/lists.js';
import { decodeCommand } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import { isNoMessage, isStreamNotFound } from '../../shared/wire/jetstream-errors.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { WireError } from '../../shared/wire/wire-error.js';
import type { Outcomes } from './outcomes.js';

/** A stream, and the one subject that it stores. */
export interface LogStream {
  readonly stream: string;
  readonly subject: string;
}

export interface LogRange {
  /** The first merged index to print. */
  readonly from: number;
  /** Go on with what is still to come, for ever. */
  readonly follow: boolean;
}

/** One piece: what the NATS server sends in one go (bytes, messages). */
const PIECE_BYTES = 1024 * 1024;
const PIECE_MESSAGES = 256;
/** Messages at the end of a stream that are looked at for one that is a merged batch. */
const LOOK_MESSAGES_MAX = 64;
/** Between two looks for what is still to come (milliseconds). */
const FOLLOW_MS = 250;

/**
 * Prints the entries of the range in order, one object each, with what became of it as far as
 * `outcomes` knows. What is no merged batch is passed over, as the appliers do, and `onSkipped`
 * told. Rejects with a CraftError when there is no such stream or it may not be read.
 */
export async function printLog(
  connection: NatsConnection,
  log: LogStream,
  range: LogRange,
  outcomes: Pick<Outcomes, 'of'>,
  print: (entry: object) => void,
  onSkipped: (why: string) => void,
): Promise<void> {
  // No request is sent yet: a reader's NATS user may read the stream, and may ask JetStream for
  // nothing else.
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const last = (await lastMessage(manager, log))?.seq ?? 0;
  if (last === 0 && !range.follow) return;
  let next = await sequenceOf(manager, log, range.from, last);
  while (range.follow || next <= last) {
    const read = await readPiece(manager, log, next, async ({ data, seq }) => {
      const run = runOf(data, (why) => onSkipped(`message ${seq} of ${log.stream} is skipped: ${why}`));
      const entries = entriesOf(run).filter(({ index }) => index >= range.from);
      const known = await outcomes.of(entries);
      for (const [at, entry] of entries.entries()) print({ ...entry, ...known[at] });
    });
    if (read === undefined && !range.follow) return;
    if (read === undefined) await delay(FOLLOW_MS);
    else next = read + 1;
  }
}

/**
 * Hands over what there is from a sequence on; returns the last sequence of it, undefined when
 * there is nothing yet.
 */
async function readPiece(
  manager: JetStreamManager,
  { stream }: LogStream,
  seq: number,
  take: (message: StoredMsg) => Promise<void>,
): Promise<number | undefined> {
  let read: number | undefined;
  try {
    for await (const message of await manager.direct.getBatch(stream, {
      ...{ seq, batch: PIECE_MESSAGES, max_bytes: PIECE_BYTES },
    })) {
      await take(message);
      read = message.seq;
    }
  } catch (error) {
    if (!isNoMessage(error)) throw error;
  }
  return read;
}

/** Of the stream, or null when it is empty. @throws CraftError when it cannot be read */
async function lastMessage(manager: JetStreamManager, { stream, subject }: LogStream) {
  try {
    return await manager.direct.getMessage(stream, { last_by_subj: subject });
  } catch (cause) {
    if (isCausedBy(cause, NoRespondersError)) {
      throw new CraftError('UNAVAILABLE', `there is no stream ${stream}, or its NATS server is away`, { cause });
    }
    if (!isCausedBy(cause, PermissionViolationError)) throw cause;
    throw new CraftError('UNAVAILABLE', `this NATS user may not read ${stream}: use one of a reader`, { cause });
  }
}

/**
 * The sequence of the first message that reaches `mergedIndex`, by bisection; the one after `last`
 * when none does yet.
 */
async function sequenceOf(
  manager: JetStreamManager,
  log: LogStream,
  mergedIndex: MergedIndex,
  last: number,
): Promise<number> {
  let low = 1;
  let high = last + 1;
  if (mergedIndex === 1) return low;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await firstRun(manager, log, middle, high);
    if (found === undefined || found.run.after.mergedIndex >= mergedIndex) high = middle;
    else low = found.sequence + 1;
  }
  return low;
}

/**
 * At or after `sequence` and before `end`; what the stream has no more, and what is no merged
 * batch, is passed over.
 */
async function firstRun(
  manager: JetStreamManager,
  { stream, subject }: LogStream,
  sequence: number,
  end: number,
): Promise<{ run: MergedRun; sequence: number } | undefined> {
  for (let at = sequence; at < end; ) {
    const message = await manager.direct.getMessage(stream, { seq: at, next_by_subj: subject });
    if (message === null || message.seq >= end) return undefined;
    const run = runOf(message.data);
    if (run !== undefined) return { run, sequence: message.seq };
    at = message.seq + 1;
  }
  return undefined;
}

function runOf(data: Uint8Array, onDamage?: (why: string) => void): MergedRun | undefined {
  try {
    return decodeMergedBatch(data);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    onDamage?.(error.message);
    return undefined;
  }
}

interface LogLine {
  readonly index: MergedIndex;
  readonly group: number;
  readonly groupIndex: LogIndex;
  readonly term: Term;
  readonly timestamp: Timestamp;
  readonly name: string;
  readonly id: string;
  readonly server: string;
  readonly input: unknown;
}

function entriesOf(run: MergedRun | undefined): LogLine[] {
  if (run === undefined) return [];
  return run.entries.map((entry, position) => {
    const command = decodeCommand(entryBody(entry));
    return {
      index: run.firstMergedIndex + position,
      group: itemAt(run.groups, position),
      groupIndex: entry.index,
      term: entry.term,
      timestamp: entry.timestamp,
      name: command.name,
      id: command.id,
      server: command.server,
      input: JSON.parse(new TextDecoder().decode(command.payload)),
    };
  });
}

/**
 * How far the merged log of a stream is: its last merged index, 0 when it is empty or missing;
 * undefined when it may not be read with these credentials. What is no merged batch is passed over.
 * Rejects when JetStream does not answer, and when nothing of a merged log is near the end.
 */
export async function mergedIndexOf(connection: NatsConnection, log: LogStream): Promise<number | undefined> {
  const { stream, subject } = log;
  const manager = await jetstreamManager(connection, { checkAPI: false });
  try {
    const last = await manager.direct.getMessage(stream, { last_by_subj: subject });
    if (last === null) return 0;
    let run = runOf(last.data);
    for (let end = last.seq; run === undefined && end > Math.max(1, last.seq - LOOK_MESSAGES_MAX); end -= 1) {
      run = (await firstRun(manager, log, end - 1, end))?.run;
    }
    if (run === undefined) throw new Error(`none of its last ${LOOK_MESSAGES_MAX} messages is of a merged log`);
    return run.after.mergedIndex;
  } catch (error) {
    if (isCausedBy(error, PermissionViolationError)) return undefined;
    if (isCausedBy(error, NoRespondersError) && (await isMissing(manager, stream))) return 0;
    throw error;
  }
}

/**
 * A direct get of an unavailable stream also has no responders. Without the JetStream API the two
 * cases cannot be told apart.
 */
async function isMissing(manager: JetStreamManager, stream: string): Promise<boolean> {
  return manager.streams.info(stream).then(() => false, isStreamNotFound);
}

function isCausedBy(error: unknown, type: abstract new (...given: never[]) => Error): boolean {
  if (!(error instanceof Error)) return false;
  const { cause } = error;
  return error instanceof type || isCausedBy(cause, type);
}
