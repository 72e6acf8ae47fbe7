/** `craft.v1.MergedBatch`, a message of the merged-log stream <-> a run of the merge (T4). */
import type { MergedRun } from '../merge/merge.js';
import { EntryKind, type LogEntry, type LogIndex, NOTHING_MERGED } from '../raft/entry.js';
import { concatBlock, decodeBlock } from './entry-block.js';
import './protobuf.js';
import { itemAt } from '../raft/lists.js';
import { craft } from './generated/craft.js';
import { WireError } from './wire-error.js';

const CHECKSUM = /^[0-9a-f]{16}$/;

export function encodeMergedBatch(run: MergedRun): Uint8Array {
  return craft.v1.MergedBatch.encode({
    firstMergedIndex: run.firstMergedIndex,
    groups: run.groups,
    indexes: run.entries.map((entry) => entry.index),
    entries: concatBlock(run.entries),
    checksum: run.after.checksum,
    positions: [...run.after.positions],
    checkpoints: run.checkpoints,
  }).finish();
}

/**
 * The run with its entries as views of `bytes`, each with its index in its group's log. Entries are
 * commands only: nothing else has a place in the merged log.
 * @throws WireError when the bytes are not a merged batch, or its parts do not agree.
 */
export function decodeMergedBatch(bytes: Uint8Array): MergedRun {
  const batch = decode(bytes);
  const { firstMergedIndex, groups, indexes, checksum, positions } = batch;
  if (!Number.isSafeInteger(firstMergedIndex) || firstMergedIndex < 1) {
    throw new WireError(`a merged batch begins with the merged index ${firstMergedIndex}`);
  }
  if (!CHECKSUM.test(checksum)) throw new WireError(`a merged batch has the checksum "${checksum.slice(0, 32)}"`);
  const entries = decodeBlock(batch.entries, 1);
  if (entries.length !== groups.length || entries.length !== indexes.length) {
    throw new WireError(
      `a merged batch of ${entries.length} entries has ${groups.length} groups and ${indexes.length} indexes`,
    );
  }
  const mergedIndex = firstMergedIndex + entries.length - 1;
  const checkpoints = batch.checkpoints.map((checkpoint) => ({
    // One without it lies outside.
    mergedIndex: checkpoint.mergedIndex ?? NOTHING_MERGED,
    checksum: checkpoint.checksum ?? '',
  }));
  for (const checkpoint of checkpoints) {
    const isWithin = checkpoint.mergedIndex >= firstMergedIndex && checkpoint.mergedIndex <= mergedIndex;
    if (!isWithin || !CHECKSUM.test(checkpoint.checksum)) throw new WireError('a checkpoint lies outside its batch');
  }
  return {
    firstMergedIndex,
    groups,
    entries: entries.map((entry, at) => place(entry, itemAt(indexes, at))),
    checkpoints,
    after: { mergedIndex, checksum, positions: positions.map(safe) },
  };
}

function place(entry: LogEntry, index: LogIndex): LogEntry {
  if (entry.kind !== EntryKind.command) throw new WireError(`an entry of kind ${entry.kind} in the merged log`);
  if (safe(index) < 1) throw new WireError(`an entry with the index ${index} in the merged log`);
  return { index, term: entry.term, timestamp: entry.timestamp, kind: entry.kind, bytes: entry.bytes };
}

function safe(value: number): number {
  if (!Number.isSafeInteger(value)) throw new WireError(`${value} is above 2^53 - 1`);
  return value;
}

function decode(bytes: Uint8Array): craft.v1.MergedBatch {
  try {
    // As a Buffer: the generated code then reads strings natively.
    return craft.v1.MergedBatch.decode(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch (cause) {
    throw new WireError('not a merged batch', { cause });
  }
}
