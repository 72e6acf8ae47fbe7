/**
 * Reading the stream of a jetstream log store: all of it when it is opened, single records later.
 * Damage leaves here as the port's error.
 */
import type { GroupId, LogEntry } from '../../raft/entry.js';
import { LogStoreFormatError, type LogStoreIdentity, LogStoreIdentityError } from '../errors.js';
import { LogStoreCorruptError } from '../port.js';
import type { Segment } from './group-index.js';
import { decodeRecord, MessageError, STREAM_FORMAT, type StoreRecord } from './record.js';
import { Replay } from './replay.js';
import type { Placed, StoreStream } from './stream.js';

/** Messages asked for at once while the stream is read. */
const READS_MAX = 64;

/** Those of the record of a segment that it is about. */
export function entriesIn(
  { header, entries }: StoreRecord,
  group: GroupId,
  { sequence, from, to }: Segment,
): LogEntry[] {
  const blocks = [...header.moved, ...header.groups.flatMap(({ block }) => (block === undefined ? [] : [block]))];
  const block = blocks.find((each) => each.group === group && each.firstIndex <= from && each.lastIndex >= to);
  if (block === undefined) throw new MessageError(sequence, `it has no entries ${from} to ${to} of group ${group}`);
  return entries(block).slice(from - block.firstIndex, to - block.firstIndex + 1);
}

export async function readRecord(stream: StoreStream, { sequence, parts }: Placed): Promise<StoreRecord> {
  const messages = await Promise.all(Array.from({ length: parts }, (_, part) => stream.get(sequence + part)));
  for (const [part, message] of messages.entries()) {
    if (message.part !== part || message.parts !== parts)
      throw new MessageError(message.sequence, 'it is another part');
  }
  const [only] = messages;
  const bytes = parts === 1 && only !== undefined ? only.data : Buffer.concat(messages.map(({ data }) => data));
  return decodeRecord(bytes, sequence);
}

/** Reads the whole stream, some messages ahead, and checks that it is the store of `identity`. */
export async function readStream(stream: StoreStream, identity: LogStoreIdentity): Promise<Replay> {
  const replay = new Replay();
  const { first, last, name } = stream;
  if (last === 0) return replay;
  await located(
    stream,
    (async () => {
      if (first > last) throw new MessageError(last, 'everything in the stream has been removed');
      for (let next = first; next <= last; next += READS_MAX) {
        const count = Math.min(READS_MAX, last - next + 1);
        const messages = await Promise.all(Array.from({ length: count }, (_, i) => stream.get(next + i)));
        for (const message of messages) replay.take(message);
      }
      replay.finish();
    })(),
  );
  checkIdentity(name, replay.identity, identity);
  return replay;
}

function checkIdentity(stream: string, found: Replay['identity'], expected: LogStoreIdentity): void {
  if (found === undefined) return;
  const { format, cluster, server, groups } = found;
  const place = `stream ${stream}`;
  if (format !== STREAM_FORMAT) throw new LogStoreFormatError(place, format, STREAM_FORMAT);
  if (cluster === expected.cluster && server === expected.server && groups === expected.groups) return;
  const wanted = { cluster: expected.cluster, server: expected.server, groups: expected.groups };
  throw new LogStoreIdentityError(place, wanted, { cluster, server, groups });
}

/** What is read, with damage as the error of the port. */
export async function located<T>(stream: StoreStream, reading: Promise<T>): Promise<T> {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof MessageError)) throw error;
    throw new LogStoreCorruptError(`stream ${stream.name}, message ${error.sequence}`, error.message, { cause: error });
  }
}
