/**
 * The feed between a merger and its replica: `craft.v1.FeedRequest` and `FeedReply` <-> plain
 * objects.
 */
import { headers, type MsgHdrs } from '@nats-io/nats-core';
import type { GroupId, LogEntry, LogIndex, Timestamp } from '../raft/entry.js';
import { concatBlock, decodeBlock } from './entry-block.js';
import './protobuf.js';
import { itemAt, type PerGroup } from '../raft/lists.js';
import { craft } from './generated/craft.js';
import { PROTOCOL, readable, requireReadable } from './protocol.js';
import { WireError } from './wire-error.js';

/**
 * In a request the merger that asks; in an answer, which has no data then, the one that has
 * replaced it.
 */
export const MERGER_HEADER = 'Craft-Merger';

/**
 * In an answer without data: the versions of the protocol that the replica reads, when that of the
 * request is none of them.
 */
export const PROTOCOL_HEADER = 'Craft-Protocol';

export function mergerHeader(merger: string): MsgHdrs {
  const header = headers();
  header.set(MERGER_HEADER, merger);
  return header;
}

export function protocolHeader(): MsgHdrs {
  const header = headers();
  header.set(PROTOCOL_HEADER, readable(PROTOCOL));
  return header;
}

export interface FeedRequest {
  /** The first index that the merger lacks; NOT_WANTED: none of this group now. */
  readonly positions: PerGroup<LogIndex>;
  readonly bytesMax: number;
  /** The largest timestamp whose merge waits for watermarks; BEFORE_ALL when nothing waits (T5). */
  readonly waitingFor: Timestamp;
  /** The watermarks that the merger knows. */
  readonly watermarks: PerGroup<Timestamp>;
}

export interface FeedGroup {
  readonly group: GroupId;
  readonly entries: readonly LogEntry[];
  /** No entry at or below this is still to come after these (T3). */
  readonly watermark: Timestamp;
}

export function encodeFeedRequest(request: FeedRequest): Uint8Array {
  return craft.v1.FeedRequest.encode({
    positions: [...request.positions],
    watermarks: [...request.watermarks],
    waitingFor: request.waitingFor,
    bytesMax: request.bytesMax,
    protocol: PROTOCOL.writes,
  }).finish();
}

/** @throws WireError, also when it is not about `groups` groups; ProtocolError. */
export function decodeFeedRequest(bytes: Uint8Array, groups: number): FeedRequest {
  const request = decode(() => craft.v1.FeedRequest.decode(bytes));
  requireReadable('', request.protocol);
  const { positions, watermarks, waitingFor, bytesMax } = request;
  if (positions.length !== groups || watermarks.length !== groups) {
    throw new WireError(`a feed request for ${positions.length} groups instead of ${groups}`);
  }
  if (![...positions, ...watermarks, waitingFor].every(Number.isSafeInteger))
    throw new WireError('number out of range');
  return { positions, watermarks, waitingFor, bytesMax };
}

export interface FeedReply {
  readonly groups: readonly FeedGroup[];
  /**
   * The indexes up to which the logs are gone, when some of what was asked for is: the merger must
   * go on from a position beyond these (T10). Else null.
   */
  readonly bases: PerGroup<LogIndex> | null;
}

export function encodeFeedReply({ groups, bases }: FeedReply): Uint8Array {
  return craft.v1.FeedReply.encode({
    protocol: PROTOCOL.writes,
    bases: bases === null ? [] : [...bases],
    groups: groups.map(({ group, entries, watermark }) =>
      entries.length === 0
        ? { group, watermark }
        : { group, watermark, firstIndex: itemAt(entries, 0).index, entries: concatBlock(entries) },
    ),
  }).finish();
}

/** @throws WireError; ProtocolError. */
export function decodeFeedReply(bytes: Uint8Array, groups: number): FeedReply {
  const reply = decode(() => craft.v1.FeedReply.decode(bytes));
  requireReadable('', reply.protocol);
  const { bases } = reply;
  if ((bases.length !== 0 && bases.length !== groups) || !bases.every(Number.isSafeInteger)) {
    throw new WireError('a feed reply of another shape');
  }
  return { groups: decodeGroups(reply.groups, groups), bases: bases.length === 0 ? null : bases };
}

function decodeGroups(parts: readonly craft.v1.IGroupFeed[], groups: number): FeedGroup[] {
  return parts.map((part) => {
    // A number that the message does not have is 0 in protobuf.
    const group = part.group ?? 0;
    const watermark = part.watermark ?? 0;
    const firstIndex = part.firstIndex ?? 0;
    if (group >= groups || !Number.isSafeInteger(watermark) || !Number.isSafeInteger(firstIndex)) {
      throw new WireError('a feed reply out of range');
    }
    const entries = part.entries && part.entries.length > 0 ? decodeBlock(part.entries, firstIndex) : [];
    return { group, entries, watermark };
  });
}

function decode<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new WireError('not a feed message', { cause });
  }
}
