/**
 * The trivial model that the stores are held against: plain arrays, and batches made from a seed.
 */

import { createHash } from 'node:crypto';
import type { LoadedState, LogStore, WriteBatch } from '../../../shared/log-store/port.js';
import {
  type GroupId,
  type HardState,
  LOG_START,
  type LogEntry,
  type LogPosition,
  type PlacedConfiguration,
} from '../../../shared/raft/entry.js';
import { encodeEntry } from '../../../shared/wire/entry-block.js';

export function entry(index: number, term: number, body = `entry ${index} of term ${term}`): LogEntry {
  const timestamp = 1_790_000_000_000_000 + index;
  return { index, term, timestamp, kind: 3, bytes: encodeEntry(term, timestamp, 3, Buffer.from(body)) };
}

/** Entries `from` .. `to` of one term. */
export function entries(from: number, to: number, term: number, body?: string): LogEntry[] {
  return Array.from({ length: to - from + 1 }, (_, i) => entry(from + i, term, body));
}

export function position(index: number, term: number): LogPosition {
  return { index, term, timestamp: 1_790_000_000_000_000 + index };
}

export function configuration(index: number, term: number): PlacedConfiguration {
  return { voters: ['s1', 's2', `s${index}`], learners: [], index, term };
}

export interface ModelGroup {
  hardState: HardState;
  base: LogPosition;
  configurations: readonly PlacedConfiguration[];
  entries: LogEntry[];
}

const NEW_GROUP: ModelGroup = {
  hardState: { term: 0, votedFor: null, commitIndex: 0 },
  base: LOG_START,
  configurations: [],
  entries: [],
};

export class Model {
  promiseLimit = 0;
  readonly groups = new Map<GroupId, ModelGroup>();

  group(group: GroupId): ModelGroup {
    return this.groups.get(group) ?? NEW_GROUP;
  }

  lastIndex(group: GroupId): number {
    const { base, entries } = this.group(group);
    return entries.at(-1)?.index ?? base.index;
  }

  apply(batch: WriteBatch): this {
    this.promiseLimit = batch.promiseLimit ?? this.promiseLimit;
    for (const write of batch.groups) {
      const before = this.group(write.group);
      const base = write.base ?? before.base;
      const fits = [before.base, ...before.entries].some(
        ({ index, term }) => index === base.index && term === base.term,
      );
      const kept = before.entries.filter(
        ({ index }) => fits && index > base.index && index < (write.truncateFrom ?? Number.POSITIVE_INFINITY),
      );
      this.groups.set(write.group, {
        hardState: write.hardState ?? before.hardState,
        base,
        configurations: write.configurations ?? before.configurations,
        entries: [...kept, ...(write.entries ?? [])],
      });
    }
    return this;
  }

  /** All of the state as comparable text. */
  dump(): object {
    return dump(this.promiseLimit, [...this.groups]);
  }
}

type GroupRow = readonly [GroupId, ModelGroup];

function dump(promiseLimit: number, rows: readonly GroupRow[]): object {
  const sorted = [...rows].sort(([a], [b]) => a - b);
  return {
    promiseLimit,
    groups: sorted.map(([group, { entries, ...head }]) => ({ group, ...head, entries: entries.map(entryText) })),
  };
}

export function entryText({ index, term, timestamp, kind, bytes }: LogEntry): string {
  return `${index} ${term} ${timestamp} ${kind} ${createHash('sha1').update(bytes).digest('base64')}`;
}

/**
 * All of a store's state as comparable text, read in chunks of at most `bytesMax`. `loaded` is what
 * its `load` gave.
 */
export async function dumpStore(store: LogStore, loaded: LoadedState, bytesMax = 100_000): Promise<object> {
  const rows: GroupRow[] = [];
  for (const [group, { hardState, base, configurations, lastIndex }] of loaded.groups) {
    const list: LogEntry[] = [];
    while (base.index + list.length < lastIndex) {
      const more = await store.read(group, base.index + list.length + 1, lastIndex, bytesMax);
      if (more.length === 0) throw new Error(`group ${group} ends at ${base.index + list.length}, not at ${lastIndex}`);
      list.push(...more);
    }
    rows.push([group, { hardState, base, configurations, entries: list }]);
  }
  return dump(loaded.promiseLimit, rows);
}

/** Uniform in [0, 1), the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b_79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * The write number `n` of a run. It touches every group, so that a batch that survives in part
 * shows. Its promise limit is n, so that a store tells how far it came. `bytes` is about what each
 * group gets. Now and then a group's base moves: to an entry of its log, beyond the end of that, or
 * to an entry that conflicts with its own.
 */
export function batchOf(seed: number, n: number, model: Model, groups: number, bytes: number): WriteBatch {
  const random = randomOf(seed * 1_000_003 + n);
  return {
    promiseLimit: n,
    groups: Array.from({ length: groups }, (_, group) => {
      const before = model.group(group);
      const length = model.lastIndex(group);
      const lastTerm = before.entries.at(-1)?.term ?? Math.max(1, before.base.term);
      const moves = random() < 0.08;
      const base = moves ? movedBase(before, lastTerm, random) : before.base;
      const fits = base.term <= lastTerm && base.index <= length;
      const end = fits ? length : base.index;
      const truncates = end > base.index && random() < 0.1;
      const cut = truncates ? Math.max(base.index, end - Math.floor(random() * 12)) : end;
      const term = Math.max(lastTerm, base.term) + (truncates || random() < 0.05 ? 1 : 0);
      const count = Math.floor(random() * 6);
      const body = `${n} `.repeat(Math.ceil((random() * bytes) / 8));
      return {
        group,
        hardState: { term, votedFor: `s${n}`, commitIndex: Math.floor(cut * random()) },
        ...(moves
          ? { base, configurations: [configuration(base.index, base.term), configuration(n + base.index, term)] }
          : {}),
        ...(truncates ? { truncateFrom: cut + 1 } : {}),
        entries: entries(cut + 1, cut + count, term, body),
      };
    }),
  };
}

function movedBase({ base, entries }: ModelGroup, lastTerm: number, random: () => number): LogPosition {
  const kept = random() < 0.6 ? entries[Math.floor(random() * entries.length)] : undefined;
  if (kept !== undefined) return position(kept.index, kept.term);
  return position(base.index + Math.floor(random() * (entries.length + 10)), lastTerm + 1);
}

/** The model after writes 1 .. n of a run. */
export function modelAfter(seed: number, n: number, groups: number, bytes: number): Model {
  const model = new Model();
  for (let write = 1; write <= n; write++) model.apply(batchOf(seed, write, model, groups, bytes));
  return model;
}
