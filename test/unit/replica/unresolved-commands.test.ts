/** What becomes of commands whose leader was replaced before they were committed (T9). */
import { describe, expect, it } from 'vitest';
import type { QueuedCommand } from '../../../services/replica/core/effect.js';
import { UnresolvedCommands } from '../../../services/replica/core/unresolved-commands.js';
import { EntryKind, type LogEntry } from '../../../shared/raft/entry.js';
import type { EntryOutcome } from '../../../shared/raft/group.js';

const BYTES = new Uint8Array();
const command: QueuedCommand = { body: BYTES, acknowledgement: 'committed', isAwaited: true, isWatched: false };

const entry = (index: number): LogEntry => ({
  index,
  term: 1,
  timestamp: index,
  kind: EntryKind.command,
  bytes: BYTES,
});

function leftover(...indexes: number[]) {
  const waiting = indexes.map((index) => ({ command, index, term: 1, timestamp: index }));
  return { term: 1, entries: indexes.map(entry), waiting };
}

/** A group in which these entries have met these outcomes; the others are open. */
function group(commitIndex: number, outcomes: Record<number, EntryOutcome> = {}) {
  return { commitIndex, outcomeOf: (index: number): EntryOutcome => outcomes[index] ?? 'open' };
}

function told(resolved: ReturnType<UnresolvedCommands<QueuedCommand>['resolve']>) {
  return resolved.map(({ outcome, entries, waiting }) => {
    expect(waiting.map(({ index }) => index)).toEqual(entries.map(({ index }) => index));
    return `${outcome} ${entries.map(({ index }) => index)}`;
  });
}

describe('UnresolvedCommands', () => {
  it('are resolved as the outcomes become known, each once', () => {
    const unresolved = new UnresolvedCommands<QueuedCommand>();
    unresolved.add(leftover(5, 6, 7), 1_000);
    expect(told(unresolved.resolve(group(4), 0))).toEqual([]);
    expect(told(unresolved.resolve(group(5, { 5: 'committed' }), 1))).toEqual(['committed 5']);
    expect(unresolved.isEmpty).toBe(false);
    expect(told(unresolved.resolve(group(6, { 6: 'replaced', 7: 'replaced' }), 2))).toEqual(['replaced 6,7']);
    expect(unresolved.isEmpty).toBe(true);
  });

  it('are unknown when nothing decides them in time, or a snapshot covers them', () => {
    const unresolved = new UnresolvedCommands<QueuedCommand>();
    unresolved.add(leftover(5, 6), 1_000);
    expect(told(unresolved.resolve(group(5, { 5: 'unknown' }), 999))).toEqual(['unknown 5']);
    expect(told(unresolved.resolve(group(5, { 5: 'unknown' }), 1_000))).toEqual(['unknown 6']);
    expect(unresolved.isEmpty).toBe(true);
  });

  it('of more leaderships than are kept are given up, the oldest first', () => {
    const unresolved = new UnresolvedCommands<QueuedCommand>();
    for (let index = 1; index <= 5; index++) unresolved.add(leftover(index), 1_000);
    expect(told(unresolved.resolve(group(0), 0))).toEqual(['unknown 1']);
    expect(told(unresolved.resolve(group(2, { 2: 'committed', 3: 'replaced' }), 1))).toEqual([
      'committed 2',
      'replaced 3',
    ]);
  });

  it('of a leadership that left nothing behind are none', () => {
    const unresolved = new UnresolvedCommands<QueuedCommand>();
    unresolved.add(leftover(), 1_000);
    expect(unresolved.isEmpty).toBe(true);
  });
});
