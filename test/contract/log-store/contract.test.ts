import fc from 'fast-check';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { LogStoreUsageError } from '../../../shared/log-store/head.js';
import type { LogStore, WriteBatch } from '../../../shared/log-store/port.js';
import { LOG_START, type LogEntry } from '../../../shared/raft/entry.js';
import { decodeBlock } from '../../../shared/wire/entry-block.js';
import { configuration, dumpStore, entries, entry, entryText, Model, type ModelGroup, position } from './model.js';
import { adapters, type Subject } from './subject.js';

const texts = (list: readonly LogEntry[]) => list.map(entryText);
const ALL = Number.MAX_SAFE_INTEGER;

/**
 * A base `forward` of the one before: that entry of the log, or one of a later term in its place or
 * beyond the end.
 */
function movedBase({ base, entries: list }: ModelGroup, lastTerm: number, move: { forward: number; fits: boolean }) {
  const found = [base, ...list][move.forward];
  return move.fits && found !== undefined
    ? position(found.index, found.term)
    : position(base.index + move.forward, lastTerm + 1);
}

describe.each(adapters)('$name log store', (adapter) => {
  afterEach(() => adapter.cleanUp());
  afterAll(() => adapter.stop());

  const started = async (...batches: WriteBatch[]): Promise<Subject> => {
    const subject = await adapter.make();
    await subject.store.load();
    for (const batch of batches) await subject.store.write(batch);
    return subject;
  };
  const append = (group: number, from: number, to: number, term = 1): WriteBatch => ({
    groups: [{ group, entries: entries(from, to, term) }],
  });
  const all = async (store: LogStore, group = 0) => texts(await store.read(group, 1, ALL, ALL));

  it('is empty when new', async () => {
    const { store } = await adapter.make();
    expect(await store.load()).toEqual({ promiseLimit: 0, groups: new Map() });
    expect(await store.read(0, 1, ALL, ALL)).toEqual([]);
  });

  it.each(['reopen', 'crash'] as const)('gives back after a %s what was acknowledged', async (how) => {
    const hardState = { term: 3, votedFor: 's2', commitIndex: 4 };
    const before = await started(
      {
        promiseLimit: 123_456,
        groups: [
          { group: 0, hardState, entries: entries(1, 5, 2) },
          { group: 2, entries: entries(1, 1, 1) },
        ],
      },
      { groups: [{ group: 0, entries: entries(6, 7, 3) }] },
    );
    const { store } = await before[how]();
    const { promiseLimit, groups } = await store.load();
    expect(promiseLimit).toBe(123_456);
    expect([...groups.keys()].sort()).toEqual([0, 2]);
    const zero = groups.get(0);
    expect(zero).toMatchObject({
      hardState,
      lastIndex: 7,
      termStarts: [
        { term: 2, firstIndex: 1 },
        { term: 3, firstIndex: 6 },
      ],
    });
    const tail = zero?.tail ?? [];
    expect(tail[0]?.index).toBeLessThanOrEqual(4);
    expect(texts(tail)).toEqual(texts([...entries(1, 5, 2), ...entries(6, 7, 3)]).slice((tail[0]?.index ?? 0) - 1));
    expect(groups.get(2)).toMatchObject({ hardState: { term: 0, votedFor: null, commitIndex: 0 }, lastIndex: 1 });
    expect(await all(store)).toEqual(texts([...entries(1, 5, 2), ...entries(6, 7, 3)]));
  });

  it('keeps a write of hard state or promise limit alone', async () => {
    const hardState = { term: 9, votedFor: 's3', commitIndex: 0 };
    const before = await started({ groups: [{ group: 1, hardState }] }, { groups: [], promiseLimit: 77 });
    const loaded = await (await before.crash()).store.load();
    expect(loaded.promiseLimit).toBe(77);
    const unwritten = { base: LOG_START, configurations: [], lastIndex: 0, termStarts: [], tail: [] };
    expect(loaded.groups.get(1)).toEqual({ hardState, ...unwritten });
  });

  it('takes a batch of nothing', async () => {
    const { store } = await started({ groups: [] });
    await store.write({ groups: [{ group: 0 }] });
    await store.write({ groups: [{ group: 0, truncateFrom: 5, entries: [] }] });
    expect(await all(store)).toEqual([]);
  });

  describe('truncation', () => {
    it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])('from %i drops that entry and all later ones, for ever', async (from) => {
      const subject = await started(append(0, 1, 3), append(0, 4, 4), append(0, 5, 9), {
        groups: [{ group: 0, truncateFrom: from }],
      });
      const kept = texts(entries(1, 9, 1)).slice(0, from - 1);
      expect(await all(subject.store)).toEqual(kept);
      const again = await subject.crash();
      expect((await again.store.load()).groups.get(0)?.lastIndex).toBe(kept.length);
      expect(await all(again.store)).toEqual(kept);
    });

    it.each([1, 2, 3, 4, 6, 9, 10])('from %i goes with the append that replaces the suffix', async (from) => {
      const subject = await started(append(0, 1, 3), append(0, 4, 4), append(0, 5, 9), {
        groups: [{ group: 0, truncateFrom: from, entries: entries(from, from + 2, 2) }],
      });
      const expected = [...texts(entries(1, 9, 1)).slice(0, from - 1), ...texts(entries(from, from + 2, 2))];
      expect(await all(subject.store)).toEqual(expected);
      const again = await subject.crash();
      const loaded = await again.store.load();
      expect(loaded.groups.get(0)?.termStarts).toEqual(
        [
          { term: 1, firstIndex: 1 },
          { term: 2, firstIndex: from },
        ].slice(from === 1 ? 1 : 0),
      );
      expect(await all(again.store)).toEqual(expected);
    });

    it('leaves other groups alone', async () => {
      const { store } = await started(append(0, 1, 3), append(1, 1, 3), { groups: [{ group: 0, truncateFrom: 1 }] });
      expect(await all(store, 0)).toEqual([]);
      expect(await all(store, 1)).toEqual(texts(entries(1, 3, 1)));
    });

    it('beside reads never makes one fail or mix the two logs', async () => {
      const { store } = await started(append(0, 1, 40));
      let term = 1;
      for (let round = 0; round < 25; round++) {
        term++;
        const writing = store.write({
          groups: [{ group: 0, truncateFrom: 11 + round, entries: entries(11 + round, 60, term) }],
        });
        let written = false;
        void writing.then(() => {
          written = true;
        });
        const reads: Promise<LogEntry[]>[] = [];
        while (!written) {
          for (let from = 1; from < 30; from += 7) reads.push(store.read(0, from, ALL, ALL));
          // Holds the event loop, so that the write is often done and its caller does not know yet.
          const until = performance.now() + 0.4;
          while (performance.now() < until);
          await new Promise(setImmediate);
        }
        for (const list of await Promise.all(reads)) {
          expect(list.length).toBeGreaterThan(0);
          list.forEach((each, i) => {
            expect(each.index).toBe((list[0]?.index ?? 0) + i);
            expect(each.term).toBeGreaterThanOrEqual(list[i - 1]?.term ?? 0);
          });
        }
      }
    });
  });

  describe('a base', () => {
    const COUNT = 9;
    const stored = () =>
      started(append(0, 1, 3), { groups: [{ group: 0, entries: entries(4, 4, 2) }] }, append(0, 5, COUNT, 2));
    const full = [...entries(1, 3, 1), ...entries(4, COUNT, 2)];
    const termAt = (index: number) => (index <= 3 ? 1 : 2);
    const baseAt = (index: number, term = termAt(index)) => ({ groups: [{ group: 0, base: position(index, term) }] });
    const above = async (store: LogStore, index: number) => texts(await store.read(0, index + 1, ALL, ALL));

    it.each([1, 2, 3, 4, 5, 6, 7, 8, 9])(
      'at entry %i keeps what comes after it, and shows nothing else',
      async (index) => {
        let subject = await stored();
        await subject.store.write(baseAt(index));
        for (const how of ['reopen', 'crash'] as const) {
          for (let from = 0; from <= index; from++) expect(await subject.store.read(0, from, ALL, ALL)).toEqual([]);
          for (let from = index + 1; from <= COUNT + 1; from++) {
            expect(texts(await subject.store.read(0, from, ALL, ALL))).toEqual(texts(full.slice(from - 1)));
          }
          subject = await subject[how]();
          const group = (await subject.store.load()).groups.get(0);
          expect(group).toMatchObject({ base: position(index, termAt(index)), lastIndex: COUNT });
          expect(group?.tail[0]?.index ?? COUNT + 1).toBe(index + 1);
          expect(group?.termStarts.map(({ term }) => term)).toEqual(index < 3 ? [1, 2] : index < COUNT ? [2] : []);
        }
        await subject.store.write(append(0, COUNT + 1, COUNT + 2, 2));
        expect(await above(subject.store, index)).toEqual(
          texts([...full.slice(index), ...entries(COUNT + 1, COUNT + 2, 2)]),
        );
      },
    );

    it.each([
      ['an entry of another term', 5, 3],
      ['the last entry of another term', COUNT, 3],
      ['the end', COUNT + 1, 2],
      ['far beyond the end', COUNT + 500, 3],
    ])('at %s drops the whole log, for ever', async (_name, index, term) => {
      let subject = await stored();
      await subject.store.write(baseAt(index, term));
      for (const how of ['reopen', 'crash'] as const) {
        expect(await above(subject.store, index)).toEqual([]);
        expect(await all(subject.store)).toEqual([]);
        subject = await subject[how]();
        const group = (await subject.store.load()).groups.get(0);
        expect(group).toMatchObject({ base: position(index, term), lastIndex: index, termStarts: [], tail: [] });
      }
      // One entry a record, so that each of the old records is in the way of one.
      for (let next = index + 1; next <= index + 8; next++) {
        await subject.store.write(append(0, next, next, term));
        expect(await above(subject.store, index)).toEqual(texts(entries(index + 1, next, term)));
      }
      const again = await subject.crash();
      const group = (await again.store.load()).groups.get(0);
      expect(group?.termStarts).toEqual([{ term, firstIndex: index + 1 }]);
      expect(await above(again.store, index)).toEqual(texts(entries(index + 1, index + 8, term)));
    });

    it('at the index of the one before drops the log only when the terms differ', async () => {
      const { store } = await stored();
      await store.write(baseAt(4));
      await store.write(baseAt(4));
      expect(await above(store, 4)).toEqual(texts(full.slice(4)));
      await store.write(baseAt(4, 3));
      expect(await above(store, 4)).toEqual([]);
    });

    it.each([5, 6, 7])('goes with a truncation from %i and the entries after it', async (from) => {
      const subject = await stored();
      const added = entries(from, from + 6, 3);
      await subject.store.write({
        groups: [{ group: 0, base: position(4, 2), truncateFrom: from, entries: added }],
      });
      const expected = texts([...full.slice(4, from - 1), ...added]);
      expect(await above(subject.store, 4)).toEqual(expected);
      const again = await subject.crash();
      const group = (await again.store.load()).groups.get(0);
      expect(group?.termStarts.map(({ term }) => term)).toEqual(from === 5 ? [3] : [2, 3]);
      expect(await above(again.store, 4)).toEqual(expected);
    });

    it('comes with the entries that follow it, also where the log had others', async () => {
      const subject = await stored();
      const added = entries(7, 12, 4);
      await subject.store.write({ groups: [{ group: 0, base: position(6, 3), entries: added }] });
      expect(await above(subject.store, 6)).toEqual(texts(added));
      const again = await subject.crash();
      await again.store.load();
      expect(await above(again.store, 6)).toEqual(texts(added));
    });

    it('may be the first that a group knows, and leaves other groups alone', async () => {
      const subject = await stored();
      const configurations = [configuration(0, 0), configuration(40, 7)];
      await subject.store.write({ groups: [{ group: 1, base: position(50, 7), configurations }] });
      await subject.store.write({ groups: [{ group: 1, hardState: { term: 8, votedFor: 's2', commitIndex: 50 } }] });
      const again = await subject.crash();
      const { groups } = await again.store.load();
      expect(groups.get(1)).toMatchObject({ base: position(50, 7), configurations, lastIndex: 50 });
      expect(groups.get(0)).toMatchObject({ base: LOG_START, configurations: [], lastIndex: COUNT });
      expect(await all(again.store)).toEqual(texts(full));
    });

    it('moved beside reads never makes one fail or show what is below it', async () => {
      const { store } = await started(...Array.from({ length: 60 }, (_, i) => append(0, i * 3 + 1, i * 3 + 3)));
      for (let base = 5; base < 170; base += 5) {
        let written = false;
        const writing = store.write(baseAt(base, 1)).then(() => {
          written = true;
        });
        const reads: Promise<[number, LogEntry[]]>[] = [];
        while (!written) {
          for (let from = base - 8; from < base + 8; from += 3) {
            reads.push(store.read(0, from, ALL, ALL).then((list) => [from, list]));
          }
          await new Promise(setImmediate);
        }
        await writing;
        for (const [from, list] of await Promise.all(reads)) {
          if (from > base) expect(list.length).toBe(180 - from + 1);
          list.forEach((each, i) => {
            expect(each.index).toBe(Math.max(1, from) + i);
          });
        }
      }
    });
  });

  describe('read', () => {
    const stored = () => started(append(0, 1, 3), append(0, 4, 4), append(0, 5, 9), append(1, 1, 2));

    it('gives every range', async () => {
      const { store } = await stored();
      const expected = texts(entries(1, 9, 1));
      for (let from = 1; from <= 11; from++) {
        for (let to = from - 1; to <= 11; to++) {
          expect(texts(await store.read(0, from, to, ALL))).toEqual(expected.slice(from - 1, Math.max(to, from - 1)));
        }
      }
    });

    it('stops after the entry that reaches bytesMax, and gives at least one', async () => {
      const { store } = await stored();
      const size = entry(1, 1).bytes.length;
      for (let from = 1; from <= 9; from++) {
        for (const bytesMax of [0, 1, size - 1, size, size + 1, 2 * size, 3 * size + 1, 5 * size]) {
          const count = Math.min(Math.max(1, Math.ceil(bytesMax / size)), 10 - from);
          expect((await store.read(0, from, ALL, bytesMax)).map((each) => each.index)).toEqual(
            Array.from({ length: count }, (_, i) => from + i),
          );
        }
      }
    });

    it('knows nothing of a group that was never written', async () => {
      expect(await (await stored()).store.read(2, 1, ALL, ALL)).toEqual([]);
    });

    it('gives bytes that are frames of a block', async () => {
      const { store } = await stored();
      const list = await store.read(0, 2, 8, ALL);
      expect(texts(decodeBlock(Buffer.concat(list.map((each) => each.bytes)), 2))).toEqual(texts(list));
    });
  });

  describe('misuse is refused and changes nothing', () => {
    it.each<[string, WriteBatch]>([
      ['a gap', append(0, 5, 5)],
      ['an overlap', append(0, 3, 3)],
      ['a gap inside', { groups: [{ group: 0, entries: [entry(4, 1), entry(6, 1)] }] }],
      ['a gap after a truncation', { groups: [{ group: 0, truncateFrom: 2, entries: entries(4, 4, 2) }] }],
      ['an older term', append(0, 4, 4, 0)],
      ['a group twice', { groups: [{ group: 1 }, { group: 1 }] }],
      ['a truncation from zero', { groups: [{ group: 0, truncateFrom: 0 }] }],
      ['a promise limit that goes down', { groups: [], promiseLimit: 9 }],
      ['a promise limit that is no integer', { groups: [], promiseLimit: 11.5 }],
      ['a base that goes back', { groups: [{ group: 2, base: position(7, 2) }] }],
      ['a base that is no position', { groups: [{ group: 0, base: { index: 1.5, term: 1, timestamp: 1 } }] }],
      ['a truncation at its base', { groups: [{ group: 0, base: position(2, 1), truncateFrom: 2 }] }],
      ['a truncation at the stored base', { groups: [{ group: 2, truncateFrom: 8 }] }],
      ['entries at the base', { groups: [{ group: 0, base: position(5, 1), entries: entries(4, 6, 1) }] }],
      ['a gap after a base', { groups: [{ group: 0, base: position(5, 1), entries: entries(7, 7, 1) }] }],
      ['a term older than the base', append(2, 9, 9, 1)],
    ])('%s', async (_name, batch) => {
      const { store } = await started(
        { ...append(0, 1, 3), promiseLimit: 10 },
        { groups: [{ group: 2, base: position(8, 2) }] },
      );
      expect(() => store.write(batch)).toThrow(LogStoreUsageError);
      expect(await all(store)).toEqual(texts(entries(1, 3, 1)));
      await store.write(append(0, 4, 4));
    });

    it('a second write while one is in flight', async () => {
      const { store } = await started();
      const first = store.write(append(0, 1, 1));
      expect(() => store.write(append(1, 1, 1))).toThrow(LogStoreUsageError);
      await first;
      await store.write(append(0, 2, 2));
      expect(await all(store)).toEqual(texts(entries(1, 2, 1)));
      expect(await all(store, 1)).toEqual([]);
    });

    it('use after close', async () => {
      const { store } = await started(append(0, 1, 1));
      await store.close();
      await store.close();
      expect(() => store.write(append(0, 2, 2))).toThrow(LogStoreUsageError);
      await expect(store.read(0, 1, 1, ALL)).rejects.toThrow(LogStoreUsageError);
    });
  });

  it('close waits for a write in flight', async () => {
    const subject = await started();
    const writing = subject.store.write(append(0, 1, 5));
    const again = await subject.reopen();
    await writing;
    await again.store.load();
    expect(await all(again.store)).toEqual(texts(entries(1, 5, 1)));
  });

  it('does what the model does, over any sequence of writes, reads and restarts', async () => {
    const write = fc.record({
      group: fc.nat(2),
      truncate: fc.option(fc.nat(6), { nil: undefined }),
      newTerm: fc.boolean(),
      base: fc.option(fc.record({ forward: fc.nat(12), fits: fc.boolean() }), { nil: undefined, freq: 4 }),
      sizes: fc.array(fc.nat(200), { maxLength: 5 }),
      vote: fc.option(fc.constantFrom('s1', 's2', 's3'), { nil: undefined }),
      commit: fc.nat(100),
    });
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant('write' as const),
          writes: fc.uniqueArray(write, { selector: (w) => w.group, maxLength: 3 }),
          raise: fc.nat(3),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('read' as const),
          group: fc.nat(2),
          from: fc.nat(30),
          span: fc.nat(30),
          bytesMax: fc.nat(600),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('reopen' as const, 'crash' as const) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        let subject = await adapter.make();
        const model = new Model();
        await subject.store.load();
        for (const each of steps) {
          if (each.do === 'write') {
            const batch: WriteBatch = {
              promiseLimit: model.promiseLimit + each.raise,
              groups: each.writes.map(({ group, base: move, truncate, newTerm, sizes, vote, commit }) => {
                const before = model.group(group);
                const lastTerm = before.entries.at(-1)?.term ?? Math.max(1, before.base.term);
                const base = move === undefined ? before.base : movedBase(before, lastTerm, move);
                const fits = base.term <= lastTerm && base.index <= model.lastIndex(group);
                const end = fits ? model.lastIndex(group) : base.index;
                const cut = Math.max(base.index, end - (truncate ?? 0));
                const term = Math.max(lastTerm, base.term) + (newTerm || truncate !== undefined ? 1 : 0);
                const added = sizes.map((size, i) => entry(cut + 1 + i, term, 'x'.repeat(size)));
                const commitIndex = Math.min(commit, cut);
                return {
                  group,
                  ...(move === undefined ? {} : { base, configurations: [configuration(base.index, base.term)] }),
                  ...(truncate === undefined ? {} : { truncateFrom: cut + 1 }),
                  ...(vote === undefined ? {} : { hardState: { term, votedFor: vote, commitIndex } }),
                  entries: added,
                };
              }),
            };
            await subject.store.write(batch);
            model.apply(batch);
          } else if (each.do === 'read') {
            const found = await subject.store.read(each.group, each.from, each.from + each.span, each.bytesMax);
            const { base, entries: list } = model.group(each.group);
            const first = Math.max(1, each.from);
            const range = list.filter(({ index }) => {
              return first > base.index && index >= first && index <= each.from + each.span;
            });
            let bytes = 0;
            const stop = range.findIndex((e) => {
              bytes += e.bytes.length;
              return bytes >= each.bytesMax;
            });
            expect(texts(found)).toEqual(texts(stop < 0 ? range : range.slice(0, stop + 1)));
          } else {
            subject = await subject[each.do]();
            const loaded = await subject.store.load();
            expect(await dumpStore(subject.store, loaded, 500)).toEqual(model.dump());
            for (const [group, { base, tail, lastIndex, hardState, termStarts }] of loaded.groups) {
              const { entries: list } = model.group(group);
              expect(lastIndex).toBe(model.lastIndex(group));
              expect(texts([...tail])).toEqual(texts(list.slice(list.length - tail.length)));
              expect(tail.length).toBeGreaterThanOrEqual(Math.min(list.length, lastIndex - hardState.commitIndex + 1));
              const starts = list.filter((e, i) => e.term !== list[i - 1]?.term);
              // The first run may go back below the base.
              const shown = termStarts.map(({ term, firstIndex }) => ({
                term,
                index: Math.max(firstIndex, base.index + 1),
              }));
              expect(shown).toEqual(starts.map(({ term, index }) => ({ term, index })));
            }
          }
        }
        await adapter.cleanUp();
      }),
      { numRuns: adapter.runs },
    );
  });
});
