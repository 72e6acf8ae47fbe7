import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { LogStoreUsageError } from '../../../shared/log-store/head.js';
import type { LogStore, WriteBatch } from '../../../shared/log-store/port.js';
import type { LogEntry } from '../../../shared/raft/entry.js';
import { decodeBlock } from '../../../shared/wire/entry-block.js';
import { dumpStore, entries, entry, entryText, Model } from './model.js';
import { adapters, type Subject } from './subject.js';

const texts = (list: readonly LogEntry[]) => list.map(entryText);
const ALL = Number.MAX_SAFE_INTEGER;

describe.each(adapters)('$name log store', (adapter) => {
  afterEach(() => adapter.cleanUp());

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
    expect(loaded.groups.get(1)).toEqual({ hardState, lastIndex: 0, termStarts: [], tail: [] });
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
    ])('%s', async (_name, batch) => {
      const { store } = await started({ ...append(0, 1, 3), promiseLimit: 10 });
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
              groups: each.writes.map(({ group, truncate, newTerm, sizes, vote, commit }) => {
                const list = model.group(group).entries;
                const length = truncate === undefined ? list.length : Math.max(0, list.length - truncate);
                const term = (list.at(-1)?.term ?? 1) + (newTerm || truncate !== undefined ? 1 : 0);
                const added = sizes.map((size, i) => entry(length + 1 + i, term, 'x'.repeat(size)));
                const commitIndex = Math.min(commit, length);
                return {
                  group,
                  ...(truncate === undefined ? {} : { truncateFrom: length + 1 }),
                  ...(vote === undefined ? {} : { hardState: { term, votedFor: vote, commitIndex } }),
                  entries: added,
                };
              }),
            };
            await subject.store.write(batch);
            model.apply(batch);
          } else if (each.do === 'read') {
            const found = await subject.store.read(each.group, each.from, each.from + each.span, each.bytesMax);
            const range = model.group(each.group).entries.slice(Math.max(0, each.from - 1), each.from + each.span);
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
            for (const [group, { tail, lastIndex, hardState, termStarts }] of loaded.groups) {
              const list = model.group(group).entries;
              expect(lastIndex).toBe(list.length);
              expect(texts([...tail])).toEqual(texts(list.slice(list.length - tail.length)));
              expect(tail.length).toBeGreaterThanOrEqual(Math.min(list.length, lastIndex - hardState.commitIndex + 1));
              const starts = list.filter((e, i) => e.term !== list[i - 1]?.term);
              expect(termStarts).toEqual(starts.map(({ term, index }) => ({ term, firstIndex: index })));
            }
          }
        }
        await adapter.cleanUp();
      }),
      { numRuns: 60 },
    );
  });
});
