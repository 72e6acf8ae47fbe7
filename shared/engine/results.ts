/**
 * Exactly once (T8): results by id, kept for a window that is measured in entry timestamps. What
 * counts as a duplicate depends on the merged log alone: a result older than the window is absent,
 * whether or not it has been removed from the store yet. A rejection is a result like any other. A
 * command without an id has no memory.
 */

import { createHash } from 'node:crypto';
import { CHECKPOINT_INTERVAL } from '../merge/merge.js';
import { InvariantError } from '../raft/assert.js';
import { itemAt } from '../raft/lists.js';
import type { Applied, AppliedBatch, MergedCommand, ResultsCheckpoint } from './port.js';
import { ResultsChecksum } from './results-checksum.js';
import type { CommandOutcome } from './state-machine.js';

/** Where an id first took effect, and with what outcome. */
export type StoredResult = Omit<Applied, 'duplicate'>;

const ID_LENGTH_MAX = 256;
const UNSTORABLE = /[\0\ud800-\udfff]/u;

/**
 * The key that an id is stored under: itself, or a digest when no text column or index could hold
 * it.
 */
export function resultKey(id: string): string {
  if (id.length <= ID_LENGTH_MAX && !UNSTORABLE.test(id)) return id;
  return `sha256:${createHash('sha256').update(id, 'utf16le').digest('hex')}`;
}

/** The keys of the commands' ids, empty for a command without one. */
export function resultKeysOf(commands: readonly MergedCommand[]): string[] {
  return commands.map(({ id }) => (id === '' ? '' : resultKey(id)));
}

/**
 * What a command of a batch is: new, a duplicate of a stored one, or of an earlier one of the same
 * batch (its place there).
 */
export type Origin = 'new' | StoredResult | number;

/**
 * `stored` gives what the store has for a key, expired or not. `windowUs` in microseconds of entry
 * time.
 */
export function originsOf(
  commands: readonly MergedCommand[],
  windowUs: number,
  stored: (key: string) => StoredResult | undefined,
  keys: readonly string[] = resultKeysOf(commands),
): Origin[] {
  /** Place in the batch of the last new command of an id. */
  const places = new Map<string, number>();
  return commands.map((command, at) => {
    const key = keys[at] ?? '';
    if (key === '') return 'new';
    const horizon = command.timestamp - windowUs;
    const place = places.get(key);
    const earlier = place === undefined ? undefined : commands[place];
    if (place !== undefined && earlier !== undefined && earlier.timestamp >= horizon) return place;
    if (place === undefined) {
      const result = stored(key);
      if (result !== undefined && result.timestamp >= horizon) return result;
    }
    places.set(key, at);
    return 'new';
  });
}

export interface SettledBatch extends AppliedBatch {
  /** What is to be stored, by key: overwrites what is there. */
  readonly results: ReadonlyMap<string, StoredResult>;
}

/**
 * Lays the outcomes of the new commands, in order, and those of their originals for duplicates,
 * beside the commands.
 */
export function settle(
  commands: readonly MergedCommand[],
  origins: readonly Origin[],
  outcomes: readonly CommandOutcome[],
  resultsChecksum: string,
  keys: readonly string[] = resultKeysOf(commands),
): SettledBatch {
  const checksum = new ResultsChecksum(resultsChecksum);
  const applied: Applied[] = [];
  const checkpoints: ResultsCheckpoint[] = [];
  const results = new Map<string, StoredResult>();
  let next = 0;
  for (let at = 0; at < commands.length; at++) {
    const command = itemAt(commands, at);
    const origin = itemAt(origins, at);
    let result: Applied;
    if (origin === 'new') {
      const outcome = itemAt(outcomes, next++);
      const { mergedIndex, group, timestamp } = command;
      result = { mergedIndex, group, timestamp, outcome, duplicate: false };
      const key = keys[at] ?? '';
      if (key !== '') results.set(key, { mergedIndex, group, timestamp, outcome });
    } else {
      const original = typeof origin === 'number' ? applied[origin] : origin;
      if (original === undefined)
        throw new InvariantError(`merged index ${command.mergedIndex} repeats a later command`);
      const { mergedIndex, group, timestamp, outcome } = original;
      result = { mergedIndex, group, timestamp, outcome, duplicate: true };
    }
    applied.push(result);
    checksum.add(command.mergedIndex, result.mergedIndex, result.outcome);
    if (command.mergedIndex % CHECKPOINT_INTERVAL === 0) {
      checkpoints.push({ mergedIndex: command.mergedIndex, resultsChecksum: checksum.toString() });
    }
  }
  if (next !== outcomes.length) throw new InvariantError(`${outcomes.length} outcomes of ${next} commands`);
  return { applied, checkpoints, results, resultsChecksum: checksum.toString() };
}
