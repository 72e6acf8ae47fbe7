/** The merged log of one server, read from its stream. Positions are merged indexes; stream sequences mean nothing outside this file. */
import { DeliverPolicy, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { type NatsConnection, PermissionViolationError } from 'nats';
import type { MergedRun } from '../../shared/merge/merge.js';
import { decodeCommand } from '../../shared/wire/command.js';
import { entryBody } from '../../shared/wire/entry-block.js';
import { isStreamNotFound } from '../../shared/wire/jetstream-errors.js';
import { decodeMergedBatch } from '../../shared/wire/merged-batch.js';
import { WireError } from '../../shared/wire/wire-error.js';

export interface LogRange {
  /** The first merged index to print. */
  readonly from: number;
  /** Go on with what is still to come, for ever. */
  readonly follow: boolean;
}

/** Messages at the end of a stream that are looked at for one that is a merged batch. */
const LOOK_MESSAGES_MAX = 64;

/**
 * Prints the entries of the range in order, one object each. What is no merged batch is passed over, as the appliers do, and `onSkipped` told.
 * Rejects when there is no such stream.
 */
export async function printLog(
  connection: NatsConnection,
  stream: string,
  range: LogRange,
  print: (entry: object) => void,
  onSkipped: (why: string) => void,
): Promise<void> {
  const manager = await jetstreamManager(connection);
  const { state } = await manager.streams.info(stream);
  if (state.messages === 0 && !range.follow) return;
  const start = await sequenceOf(manager, stream, range.from, state.first_seq, state.last_seq);
  if (start > state.last_seq && !range.follow) return;
  const consumer = await jetstream(connection).consumers.get(stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: start,
  });
  const messages = await consumer.consume();
  try {
    for await (const message of messages) {
      const run = runOf(message.data, (why) => onSkipped(`message ${message.seq} of ${stream} is passed over: ${why}`));
      for (const entry of entriesOf(run)) if (entry.index >= range.from) print(entry);
      if (!range.follow && message.seq >= state.last_seq) break;
    }
  } finally {
    // The NATS server keeps one that nobody reads for minutes, and only so many of them.
    messages.stop();
    await consumer.delete().catch(() => undefined);
  }
}

/** The sequence of the first message that reaches `mergedIndex`, by bisection. */
async function sequenceOf(
  manager: JetStreamManager,
  stream: string,
  mergedIndex: number,
  firstSequence: number,
  lastSequence: number,
): Promise<number> {
  let low = Math.max(1, firstSequence);
  let high = lastSequence + 1;
  if (mergedIndex === 1) return low;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    // What is no merged batch is passed over.
    let run: MergedRun | undefined;
    let at = middle;
    for (; at < high && run === undefined; at++) run = await runAt(manager, stream, at);
    if (run === undefined || run.after.mergedIndex >= mergedIndex) high = middle;
    else low = at;
  }
  return low;
}

/** Undefined for a message that is gone, or no merged batch. */
async function runAt(manager: JetStreamManager, stream: string, sequence: number): Promise<MergedRun | undefined> {
  const message = await manager.streams.getMessage(stream, { seq: sequence });
  return message === null ? undefined : runOf(message.data);
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
  readonly index: number;
  readonly group: number;
  readonly groupIndex: number;
  readonly term: number;
  readonly timestamp: number;
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
      group: run.groups[position] ?? 0,
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
 * How far the merged log of a stream is: its last merged index, 0 when it is empty or missing; undefined when it may not be read with these
 * credentials. What is no merged batch is passed over. Rejects when JetStream does not answer, and when nothing of a merged log is near the end.
 */
export async function mergedIndexOf(
  connection: NatsConnection,
  stream: string,
  subject: string,
): Promise<number | undefined> {
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const last = await manager.streams.getMessage(stream, { last_by_subj: subject });
    if (last === null) return 0;
    const first = Math.max(1, last.seq - LOOK_MESSAGES_MAX);
    let run = runOf(last.data);
    for (let at = last.seq - 1; run === undefined && at >= first; at--) run = await runAt(manager, stream, at);
    if (run === undefined) throw new Error(`none of its last ${LOOK_MESSAGES_MAX} messages is of a merged log`);
    return run.after.mergedIndex;
  } catch (error) {
    if (isStreamNotFound(error)) return 0;
    if (isRefused(error)) return undefined;
    throw error;
  }
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && (error instanceof PermissionViolationError || isRefused(error.cause));
}
