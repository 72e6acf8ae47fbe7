/** The feed between a merger and its replica: `craft.v1.FeedRequest` and `FeedReply` <-> plain objects. */
import { headers, type MsgHdrs } from '@nats-io/nats-core';
import type { GroupId, Index, LogEntry, Timestamp } from '../raft/entry.js';
import { concatBlock, decodeBlock } from './entry-block.js';
import './protobuf.js';
import { craft } from './generated/craft.js';
import { WireError } from './wire-error.js';

/** In a request the merger that asks; in an answer, which has no data then, the one that has replaced it. */
export const MERGER_HEADER = 'Craft-Merger';

export function mergerHeader(merger: string): MsgHdrs {
  const header = headers();
  header.set(MERGER_HEADER, merger);
  return header;
}

export interface FeedRequestFields {
  readonly positions: readonly Index[];
  readonly bytesMax: number;
  readonly waitingFor: Timestamp;
  readonly watermarks: readonly Timestamp[];
}

export interface FeedGroup {
  readonly group: GroupId;
  readonly entries: readonly LogEntry[];
  readonly watermark: Timestamp;
}

export function encodeFeedRequest(request: FeedRequestFields): Uint8Array {
  return craft.v1.FeedRequest.encode({
    positions: [...request.positions],
    watermarks: [...request.watermarks],
    waitingFor: request.waitingFor,
    bytesMax: request.bytesMax,
  }).finish();
}

/** Throws WireError, also when it is not about `groups` groups. */
export function decodeFeedRequest(bytes: Uint8Array, groups: number): FeedRequestFields {
  const { positions, watermarks, waitingFor, bytesMax } = decode(() => craft.v1.FeedRequest.decode(bytes));
  if (positions.length !== groups || watermarks.length !== groups) {
    throw new WireError(`a feed request for ${positions.length} groups instead of ${groups}`);
  }
  if (![...positions, ...watermarks, waitingFor].every(Number.isSafeInteger))
    throw new WireError('number out of range');
  return { positions, watermarks, waitingFor, bytesMax };
}

export interface FeedReply {
  readonly groups: readonly FeedGroup[];
  /** See the feed's answer in services/replica/core/feed.ts; null when all that was asked for is there. */
  readonly bases: readonly Index[] | null;
}

export function encodeFeedReply({ groups, bases }: FeedReply): Uint8Array {
  return craft.v1.FeedReply.encode({
    bases: bases === null ? [] : [...bases],
    groups: groups.map(({ group, entries, watermark }) =>
      entries.length === 0
        ? { group, watermark }
        : { group, watermark, firstIndex: entries[0]?.index ?? 0, entries: concatBlock(entries) },
    ),
  }).finish();
}

/** Throws WireError. */
export function decodeFeedReply(bytes: Uint8Array, groups: number): FeedReply {
  const reply = decode(() => craft.v1.FeedReply.decode(bytes));
  const { bases } = reply;
  if ((bases.length !== 0 && bases.length !== groups) || !bases.every(Number.isSafeInteger)) {
    throw new WireError('a feed reply of another shape');
  }
  return { groups: decodeGroups(reply.groups, groups), bases: bases.length === 0 ? null : bases };
}

function decodeGroups(parts: readonly craft.v1.IGroupFeed[], groups: number): FeedGroup[] {
  return parts.map((part) => {
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
