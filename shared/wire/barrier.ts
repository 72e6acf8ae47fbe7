/**
 * Read barriers between an applier and its replica (T6): `craft.v1.BarrierReply` <-> positions. The
 * request is empty.
 */
import type { LogIndex } from '../raft/entry.js';
import './protobuf.js';
import type { PerGroup } from '../raft/lists.js';
import { craft } from './generated/craft.js';
import { WireError } from './wire-error.js';

export function encodeBarrierReply(positions: PerGroup<LogIndex>): Uint8Array {
  return craft.v1.BarrierReply.encode({ positions: [...positions] }).finish();
}

/** Throws WireError, also when it is not about `groups` groups. */
export function decodeBarrierReply(bytes: Uint8Array, groups: number): PerGroup<LogIndex> {
  const { positions } = decode(bytes);
  if (positions.length !== groups || !positions.every(Number.isSafeInteger)) throw new WireError('wrong positions');
  return positions;
}

function decode(bytes: Uint8Array): craft.v1.BarrierReply {
  try {
    return craft.v1.BarrierReply.decode(bytes);
  } catch (cause) {
    throw new WireError('not a barrier reply', { cause });
  }
}
